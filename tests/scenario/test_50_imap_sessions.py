"""Several sessions on one mailbox, and what each is told."""

LETTER = b"From: Carol <carol@example.org>\r\nSubject: news %d\r\nDate: Fri, 20 Nov 2026 10:00:00 +0100\r\n\r\nbody %d\r\n"


def fill(thurn, n):
    for i in range(n):
        assert thurn.deliver(LETTER % (i, i))[0][0] == 250


def session(thurn):
    r = thurn.raw()
    r.line()
    r.command(b"LOGIN alice@example.test secret")
    r.command(b"SELECT INBOX")
    return r


def test_expunge_of_another_session_keeps_numbers_until_told(thurn):
    fill(thurn, 5)
    a, b = session(thurn), session(thurn)
    a.command(b"STORE 2 +FLAGS.SILENT (\\Deleted)")
    a.command(b"EXPUNGE")
    # No EXPUNGE during FETCH: the numbers of the session stay what they were.
    lines = b.command(b"FETCH 3 (UID)")
    assert any(b"UID 3" in line for line in lines)
    assert not any(b"EXPUNGE" in line for line in lines)
    lines = b.command(b"NOOP")
    assert b"* 2 EXPUNGE\r\n" in lines
    assert any(b"UID 3" in line for line in b.command(b"FETCH 2 (UID)"))
    a.close()
    b.close()


def test_flags_and_new_mail_reach_the_other_session(thurn):
    fill(thurn, 2)
    a, b = session(thurn), session(thurn)
    a.command(b"STORE 1 +FLAGS (\\Flagged $work)")
    lines = b.command(b"NOOP")
    assert any(b"1 FETCH" in line and b"\\Flagged" in line and b"$work" in line for line in lines)
    fill(thurn, 1)
    assert b"* 3 EXISTS\r\n" in b.command(b"NOOP")
    assert b"* 3 EXISTS\r\n" in a.command(b"NOOP")
    a.close()
    b.close()


def test_search_finds_by_flag_date_size_and_header(thurn):
    fill(thurn, 4)
    c = thurn.imap()
    c.select("INBOX")
    c.store("2", "+FLAGS", r"(\Seen)")
    assert c.search(None, "SEEN")[1] == [b"2"]
    assert c.search(None, 'SUBJECT "news 3"')[1] == [b"4"]
    assert c.search(None, "FROM", "CAROL", "NOT", "SEEN")[1] == [b"1 3 4"]
    assert c.search(None, "SENTON", "20-Nov-2026")[1] == [b"1 2 3 4"]
    assert c.search(None, "LARGER", "100000")[1] in ([b""], [None])
    assert c.search(None, "OR", "UID", "1", "UID", "4")[1] == [b"1 4"]
    assert c.search(None, "BODY", '"body 2"')[1] == [b"3"]
    c.logout()


def test_mailboxes_are_made_renamed_and_removed(thurn):
    fill(thurn, 1)
    c = thurn.imap()
    assert c.create("A/B/C")[0] == "OK"
    assert c.create("A/B/C")[0] == "NO"
    assert c.rename("A/B", "Z")[0] == "OK"
    names = sorted(line.split(b'"/" ')[1].strip(b'"') for line in c.list()[1])
    assert {b"INBOX", b"A", b"Z", b"Z/C"} <= set(names)
    c.select("INBOX")
    assert c.copy("1", "Nowhere")[0] == "NO"
    assert c.copy("1", "Z/C")[0] == "OK"
    assert c.status("Z/C", "(MESSAGES UIDNEXT UNSEEN)")[1][0].endswith(b"(MESSAGES 1 UIDNEXT 2 UNSEEN 1)")
    # Made on the way to Z/C, so \\Noselect: it cannot be removed while it has children.
    assert c.delete("Z")[0] == "NO"
    assert c.delete("Z/C")[0] == "OK"
    assert c.delete("INBOX")[0] == "NO"
    assert c.subscribe("Z/C")[0] == "OK"
    assert any(line.endswith(b"Z/C") for line in c.lsub()[1])
    c.logout()


def test_sections_are_cut_from_the_message(thurn):
    letter = (b"From: a@example.org\r\nSubject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
              b"--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
              b"Subject: inner\r\n\r\ninner text\r\n--b--\r\n")
    thurn.deliver(letter)
    c = thurn.imap()
    c.select("INBOX")

    def get(section):
        return c.fetch("1", f"(BODY.PEEK[{section}])")[1][0][1]

    assert get("1") == b"one"
    assert get("1.MIME") == b"Content-Type: text/plain\r\n\r\n"
    assert get("2.HEADER") == b"Subject: inner\r\n\r\n"
    assert get("2.TEXT") == b"inner text"
    assert get("2.1") == b"inner text"
    assert get("HEADER.FIELDS (SUBJECT)") == b"Subject: parts\r\n\r\n"
    assert get("TEXT") == letter.split(b"\r\n\r\n", 1)[1]
    assert b"Subject: parts" in get("HEADER") and get("HEADER").endswith(b"\r\n\r\n")
    assert get("TEXT")[:3] == b"--b"
    c.logout()

"""The way of one letter: in by LMTP, stored, read, flagged, deleted by IMAP clients."""

import subprocess

import pytest

LETTER = (b"From: Carol <carol@example.org>\r\nTo: alice@example.test\r\nSubject: The first letter\r\n"
          b"Message-ID: <1@example.org>\r\nDate: Fri, 20 Nov 2026 10:00:00 +0100\r\n\r\n"
          b"Dear Alice,\r\n.. two dots and one:\r\n.\xff\x00bytes\r\n")


def bodies(connection, what="BODY.PEEK[]"):
    typ, data = connection.fetch("1:*", f"({what})")
    assert typ == "OK"
    return [d[1] for d in data if isinstance(d, tuple)]


@pytest.mark.short
def test_a_letter_by_lmtp_is_read_by_imap_byte_for_byte(thurn):
    assert thurn.deliver(LETTER)[0][0] == 250
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"1"])
    (got,) = bodies(c)
    assert got.endswith(LETTER)
    assert got.startswith(b"Return-Path: <sender@example.org>\r\n")
    c.logout()


@pytest.mark.short
def test_flags_and_expunge_are_seen_by_the_next_session(thurn):
    for n in range(3):
        thurn.deliver(LETTER.replace(b"first letter", b"letter %d" % n))
    c = thurn.imap()
    c.select("INBOX")
    assert c.store("2", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert c.store("3", "+FLAGS", r"(\Flagged $Label1)")[0] == "OK"
    assert c.expunge() == ("OK", [b"2"])
    c.logout()
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"2"])
    typ, data = c.fetch("1:*", "(UID FLAGS)")
    assert b"UID 1" in data[0] and b"UID 3" in data[1]
    assert b"\\Flagged" in data[1] and b"$Label1" in data[1]
    c.logout()


def test_several_recipients_get_an_answer_each(thurn):
    with thurn.lmtp() as c:
        c.ehlo_or_helo_if_needed()
        c.mail("sender@example.org")
        assert c.rcpt("alice@example.test")[0] == 250
        assert c.rcpt("nobody@example.test")[0] == 550
        assert c.rcpt("alice@elsewhere.test")[0] == 550
        assert c.rcpt("bob@example.test")[0] == 250
        assert c.docmd("DATA")[0] == 354
        c.send(LETTER.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert [c.getreply()[0], c.getreply()[0]] == [250, 250]
        assert c.noop()[0] == 250
    for user in ("alice", "bob"):
        c = thurn.imap(user)
        assert c.select("INBOX") == ("OK", [b"1"])
        assert bodies(c)[0].endswith(LETTER)
        c.logout()


def test_mail_and_flags_are_there_after_a_restart(thurn):
    thurn.deliver(LETTER)
    c = thurn.imap()
    c.select("INBOX")
    uidvalidity = c.response("UIDVALIDITY")[1][0]
    c.store("1", "+FLAGS", r"(\Answered)")
    c.create("Work/2026")
    c.copy("1", "Work/2026")
    c.logout()
    assert thurn.stop() == 0
    thurn.start()
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"1"])
    assert c.response("UIDVALIDITY")[1][0] == uidvalidity
    assert b"\\Answered" in c.fetch("1", "(FLAGS)")[1][0]
    assert bodies(c)[0].endswith(LETTER)
    assert c.select("Work/2026") == ("OK", [b"1"])
    c.logout()


def test_append_gives_back_the_same_bytes_and_its_uid(thurn):
    r = thurn.raw()
    r.login()
    message = bytes(range(256)) + b"\r\n" + b"x\x00y\n"
    answer = r.append(message, b'(\\Seen) " 1-Jan-1990 10:00:00 +0100" ')
    assert answer.startswith(b"x OK [APPENDUID ")
    r.close()
    c = thurn.imap()
    c.select("INBOX")
    assert bodies(c)[0] == message
    assert b"\\Seen" in c.fetch("1", "(FLAGS)")[1][0]
    assert b" 1-Jan-1990 09:00:00 +0000" in c.fetch("1", "(INTERNALDATE)")[1][0] or \
        b"01-Jan-1990 09:00:00 +0000" in c.fetch("1", "(INTERNALDATE)")[1][0]
    c.logout()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131072, 1048576, 12_000_000])
def test_every_size_comes_back_whole(thurn, size):
    body = (b"0123456789abcde\r\n" * (size // 17 + 1))[:size]
    message = b"Subject: size\r\n\r\n" + body
    r = thurn.raw()
    r.login()
    assert r.append(message).startswith(b"x OK")
    r.close()
    c = thurn.imap()
    if size:
        assert thurn.deliver(message + b"\r\n")[0][0] == 250
    c.select("INBOX")
    got = bodies(c)
    assert got[0] == message
    if size:
        assert got[1].endswith(message + b"\r\n")
    part = b"".join(bodies(c, "BODY.PEEK[]<5.70000>")[:1])
    assert part == message[5:70005]
    c.logout()


def test_idle_tells_of_new_mail(thurn):
    r = thurn.raw()
    r.line()
    r.command(b"LOGIN alice@example.test secret")
    r.command(b"SELECT INBOX")
    r.send(b"i IDLE\r\n")
    assert r.line().startswith(b"+")
    thurn.deliver(LETTER)
    assert r.until(b"* 1 EXISTS")
    r.send(b"DONE\r\n")
    assert b"OK" in r.until(b"i ")[-1]
    r.close()


def test_curl_reads_the_letter(thurn):
    thurn.deliver(LETTER.replace(b"\x00", b"0"))
    url = f"imap://127.0.0.1:{thurn.imap_port}/INBOX;MAILINDEX=1"
    done = subprocess.run(["curl", "-s", "-u", "alice@example.test:secret", url],
                          capture_output=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.endswith(LETTER.replace(b"\x00", b"0"))


def test_mbsync_copies_everything_and_brings_changes_back(thurn, tmp_path):
    for n in range(30):
        thurn.deliver(LETTER.replace(b"\x00", b"0").replace(b"first", b"number %d" % n))
    c = thurn.imap()
    c.create("Archive/2025")
    c.select("INBOX")
    c.copy("1:10", "Archive/2025")
    c.logout()
    maildir = tmp_path / "mail"
    maildir.mkdir()
    rc = tmp_path / "rc"
    rc.write_text(f"""
IMAPAccount t
Host 127.0.0.1
Port {thurn.imap_port}
User alice@example.test
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account t

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")

    def sync():
        done = subprocess.run(["mbsync", "-c", rc, "-a"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    sync()
    inbox = [p for sub in ("cur", "new") for p in (maildir / "INBOX" / sub).iterdir()]
    assert len(inbox) == 30
    assert len(list((maildir / "Archive/2025").glob("*/*"))) == 10
    # One is read and one is thrown away here: it shows on the server.
    seen = inbox[0].with_name(inbox[0].name.split(":")[0] + ":2,S")
    seen = seen.parent.parent / "cur" / seen.name
    inbox[0].rename(seen)
    trashed = inbox[1].parent.parent / "cur" / (inbox[1].name.split(":")[0] + ":2,T")
    inbox[1].rename(trashed)
    sync()
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"29"])
    assert len(c.search(None, "SEEN")[1][0].split()) == 1
    c.logout()


def test_tls_and_starttls_reach_the_same_mailbox(thurn):
    import ssl
    thurn.deliver(LETTER)
    c = thurn.imaps()
    assert c.select("INBOX") == ("OK", [b"1"])
    c.logout()
    c = thurn.imap(login=False)
    context = ssl.create_default_context(cafile=str(thurn.dir / "chain.pem"))
    context.check_hostname = False
    c.starttls(context)
    c.login("alice@example.test", "secret")
    assert c.select("INBOX") == ("OK", [b"1"])
    c.logout()

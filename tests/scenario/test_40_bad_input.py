"""Malformed, over-long and hostile input: the protocol's own error, and the others are served."""

import concurrent.futures
import contextlib

import pytest

from thurn_server import DEADLINE, peak_memory, wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"


def login(r):
    r.line()
    r.command(b"LOGIN alice@example.test secret")


def test_a_malformed_imap_command_is_bad_and_the_session_goes_on(thurn):
    r = thurn.raw()
    login(r)
    for text in (b"FLY", b"SELECT", b"FETCH 0 FLAGS", b"FETCH 1 (BODY[", b"STORE x FLAGS ()",
                 b'LIST "" "unclosed', b"SEARCH )(", b"UID EXPUNGE a"):
        assert b" BAD " in r.command(text)[-1], text
    assert b" OK " in r.command(b"NOOP")[-1]
    r.close()


def test_too_many_bad_commands_get_a_goodbye(make_thurn):
    t = make_thurn({"max_bad_commands": "5"})
    r = t.raw()
    r.line()
    r.send(b"".join(b"x%d NONSENSE\r\n" % n for n in range(10)))
    assert r.until(b"* BYE")
    r.close()


def test_an_over_long_line_is_refused_in_bounded_memory(thurn):
    r = thurn.raw()
    r.line()
    try:
        for _ in range(64):
            r.send(b"a LOGIN " + b"x" * 65536)
        r.send(b"\r\n")
        answer = r.line()
        assert b"BAD" in answer or b"BYE" in answer
    except (BrokenPipeError, ConnectionResetError):
        pass
    r.close()
    assert thurn.imap().select("INBOX")[0] == "OK"


def test_a_literal_beyond_the_limit_is_refused_before_it_is_sent(make_thurn):
    t = make_thurn({"message_size_limit": '"1 MB"'})
    r = t.raw()
    login(r)
    r.send(b"a APPEND INBOX {99999999}\r\n")
    assert r.line().startswith(b"a NO")
    r.send(b"b LOGIN {99999999}\r\n")
    assert r.line().startswith(b"b BAD")
    assert b"OK" in r.command(b"NOOP")[-1]
    r.close()


def test_passwords_are_neither_offered_nor_taken_without_tls(make_thurn):
    t = make_thurn({"cleartext_login_from": None})
    r = t.raw()
    greeting = r.line()
    capability = r.command(b"CAPABILITY")[0]
    assert b"LOGINDISABLED" in capability and b"AUTH=PLAIN" not in capability
    assert b"STARTTLS" in capability and b"AUTH=PLAIN" not in greeting
    assert r.command(b"LOGIN alice@example.test secret")[-1].startswith(b"x NO")
    assert r.command(b"AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==")[-1].startswith(b"x NO")
    r.close()
    assert t.imaps().select("INBOX")[0] == "OK"


def test_what_is_pipelined_before_starttls_is_forgotten(thurn):
    import ssl
    r = thurn.raw()
    r.line()
    r.send(b"a STARTTLS\r\nb CAPABILITY\r\n")
    assert r.line().startswith(b"a OK")
    context = ssl.create_default_context(cafile=str(thurn.dir / "chain.pem"))
    context.check_hostname = False
    tls = context.wrap_socket(r.sock, server_hostname="localhost")
    tls.sendall(b"c NOOP\r\n")
    assert tls.recv(1000).startswith(b"c OK")


def test_a_wrong_password_is_refused_and_the_next_try_works(thurn):
    c = thurn.imap(login=False)
    for name, password in (("alice@example.test", "wrong"), ("nobody@example.test", "secret"),
                           ("alice@example.test", "")):
        with pytest.raises(c.error):
            c.login(name, password)
    c.login("alice@example.test", "secret")
    c.logout()


def test_only_crlf_dot_crlf_ends_a_message(thurn):
    body = b"Subject: s\r\n\r\nline\n.\nstill\r\n.\nand\n.\r\nmore\r.\r\nend\r\n"
    r = thurn.raw(thurn.lmtp_port)
    r.line()
    r.send(b"LHLO x\r\n")
    r.until(b"250 ")
    r.send(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
    assert r.until(b"354")
    r.send(body + b".\r\nNOOP\r\n")
    assert r.line().startswith(b"250")
    assert r.line().startswith(b"250")
    r.close()
    c = thurn.imap()
    c.select("INBOX")
    got = c.fetch("1", "(BODY.PEEK[])")[1][0][1]
    # The line ".LF" began behind CR LF with a dot: transparency takes that one dot away.
    assert got.endswith(b"line\n.\nstill\r\n\nand\n.\r\nmore\r.\r\nend\r\n")
    c.logout()


def test_malformed_lmtp_commands_are_refused_by_number(thurn):
    r = thurn.raw(thurn.lmtp_port)
    r.line()
    for text, code in ((b"EHLO x", b"5"), (b"MAIL FROM:<a@b>", b"503"), (b"FLY", b"500"),
                       (b"x" * 10000, b"500")):
        r.send(text + b"\r\n")
        assert r.line().startswith(code), text
    r.send(b"LHLO x\r\n")
    r.until(b"250 ")
    for text, code in ((b"MAIL FROM:a@b", b"501"), (b"RCPT TO:<a@b>", b"503"), (b"DATA", b"503"),
                       (b"MAIL FROM:<a@example.org> SIZE=999999999999", b"552"),
                       (b"MAIL FROM:<a@example.org> FOO=bar", b"555")):
        r.send(text + b"\r\n")
        assert r.line().startswith(code), text
    r.send(b"QUIT\r\n")
    assert r.line().startswith(b"221")
    r.close()


def test_ten_thousand_levels_of_mime_are_delivered(thurn):
    levels = 10000
    letter = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
                      for n in range(levels)) + b"\r\ndeep\r\n"
    assert thurn.deliver(letter)[0][0] == 250
    assert thurn.deliver(LETTER)[0][0] == 250
    c = thurn.imap()
    c.select("INBOX")
    assert c.fetch("1:2", "(ENVELOPE BODYSTRUCTURE)")[0] == "OK"
    assert c.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(letter)
    c.logout()


def test_broken_mail_is_delivered_as_it_is(thurn):
    cases = [b"no header at all\r\n", b"\r\n\r\n\r\n", b"Subject: bare\nLF\n\nbody\n\r\n",
             b"Subject: \xff\xfe\r\n\r\n\xff\r\n",
             b"Content-Type: text/plain; charset=made-up\r\n\r\n\x80\r\n",
             b"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
             b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\n----\r\n",
             b"Content-Type: message/rfc822\r\n\r\n" * 50 + b"end\r\n",
             b"A" * 100000 + b": x\r\n\r\n", b"X: y\r\n" * 20000 + b"\r\n",
             b"Subject: nul\x00\x00\r\n\r\n\x00\r\n"]
    for letter in cases:
        assert thurn.deliver(letter)[0][0] == 250, letter[:60]
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"%d" % len(cases)])
    typ, data = c.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
    assert typ == "OK"
    typ, data = c.fetch("1:*", "(BODY.PEEK[])")
    got = [d[1] for d in data if isinstance(d, tuple)]
    assert all(g.endswith(letter) for g, letter in zip(got, cases))
    c.logout()


def test_a_silent_client_is_sent_away_and_others_are_served(make_thurn):
    t = make_thurn({"login_timeout": '"300 ms"', "lmtp_timeout": '"300 ms"'})
    for port, goodbye in ((t.imap_port, b"* BYE"), (t.lmtp_port, b"421")):
        r = t.raw(port)
        r.line()
        assert r.line().startswith(goodbye)
        assert r.line() == b""
        r.close()


def test_a_client_that_never_reads_does_not_disturb_others(make_thurn):
    t = make_thurn({"write_timeout": '"2 s"'})
    c = t.imap()
    big = b"Subject: big\r\n\r\n" + b"x" * 1000 + b"\r\n" * 1000000
    for _ in range(5):
        assert c.append("INBOX", None, None, big)[0] == "OK"
    r = t.raw()
    login(r)
    r.command(b"SELECT INBOX")
    r.send(b"".join(b"f%d FETCH 1:* BODY.PEEK[]\r\n" % n for n in range(50)))
    for _ in range(20):
        assert t.deliver(LETTER)[0][0] == 250
        assert c.noop()[0] == "OK"
    wait_for("the slow reader to be sent away", lambda: "timeout" in t.log_text())
    r.close()
    c.logout()


def test_hostile_mailbox_names_are_refused_or_kept_inside(thurn):
    r = thurn.raw()
    login(r)
    for name in (b'"/etc/passwd"', b'"../../x"', b'"a//b"', b'"' + b"x" * 4000 + b'"', b'"a\x01b"',
                 b'"&bad"', b'"&AAA-"', b'""'):
        answer = r.command(b"CREATE " + name)[-1]
        assert b" OK" in answer or b" NO" in answer or b" BAD" in answer, name
    assert b" OK" in r.command(b'LIST "" "*"')[-1]
    assert b" OK" in r.command(b'LIST "" "' + b"*%" * 200 + b'x"')[-1]
    r.close()


def test_each_bad_mailbox_name_gets_its_answer(make_thurn):
    t = make_thurn({"max_bad_commands": "1000"})
    r = t.raw()
    login(r)
    refused = {
        b'"/etc/passwd"': b"x NO [CANNOT]", b'"a//b"': b"x NO [CANNOT]", b'"x*"': b"x NO [CANNOT]",
        b'"//"': b"x NO [CANNOT]", b"{900+}\r\n" + b"x" * 900: b"x OK",
        b'"' + b"x" * 4000 + b'"': b"x BAD", b"{4000+}\r\n" + b"x" * 4000: b"x BAD",
        b'"' + b"&IKw-" * 800 + b'"': b"x BAD", b'"a\x01b"': b"x BAD", b'"a\x7fb"': b"x BAD",
        b'"&AIU-"': b"x BAD", b'"&AAA-"': b"x BAD", b'"&bad"': b"x BAD", b'"&AGE-"': b"x BAD",
        b'"&2AA-"': b"x BAD", b'"&3AA-"': b"x BAD", b'"&"': b"x BAD", b'"&IKw"': b"x BAD",
        b'"\xc3\xbc"': b"x BAD", b'"\xff"': b"x BAD", b'""': b"x BAD", b"{0+}\r\n": b"x BAD",
        b"{3+}\r\na\0b": b"x BAD", b"{4+}\r\na\r\nb": b"x BAD", b'"a\r"': b"x BAD"}
    for name, answer in refused.items():
        assert r.command(b"CREATE " + name)[-1].startswith(answer), name
    # Of what is refused as a name nothing can be reached either.
    for verb in (b"SELECT %s", b"DELETE %s", b"RENAME %s y", b"STATUS %s (MESSAGES)",
                 b"APPEND %s {1+}\r\nx", b"EXAMINE %s"):
        for name in (b'"/etc/passwd"', b'"../../../etc/passwd"', b'"a//b"', b'".."', b'"~/x"'):
            assert b"x NO [" in r.command(verb % name)[-1], (verb, name)
    # ".." is a name like any other: no path is made from it.
    for name in (b'".."', b'"../../x"'):
        assert r.command(b"CREATE " + name)[-1].startswith(b"x OK")
        assert b"MESSAGES 0" in r.command(b"STATUS " + name + b" (MESSAGES)")[0]
        assert r.command(b"DELETE " + name)[-1].startswith(b"x OK")
    assert not list(t.dir.parent.glob("x")) and r.command(b"NOOP")[-1].startswith(b"x OK")
    r.close()


def test_impossible_literals_tags_and_parentheses_are_refused(make_thurn):
    t = make_thurn({"max_bad_commands": "1000"})
    r = t.raw()
    login(r)
    r.command(b"SELECT INBOX")
    huge = (b"4294967295", b"4294967296", b"18446744073709551615", b"18446744073709551616", b"9" * 40)
    for n in huge:
        assert r.command(b"APPEND INBOX {%s}" % n)[-1].startswith(b"x NO [TOOBIG]"), n
        assert r.command(b"APPEND INBOX ~{%s}" % n)[-1].startswith(b"x NO [TOOBIG]"), n
        for what in (b"CREATE {%s}", b"SEARCH TEXT {%s}", b"LIST {%s}", b"SEARCH CHARSET {%s}"):
            assert r.command(what % n)[-1].startswith(b"x BAD"), (what, n)
    for text in (b"CREATE {-1}", b"CREATE {}", b"CREATE {+}", b"CREATE {1", b"CREATE {1+", b"APPEND INBOX {}",
                 b"APPEND INBOX ~{x}", b"CREATE {0x10}", b"SEARCH " + b"(" * 50000,
                 b"SEARCH " + b"NOT " * 12000 + b"ALL", b"SEARCH " + b"OR SEEN " * 5000 + b"ALL",
                 b"FETCH 1 " + b"(" * 50000, b"STORE 1 FLAGS " + b"(" * 50000, b"LIST (" + b"(" * 50000,
                 b"FETCH 1 BODY[" + b"1." * 30000 + b"1]", b"ID " + b"(" * 50000,
                 b"SEARCH " + b"ALL " * 100000 + b"ALL", b"SEARCH " + b"ALL " * 10000 + b"ALL",
                 b"SEARCH " + b",".join(b"%d" % (2 * n + 1) for n in range(10000)) + b",0",
                 b"FETCH 99999999999 FLAGS"):
        assert r.command(text)[-1].startswith(b"x BAD"), text[:40]
    # A tag that is too long to be repeated, or none.
    for tag in (b"t" * 256, b"t" * 60000, b"+", b"(", b'"x"', b"", b"\xff"):
        r.send(tag + b" NOOP\r\n")
        assert r.line().startswith(b"* BAD"), tag[:40]
    assert r.command(b"NOOP", tag=b"t" * 255)[-1].endswith(b"OK Completed\r\n")
    r.close()
    # What a client sends without waiting cannot be followed: it is told so and let go.
    for n in huge:
        r = t.raw()
        login(r)
        r.send(b"x APPEND INBOX {%s+}\r\n" % n)
        assert r.line().startswith(b"x NO [TOOBIG]")
        assert r.line().startswith(b"* BYE") and r.line() == b""
        r.close()
    assert t.imap().select("INBOX")[0] == "OK"


@pytest.mark.heavy
def test_a_hundred_thousand_pipelined_commands_are_answered_in_bounded_memory(thurn):
    many = 100_000
    r, other = thurn.raw(), thurn.imap()
    login(r)
    frontend, backend = thurn.pid_of("frontend"), thurn.pid_of("backend")
    before = [peak_memory(frontend), peak_memory(backend)]
    text = b"".join(b"%d NOOP\r\n" % n for n in range(many))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sent = pool.submit(r.send, text)
        for n in range(many):
            assert r.line() == b"%d OK Completed\r\n" % n
            if n % 10_000 == 0:
                assert other.noop()[0] == "OK"
        sent.result()
    after = [peak_memory(frontend), peak_memory(backend)]
    assert all(b - a < 8_000_000 for a, b in zip(before, after)), (before, after)
    r.close()
    other.logout()


@pytest.mark.heavy
def test_a_hundred_thousand_pipelined_commands_whose_answers_nobody_reads_wait(make_thurn):
    t = make_thurn({"write_timeout": '"2 s"'})
    r = t.raw()
    login(r)
    frontend = t.pid_of("frontend")
    before = peak_memory(frontend)
    r.sock.settimeout(DEADLINE)
    with contextlib.suppress(OSError):
        for _ in range(1000):
            r.send(b"x CAPABILITY\r\n" * 1000)
    wait_for("the silent client to be sent away", lambda: "the peer takes no output" in t.log_text())
    assert peak_memory(frontend) - before < 8_000_000
    r.close()
    assert t.imap().select("INBOX")[0] == "OK"

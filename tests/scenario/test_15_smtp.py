"""Mail by SMTP: from other servers at the MX port, from users at the submission ports."""

import base64
import itertools
import re
import smtplib
import subprocess

import pytest

from thurn_server import wait_for

LETTER = (b"From: sender@example.org\r\nTo: alice@example.test\r\nSubject: by SMTP\r\n"
          b"\r\n.dot\r\n..\r\nGr\xc3\xbc\xc3\x9fe\r\n")


def bodies(thurn, user="alice"):
    c = thurn.imap(user)
    c.select("INBOX")
    found = [p[1] for p in c.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(p, tuple)] \
        if c.search(None, "ALL")[1][0] else []
    c.logout()
    return found


def greeted(thurn, port=None):
    r = thurn.raw(port or thurn.smtp_port)
    assert r.smtp_reply()[0] == 220
    code, text = r.smtp(b"EHLO client.example.test")
    assert code == 250
    return r, text


def envelope(r, to=b"alice@example.test", options=b""):
    assert r.smtp(b"MAIL FROM:<sender@example.org>" + options)[0] == 250
    assert r.smtp(b"RCPT TO:<" + to + b">")[0] == 250


def closed(r):
    try:
        return r.line() == b""
    except ConnectionResetError:
        return True


# -- the MX port --

def test_a_letter_from_another_server_is_in_the_mailbox_byte_for_byte(thurn):
    with thurn.smtp() as c:
        assert c.sendmail("sender@example.org", ["alice@example.test"], LETTER) == {}
    got, = bodies(thurn)
    assert got.endswith(LETTER)
    head = got[:-len(LETTER)]
    assert head.startswith(b"Return-Path: <sender@example.org>\r\n")
    assert b"Received: from client.example.test ([127.0.0.1])" in head
    assert b" with ESMTP id " in head and b"for <alice@example.test>;" in head


def test_received_tells_how_the_mail_came(thurn):
    with thurn.smtp() as c:
        c.helo()
        c.sendmail("a@example.org", "alice@example.test", LETTER)
    with smtplib.SMTP("localhost", thurn.smtp_port, local_hostname="x") as c:
        c.starttls(context=thurn.tls_context())
        c.sendmail("a@example.org", "alice@example.test", LETTER)
        c.mail("a@example.org", ["SMTPUTF8"])
        c.rcpt("alice@example.test")
        assert c.data(LETTER)[0] == 250
    with thurn.submission() as c:
        c.sendmail("alice@example.test", "alice@example.test", LETTER)
    how = [re.search(rb" with (\S+(?: \(TLSv1\.\d TLS_\w+\))?) id", m).group(1) for m in bodies(thurn)]
    assert [h.split()[0] for h in how] == [b"SMTP", b"ESMTPS", b"UTF8SMTPS", b"ESMTPSA"]
    assert b"(TLSv1.3 TLS_" in how[1]


def test_ehlo_announces_what_is_done(thurn):
    r, text = greeted(thurn)
    for word in (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"CHUNKING", b"BINARYMIME", b"SIZE ",
                 b"ENHANCEDSTATUSCODES", b"DSN", b"STARTTLS"):
        assert word in text, word
    assert b"AUTH" not in text
    assert r.smtp(b"AUTH PLAIN AGEAYg==")[0] == 500
    r.close()


def test_nothing_is_relayed_and_unknown_users_are_refused(thurn):
    r, _ = greeted(thurn)
    r.smtp(b"MAIL FROM:<alice@example.test>")
    for to, want in ((b"bob@elsewhere.test", b"550 5.7.1 Relaying denied"),
                     (b"bob@[127.0.0.1]", b"550 5.7.1 Relaying denied"),
                     (b"@example.test:bob@elsewhere.test", b"550 5.7.1 Relaying denied"),
                     (b"bob%elsewhere.test@example.test", b"550 5.1.1"),
                     (b"bob@elsewhere.test@example.test", b"501 5.1.3"),
                     (b"nobody@example.test", b"550 5.1.1")):
        code, text = r.smtp(b"RCPT TO:<" + to + b">")
        assert text.startswith(want), (to, text)
    r.close()


def test_postmaster_needs_no_domain_if_there_is_one(thurn):
    r, _ = greeted(thurn)
    r.smtp(b"MAIL FROM:<>")
    assert r.smtp(b"RCPT TO:<Postmaster>")[0] == 550
    thurn.add_account("postmaster")
    assert r.smtp(b"RCPT TO:<Postmaster>")[0] == 250
    assert r.smtp(b"DATA")[0] == 354
    assert r.smtp(b"Subject: x\r\n\r\nx\r\n.")[0] == 250
    assert b"Return-Path: <>\r\n" in bodies(thurn, "postmaster")[0]
    r.close()


def test_two_recipients_get_one_answer_and_a_copy_each(thurn):
    r, _ = greeted(thurn)
    r.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.test>\r\n"
           b"RCPT TO:<nobody@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
           b"Subject: two\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert [r.smtp_reply()[0] for _ in range(7)] == [250, 250, 550, 250, 354, 250, 221]
    assert len(bodies(thurn)) == len(bodies(thurn, "bob")) == 1
    r.close()


@pytest.mark.parametrize("line, code", [
    (b"MAIL FROM:<a@b.test> RET=FULL ENVID=a+2Bb", 250),
    (b"MAIL FROM:<a@b.test> BODY=BINARYMIME SMTPUTF8 SIZE=100", 250),
    (b"MAIL FROM:<a@b.test> RET=SOME", 501),
    (b"MAIL FROM:<a@b.test> ENVID=a+2", 501),
    (b"MAIL FROM:<a@b.test> ENVID=" + b"x" * 101, 501),
    (b"MAIL FROM:<a@b.test> SMTPUTF8=yes", 501),
    (b"MAIL FROM:<a@b.test> SIZE=999999999999", 552),
    (b"MAIL FROM:<a@b.test> HOLD=1", 555),
    (b"MAIL FROM:<a@b.test> AUTH=<>", 555),
    ("MAIL FROM:<jürgen@b.test>".encode(), 553),
    ("MAIL FROM:<jürgen@b.test> SMTPUTF8".encode(), 250),
    ("MAIL FROM:<a@bücher.test> SMTPUTF8".encode(), 553),
    (b"MAIL FROM:<a\xff@b.test> SMTPUTF8", 500),
    (b"RCPT TO:<alice@example.test>", 503),
    (b"DATA", 503),
])
def test_parameters_of_mail_are_checked(thurn, line, code):
    r, _ = greeted(thurn)
    assert r.smtp(line)[0] == code
    assert r.smtp(b"NOOP")[0] == 250
    r.close()


def test_parameters_of_rcpt_are_checked(thurn):
    r, _ = greeted(thurn)
    r.smtp(b"MAIL FROM:<a@b.test>")
    for options, code in ((b"NOTIFY=NEVER", 250), (b"NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b", 250),
                          (b"NOTIFY=NEVER,DELAY", 501), (b"NOTIFY=", 501), (b"ORCPT=rfc822", 501),
                          (b"ORCPT=;x", 501), (b"ORCPT=rfc822;a=b", 501), (b"SIZE=1", 555)):
        assert r.smtp(b"RCPT TO:<alice@example.test> " + options)[0] == code, options
    assert r.smtp("RCPT TO:<jürgen@example.test>".encode())[0] == 553
    r.close()


def test_a_utf8_address_has_a_mailbox(thurn):
    thurn.add_account("jürgen")
    r, _ = greeted(thurn)
    assert r.smtp("MAIL FROM:<grüße@example.org> SMTPUTF8".encode())[0] == 250
    assert r.smtp("RCPT TO:<jürgen@example.test>".encode())[0] == 250
    assert r.smtp(b"DATA")[0] == 354
    assert r.smtp(b"Subject: x\r\n\r\nx\r\n.")[0] == 250
    r.close()
    c = thurn.imap(login=False)
    c.authenticate("PLAIN", lambda _: "\0jürgen@example.test\0secret".encode())
    c.select("INBOX")
    got = c.fetch("1", "(BODY.PEEK[])")[1][0][1]
    assert "Return-Path: <grüße@example.org>\r\n".encode() in got
    assert "for <jürgen@example.test>;".encode() in got
    c.logout()


def test_too_many_recipients_are_put_off(make_thurn):
    t = make_thurn({"max_recipients": "100"})
    r, _ = greeted(t)
    r.smtp(b"MAIL FROM:<a@b.test>")
    r.send(b"RCPT TO:<alice@example.test>\r\n" * 101)
    codes = [r.smtp_reply() for _ in range(101)]
    assert all(code == 250 for code, _ in codes[:100])
    assert codes[100][1].startswith(b"452 4.5.3")
    r.close()


def test_nonsense_and_silence_end_the_connection(make_thurn):
    t = make_thurn({"max_bad_commands": "5", "smtp_timeout": '"300 ms"'})
    r, _ = greeted(t)
    r.send(b"GET / HTTP/1.1\r\n" * 10)
    assert r.until(b"421 4.7.0") and closed(r)
    r, _ = greeted(t)
    assert r.line().startswith(b"421 4.4.2")


def test_a_message_beyond_the_limit_is_refused(make_thurn):
    t = make_thurn({"message_size_limit": '"64 KB"'})
    r, text = greeted(t)
    assert b"SIZE 65536" in text
    envelope(r)
    assert r.smtp(b"DATA")[0] == 354
    r.send(b"0123456789abcde\r\n" * 5000)
    assert r.smtp(b".")[1].startswith(b"552 5.3.4")
    envelope(r)
    chunk = b"0123456789abcde\r\n" * 5000
    r.send(b"BDAT %d\r\n" % len(chunk) + chunk)
    assert r.smtp_reply()[1].startswith(b"552 5.3.4")
    assert r.smtp(b"NOOP")[0] == 250
    assert bodies(t) == []
    r.close()


# -- the end of a message (SMTP smuggling) --

SMUGGLE = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nevil\r\n.\r\n"
ENDS = [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.\n", b"\r\n\0.\r\n",
        b"\r\0\n.\r\n", b"\r\n.\0\r\n", b"\n\n.\r\r\n", b"\r\n.\r\0\n"]
# Those that hold no CR or LF alone are text like any other.
PLAIN_ENDS = [b"\r\n\0.\r\n", b"\r\n.\0\r\n"]


def send_with(t, end, split):
    r, _ = greeted(t)
    envelope(r)
    assert r.smtp(b"DATA")[0] == 354
    whole = b"Subject: s\r\n\r\nbegin" + end + SMUGGLE[:-5] + b"\r\n.\r\n"
    for piece in ([whole] if not split else [bytes([b]) for b in whole]):
        r.send(piece)
    answer = r.smtp_reply()
    assert r.smtp(b"NOOP")[1].startswith(b"250 2.0.0 Ok"), "more than one message was seen"
    r.close()
    return answer


@pytest.mark.parametrize("policy", ["refuse", "normalize", "accept"])
def test_only_cr_lf_dot_cr_lf_ends_a_message(make_thurn, policy):
    t = make_thurn({"smtp_bare_newline": policy})
    taken = 0
    for end, split in itertools.product(ENDS, (False, True)):
        code, text = send_with(t, end, split)
        if policy == "refuse" and end not in PLAIN_ENDS:
            assert text.startswith(b"550 5.6.0"), (end, text)
        else:
            assert code == 250, (end, text)
            taken += 1
    assert bodies(t, "bob") == []
    got = bodies(t)
    assert len(got) == taken
    if policy != "accept":
        assert all(b"\n" not in m.replace(b"\r\n", b"") and b"\r" not in m.replace(b"\r\n", b"")
                   for m in got)


# -- chunks --

def test_a_message_in_chunks_is_whole_whatever_it_holds(thurn):
    r, _ = greeted(thurn)
    message = b"Subject: chunks\r\n\r\n" + bytes(range(256)) * 600 + b"\r\n.\r\nQUIT\r\n\n.\n"
    envelope(r, options=b" BODY=BINARYMIME")
    assert r.smtp(b"DATA")[0] == 503
    r.send(b"BDAT 10\r\n" + message[:10] + b"BDAT 0\r\n" + b"BDAT 100000\r\n" + message[10:100010]
           + b"BDAT %d LAST\r\n" % (len(message) - 100010) + message[100010:] + b"NOOP\r\n")
    assert [r.smtp_reply()[0] for _ in range(5)] == [250] * 5
    assert bodies(thurn)[0].endswith(message)
    envelope(r)
    assert r.smtp(b"BDAT 0 LAST")[0] == 250
    r.close()


def test_chunks_out_of_order_are_drained(thurn):
    r, _ = greeted(thurn)
    inside = b"MAIL FROM:<a@b.test>\r\n"
    assert r.smtp(b"BDAT %d LAST\r\n" % len(inside) + inside[:-2])[0] == 503
    r.smtp(b"MAIL FROM:<a@b.test>")
    r.smtp(b"RCPT TO:<nobody@example.test>")
    r.send(b"BDAT %d\r\n" % len(inside) + inside + b"BDAT 3 LAST\r\nabcRSET\r\n")
    assert [r.smtp_reply()[0] for _ in range(3)] == [503, 503, 250]
    envelope(r)
    assert r.smtp(b"BDAT 0")[0] == 250
    assert r.smtp(b"DATA")[0] == 503
    assert r.smtp(b"RCPT TO:<bob@example.test>")[0] == 503
    assert r.smtp(b"MAIL FROM:<a@b.test>")[0] == 503
    assert r.smtp(b"RSET")[0] == 250
    assert bodies(thurn) == []
    r.close()


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 99999999999999999999999",
                                  b"BDAT 5 LAST x", b"BDAT 5 FIRST", b"BDAT 5\x01"])
def test_a_chunk_of_unknown_size_ends_the_connection(thurn, line):
    r, _ = greeted(thurn)
    r.send(line + b"\r\n" + SMUGGLE)
    assert r.line().startswith(b"421 ")
    assert closed(r)
    assert bodies(thurn, "bob") == []


# -- TLS --

@pytest.mark.parametrize("port", ["smtp_port", "submission_port"])
def test_nothing_pipelined_before_starttls_survives_it(thurn, port):
    r, _ = greeted(thurn, getattr(thurn, port))
    r.send(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<alice@example.test>\r\n")
    assert r.smtp_reply()[0] == 220
    r.sock = thurn.tls_context().wrap_socket(r.sock, server_hostname="localhost")
    r.file = r.sock.makefile("rb")
    assert r.smtp(b"MAIL FROM:<a@example.org>")[1].startswith(b"503 ")
    code, text = r.smtp(b"EHLO again")
    assert code == 250 and b"STARTTLS" not in text
    assert r.smtp(b"RCPT TO:<alice@example.test>")[0] == 503
    assert r.smtp(b"STARTTLS")[0] == 503
    r.close()


# -- submission --

def test_submission_takes_mail_after_login_only(thurn):
    with thurn.submission(user=None) as c:
        assert c.docmd("MAIL FROM:<alice@example.test>")[0:1] == (503,)
        c.ehlo()
        assert c.docmd("MAIL FROM:<alice@example.test>")[0] == 530
        assert c.docmd("RCPT TO:<bob@example.test>")[0] == 503
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            c.login("alice@example.test", "wrong")
        assert refused.value.smtp_code == 535 and b"5.7.8" in refused.value.smtp_error
        c.login("alice@example.test", "secret")
        assert c.docmd("AUTH PLAIN AGEAYg==")[0] == 503
        assert c.docmd("MAIL FROM:<alice@example.test> AUTH=alice+40example.test")[0] == 250
        assert c.rcpt("someone@elsewhere.test")[0] == 550
        assert c.rcpt("bob@example.test")[0] == 250
        assert c.data(LETTER)[0] == 250
    assert len(bodies(thurn, "bob")) == 1
    wait_for("the failure in the log", lambda: "login.refused" in thurn.log_text())


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
def test_mechanisms_work_with_and_without_initial_response(thurn, mechanism):
    for initial in (True, False):
        with smtplib.SMTP_SSL("localhost", thurn.submissions_port, context=thurn.tls_context()) as c:
            c.ehlo()
            assert c.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
            c.user, c.password = "alice@example.test", "secret"
            name = mechanism.removeprefix("auth_").upper()
            assert c.auth(name, getattr(c, mechanism), initial_response_ok=initial)[0] == 235


def test_a_login_can_be_cancelled_and_malformed_ones_are_refused(thurn):
    r, text = greeted(thurn, thurn.submission_port)
    assert b"AUTH PLAIN LOGIN" in text
    assert r.smtp(b"AUTH PLAIN")[1] == b"334 \r\n"
    assert r.smtp(b"*")[0] == 501
    assert r.smtp(b"AUTH LOGIN")[0] == 334
    assert r.smtp(base64.b64encode(b"alice@example.test"))[0] == 334
    assert r.smtp(b"*")[0] == 501
    assert r.smtp(b"AUTH PLAIN !!!")[0] == 501
    assert r.smtp(b"AUTH PLAIN =")[0] == 501
    assert r.smtp(b"AUTH LOGIN =")[0] == 501
    assert r.smtp(b"AUTH CRAM-MD5")[0] == 504
    assert r.smtp(b"AUTH")[0] == 501
    assert r.smtp(b"AUTH PLAIN " + base64.b64encode(b"bob@example.test\0alice@example.test\0secret"))[0] \
        == 535
    assert r.smtp(b"AUTH PLAIN " + base64.b64encode(b"\0alice@example.test\0secret"))[0] == 235
    r.close()


def test_passwords_are_neither_offered_nor_taken_before_tls(make_thurn):
    t = make_thurn({"cleartext_login_from": None})
    r, text = greeted(t, t.submission_port)
    assert b"AUTH" not in text and b"STARTTLS" in text
    assert r.smtp(b"AUTH PLAIN " + base64.b64encode(b"\0alice@example.test\0secret"))[0] == 538
    r.close()
    t.submission().quit()


# -- swaks --

@pytest.mark.parametrize("how", [
    ["--server", "127.0.0.1:{smtp_port}"],
    ["--server", "127.0.0.1:{smtp_port}", "--tls"],
    ["--server", "127.0.0.1:{submission_port}", "--tls", "--auth", "PLAIN"],
    ["--server", "127.0.0.1:{submission_port}", "--tls", "--auth", "LOGIN"],
    ["--server", "127.0.0.1:{submissions_port}", "--tlsc", "--auth", "PLAIN"],
    ["--server", "127.0.0.1:{smtp_port}", "--pipeline"],
])
def test_swaks_delivers(thurn, how):
    words = [w.format(**vars(thurn)) for w in how]
    if "--auth" in words:
        words += ["--auth-user", "alice@example.test", "--auth-password", "secret"]
    done = subprocess.run(["swaks", *words, "--from", "alice@example.test", "--to",
                           "bob@example.test", "--header", "Subject: swaks"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"Subject: swaks" in bodies(thurn, "bob")[0]

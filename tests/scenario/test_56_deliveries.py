"""Deliveries whose backend dies under them: the client hears one 250, and the message is there once."""

import base64
import os
import signal

import pytest

from thurn_server import wait_for

LETTER = b"From: a@example.org\r\nSubject: %s\r\n\r\nbody\r\n"
LARGE = b"From: a@example.org\r\nSubject: %s\r\n\r\n" + b"0123456789abcdef\r\n" * 20000
MOMENTS = ["recipient-asked", "delivery-asked", "delivery-scanned", "delivery-committed"]
PORTS = ["lmtp_port", "smtp_port", "submission_port"]


def log_in(thurn, r):
    r.smtp(b"STARTTLS")
    r.sock = thurn.tls_context().wrap_socket(r.sock, server_hostname="localhost")
    r.file = r.sock.makefile("rb")
    r.smtp(b"EHLO x")
    assert r.smtp(b"AUTH PLAIN " + base64.b64encode(b"\0alice@example.test\0secret"))[0] == 235


def greeted(thurn, port):
    r = thurn.raw(getattr(thurn, port))
    assert r.smtp_reply()[0] == 220
    assert r.smtp(b"LHLO x" if port == "lmtp_port" else b"EHLO x")[0] == 250
    if port == "submission_port":
        log_in(thurn, r)
    return r


def die_at(thurn, moment):
    assert thurn.cli("probe", "backend", "0", "die-at", moment).stdout.startswith("succeeded")


def send(r, message, per_recipient):
    assert r.smtp(b"MAIL FROM:<a@example.org>")[0] == 250
    for name in (b"alice", b"bob"):
        assert r.smtp(b"RCPT TO:<" + name + b"@example.test>")[0] == 250
    assert r.smtp(b"DATA")[0] == 354
    r.send(message + b".\r\n")
    assert [r.smtp_reply()[0] for _ in range(2 if per_recipient else 1)] in ([250], [250, 250])


def subjects(thurn, user):
    c = thurn.imap(user)
    n = int(c.select("INBOX")[1][0])
    rows = c.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if n else []
    c.logout()
    return sorted(row[1].split()[1].decode() for row in rows if isinstance(row, tuple))


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_backend_that_dies_over_a_delivery_costs_the_client_nothing(thurn, port, moment):
    r = greeted(thurn, port)
    lmtp = port == "lmtp_port"
    send(r, LETTER % b"before", lmtp)
    for name, letter in ((b"small", LETTER), (b"large", LARGE)):
        before = thurn.pid_of("backend")
        die_at(thurn, moment)
        send(r, letter % name, lmtp)
        assert thurn.pid_of("backend") != before
    send(r, LETTER % b"after", lmtp)
    for user in ("alice", "bob"):
        assert subjects(thurn, user) == ["after", "before", "large", "small"]
    r.close()
    thurn.stop()
    assert "everything is in order" in thurn.cli("store", "check").stdout


@pytest.mark.parametrize("port", PORTS)
def test_a_backend_that_dies_between_commands_is_not_noticed(thurn, port):
    r = greeted(thurn, port)
    kill = lambda: thurn.kill_role("backend")  # noqa: E731
    kill()
    assert r.smtp(b"MAIL FROM:<a@example.org>")[0] == 250
    kill()
    assert r.smtp(b"RCPT TO:<alice@example.test>")[0] == 250
    kill()
    assert r.smtp(b"DATA")[0] == 354
    r.send(b"Subject: one\r\n\r\nhalf")
    kill()
    r.send(b"\r\n.\r\n")
    assert r.smtp_reply()[0] == 250
    assert subjects(thurn, "alice") == ["one"]
    r.close()


def test_a_backend_that_dies_over_a_login_at_submission_is_followed(thurn):
    r = thurn.raw(thurn.submission_port)
    r.smtp_reply()
    r.smtp(b"EHLO x")
    die_at(thurn, "login-checked")
    log_in(thurn, r)
    send(r, LETTER % b"one", False)
    assert subjects(thurn, "bob") == ["one"]
    r.close()


def test_a_login_at_submission_ends_with_its_password(thurn):
    """It goes on at the next backend only as long as the account's credentials are those it had."""
    r = greeted(thurn, "submission_port")
    assert r.smtp(b"MAIL FROM:<a@example.org>")[0] == 250
    thurn.cli("account", "password", "--hash", "{PLAIN}other", "alice@example.test")
    thurn.kill_role("backend")
    assert r.smtp(b"RCPT TO:<bob@example.test>")[0] == 421
    r.close()


@pytest.mark.parametrize("port", PORTS)
def test_without_a_backend_in_time_it_is_a_temporary_failure(make_thurn, port):
    t = make_thurn({"request_timeout": '"500 ms"'})
    r = greeted(t, port)
    assert r.smtp(b"MAIL FROM:<a@example.org>")[0] == 250
    assert r.smtp(b"RCPT TO:<alice@example.test>")[0] == 250
    assert r.smtp(b"DATA")[0] == 354
    backend = t.pid_of("backend")
    os.kill(backend, signal.SIGSTOP)
    try:
        assert r.smtp(LETTER % b"late" + b".")[0] == (421 if port == "submission_port" else 451)
    finally:
        os.kill(backend, signal.SIGCONT)
    r.close()
    wait_for("the backend", lambda: t.deliver(LETTER % b"next")[0][0] == 250)

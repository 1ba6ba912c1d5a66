"""Log-ins that fail, that come in storms, and that are too many."""

import re
import select
import smtplib
import socket

import pytest

from thurn_server import DEADLINE, Raw, wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"


class From(Raw):
    """A client at an address of its own on this machine."""

    def __init__(self, port, address):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE,
                                             source_address=(address, 0))
        self.file = self.sock.makefile("rb")
        self.line()

    def log_in(self, user, password):
        return self.command(b"LOGIN %s@example.test %s" % (user, password))[-1]


def refusals(thurn):
    return re.findall(r'event=login.refused .*?user=(\S+) peer=(\S+) protocol=(\S+) tls=\d reason="?([^"\n]*)"?',
                      thurn.log_text())


def test_every_failure_is_logged_with_its_reason_and_told_alike(thurn):
    thurn.cli("account", "lock", "bob@example.test")
    said = set()
    for user, password in ((b"nobody", b"x"), (b"alice", b"wrong"), (b"bob", b"secret")):
        c = From(thurn.imap_port, "127.0.0.7")
        said.add(c.log_in(user, password))
        c.close()
    assert len(said) == 1 and b"[AUTHENTICATIONFAILED]" in said.pop()
    with smtplib.SMTP("127.0.0.1", thurn.submission_port, timeout=60) as c:
        c.ehlo("client.test")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            c.login("alice@example.test", "wrong")
    # smtplib tries each mechanism.
    assert wait_for("the log", lambda: len(refusals(thurn)) == 5 and refusals(thurn)) == [
        ("nobody@example.test", "127.0.0.7", "imap", "unknown user"),
        ("alice@example.test", "127.0.0.7", "imap", "wrong password"),
        ("bob@example.test", "127.0.0.7", "imap", "the account is locked"),
        *2 * [("alice@example.test", "127.0.0.1", "submission", "wrong password")]]


def test_a_password_without_tls_is_refused_and_logged(make_thurn):
    t = make_thurn({"cleartext_login_from": "{}"})
    r = t.raw()
    r.line()
    assert b"PRIVACYREQUIRED" in r.command(b"LOGIN alice@example.test secret")[-1]
    r.close()
    with smtplib.SMTP("127.0.0.1", t.submission_port, timeout=60) as c:
        c.ehlo("client.test")
        assert c.docmd("AUTH", "PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=")[0] == 538
    wait_for("both in the log", lambda: t.log_text().count('reason="no TLS"') == 2)


def test_who_guesses_is_slowed_down_then_refused_and_the_user_is_not(make_thurn):
    t = make_thurn({"login_failures": '"2"', "login_delay_max": '"1 s"'})
    guessers = [From(t.imap_port, "127.0.0.66") for _ in range(12)]
    for _ in range(2):
        assert b"NO" in guessers[0].log_in(b"alice", b"wrong")
    # From now on one guess a second is looked at, whoever makes it there, the right one too.
    for g in guessers:
        g.send(b"x LOGIN alice@example.test secret\r\n")
    user = From(t.imap_port, "127.0.0.1")
    assert b"OK" in user.log_in(b"alice", b"secret")
    answers = [g.until(b"x ")[-1] for g in guessers]
    refused = [a for a in answers if b"AUTHENTICATIONFAILED" in a]
    assert refused and len(refused) < len(guessers)
    assert ("alice@example.test", "127.0.0.66", "imap", "too many failures") in refusals(t)
    assert ("alice@example.test", "127.0.0.1") not in [r[:2] for r in refusals(t)]


def waiting(clients):
    return len(clients) - len(select.select([c.sock for c in clients], [], [], 0)[0])


def test_a_storm_of_log_ins_stops_neither_mail_nor_the_log_ins_of_others(make_thurn):
    t = make_thurn({"argon2_memory": '"19 MB"', "argon2_passes": '"1"', "login_memory": '"40 MB"',
                    "login_failures": '"1000"'})
    t.cli("account", "password", "--password-stdin", "bob@example.test", input="secret\n")
    session = t.imap()
    session.select("INBOX")
    storm = [From(t.imap_port, "127.0.0.66") for _ in range(60)]
    for i, c in enumerate(storm):
        c.send(b"x LOGIN user%d@example.test wrong\r\n" % i)
    for _ in range(20):
        assert t.deliver(LETTER)[0][0] == 250
    assert session.noop()[0] == "OK"
    other = From(t.imap_port, "127.0.0.2")
    assert b"OK" in other.log_in(b"bob", b"secret")
    assert waiting(storm) > 0  # they came first, and wait
    assert all(b"AUTHENTICATIONFAILED" in c.until(b"x ")[-1] for c in storm)
    session.logout()


def test_more_connections_than_an_account_may_have_are_refused_and_others_are_not(make_thurn):
    t = make_thurn({"max_connections_per_account": '"5"'})
    clients = [From(t.imap_port, "127.0.0.1") for _ in range(60)]
    for c in clients:
        c.send(b"x LOGIN alice@example.test secret\r\n")
    answers = [c.until(b"x ")[-1] for c in clients]
    assert sum(b"x OK" in a for a in answers) == 5
    assert sum(b"NO [LIMIT]" in a for a in answers) == 55
    with smtplib.SMTP("127.0.0.1", t.submission_port, timeout=60) as mail:
        mail.ehlo("client.test")
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            mail.login("alice@example.test", "secret")
        assert refused.value.smtp_code == 454
    assert b"OK" in From(t.imap_port, "127.0.0.1").log_in(b"bob", b"secret")
    for c in clients:
        c.close()
    wait_for("room for the account again",
             lambda: b"OK" in From(t.imap_port, "127.0.0.1").log_in(b"alice", b"secret"))


def test_addresses_have_a_limit_of_connections_too(make_thurn):
    t = make_thurn({"max_connections_per_address": '"3"'})
    # This machine's own addresses have none: a webmail's, a proxy's.
    clients = [From(t.imap_port, "127.0.0.9") for _ in range(6)]
    assert all(b"OK" in c.log_in(b"alice", b"secret") for c in clients)


def test_account_show_counts_sessions(thurn):
    import json
    shown = lambda: json.loads(thurn.cli("account", "show", "alice@example.test", "--json").stdout)["sessions"]
    assert shown() == 0
    clients = [thurn.imap() for _ in range(3)]
    assert shown() == 3
    clients[0].logout()
    wait_for("two sessions", lambda: shown() == 2)


def test_sessions_that_sleep_count_as_connections(make_thurn):
    import json
    t = make_thurn({"max_connections_per_account": '"3"'})
    shown = lambda: json.loads(t.cli("account", "show", "alice@example.test", "--json").stdout)["sessions"]
    clients = [From(t.imap_port, "127.0.0.1") for _ in range(3)]
    for c in clients:
        assert b"OK" in c.log_in(b"alice", b"secret")
        c.command(b"SELECT INBOX")
        c.send(b"i IDLE\r\n")
        assert c.line().startswith(b"+ ")
    assert shown() == 3
    assert b"NO [LIMIT]" in From(t.imap_port, "127.0.0.1").log_in(b"alice", b"secret")
    t.cli("restart", "backend")  # they stay connected, asleep
    wait_for("them to be counted again", lambda: t.cli("domain", "list", check=False).returncode == 0
             and shown() == 3)
    assert b"NO [LIMIT]" in From(t.imap_port, "127.0.0.1").log_in(b"alice", b"secret")
    assert t.deliver(LETTER)[0][0] == 250  # wakes them
    for c in clients:
        c.until(b"* 1 EXISTS")
        c.send(b"DONE\r\n")
        c.until(b"i OK")
    assert shown() == 3
    t.cli("account", "logout", "alice@example.test")
    for c in clients:
        c.send(b"n NOOP\r\n")  # one that rests hears of it at its next command
        c.until(b"* BYE")
        c.close()
    wait_for("nobody to be counted", lambda: shown() == 0)

"""IMAP sessions that sleep, and that outlive their backend: whoever is connected stays so, hears of
everything, and nothing is done twice."""

import os
import re
import signal
import ssl
import threading

import pytest

from thurn_server import PASSWORD, Raw, wait_for

LETTER = b"From: a@example.org\r\nTo: alice@example.test\r\nSubject: x\r\n\r\nHello\r\n"
MANY = 10000


class Secure(Raw):
    def __init__(self, t):
        super().__init__(t.imaps_port)
        self.sock = t.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")


def connect(t, tls=False, user="alice"):
    c = Secure(t) if tls else t.raw()
    assert c.login(user)[-1].startswith(b"x OK")
    return c


def in_inbox(t, tls=False):
    c = connect(t, tls)
    c.command(b"SELECT INBOX")
    return c


def idle(c, tag=b"i"):
    c.send(tag + b" IDLE\r\n")
    assert c.line().startswith(b"+ ")


def kill(t):
    os.kill(t.pid_of("backend"), signal.SIGKILL)


def restart(t):
    t.cli("restart", "backend")


def deliver_soon(t):
    """Delivers one letter; while there is no backend, LMTP says try again."""
    def once():
        try:
            return t.deliver(LETTER)[0][0] == 250
        except (AssertionError, OSError):
            return False
    wait_for("a delivery", once)


HOW = pytest.mark.parametrize("end_backend", [kill, restart], ids=["kill", "restart"])


@HOW
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_idle_client_stays_connected_and_hears_of_all_mail(thurn, end_backend, tls):
    c = in_inbox(thurn, tls)
    idle(c)
    for n in range(1, 4):
        end_backend(thurn)
        deliver_soon(thurn)
        assert c.until(b"* %d EXISTS" % n)[-1] == b"* %d EXISTS\r\n" % n
    end_backend(thurn)
    c.send(b"DONE\r\n")
    c.until(b"i OK")
    uids = c.command(b"UID SEARCH ALL")
    assert uids[0] == b"* SEARCH 1 2 3\r\n"


@HOW
def test_all_sessions_of_a_mailbox_hear_of_expunges_and_flags(thurn, end_backend):
    for _ in range(5):
        thurn.deliver(LETTER)
    idlers = [in_inbox(thurn) for _ in range(6)]
    for c in idlers:
        idle(c)
    writer = in_inbox(thurn)
    end_backend(thurn)
    assert writer.command(b"STORE 2 +FLAGS.SILENT (\\Deleted)")[-1].startswith(b"x OK")
    assert writer.command(b"STORE 5 +FLAGS.SILENT (\\Flagged)")[-1].startswith(b"x OK")
    for c in idlers:
        c.until(b"* 5 FETCH (FLAGS (\\Flagged")
    end_backend(thurn)
    assert writer.command(b"EXPUNGE")[0] == b"* 2 EXPUNGE\r\n"
    for c in idlers:
        c.until(b"* 2 EXPUNGE")
        c.send(b"DONE\r\n")
        c.until(b"i OK")
        assert b"* SEARCH 1 3 4 5\r\n" in c.command(b"UID SEARCH ALL")


def big_bodies():
    return [(b"Subject: %d\r\n\r\n" % i) + (b"%07d " % i * 12 + b"\r\n") * 10000 for i in range(8)]


def read_fetch(c, rows):
    """Rows of FETCH BODY.PEEK[] by their number, up to the tagged answer."""
    while True:
        line = c.line()
        head = re.match(rb"\* (\d+) FETCH \(.*\{(\d+)\}\r\n$", line)
        if not head:
            if line.startswith(b"f "):
                return line
            assert line, "closed"
            continue
        rows.append((int(head[1]), c.file.read(int(head[2]))))
        assert c.line() == b")\r\n"


@HOW
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_fetch_goes_on_where_it_was(thurn, end_backend, tls):
    bodies = big_bodies()
    c = in_inbox(thurn, tls)
    for body in bodies:
        assert c.append(body).startswith(b"x OK")
    c.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    first = c.line()  # and no more of it: the backend waits for a reader
    assert first.startswith(b"* 1 FETCH")
    size = int(re.search(rb"\{(\d+)\}", first)[1])
    end_backend(thurn)
    got = [(1, c.file.read(size))]
    assert c.line() == b")\r\n"
    assert read_fetch(c, got).startswith(b"f OK")
    assert got == [(i + 1, body) for i, body in enumerate(bodies)]


def test_a_body_that_is_half_told_is_told_though_it_has_been_expunged(thurn):
    bodies = big_bodies()
    c = in_inbox(thurn)
    for body in bodies:
        c.append(body)
    other = in_inbox(thurn)
    c.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    first = c.line()
    kill(thurn)
    assert other.command(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")[-1].startswith(b"x OK")
    assert other.command(b"EXPUNGE")[-1].startswith(b"x OK")
    size = int(re.search(rb"\{(\d+)\}", first)[1])
    got = [(1, c.file.read(size))]
    assert c.line() == b")\r\n"
    assert read_fetch(c, got).startswith(b"f OK")
    assert all(body == bodies[number - 1] for number, body in got)
    assert sum(line.endswith(b"EXPUNGE\r\n") for line in c.command(b"NOOP")) == len(bodies)


@HOW
def test_an_append_is_done_once(thurn, end_backend):
    c = connect(thurn)
    message = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 100000
    for n in range(1, 6):
        c.send(b"x APPEND INBOX {%d+}\r\n" % len(message))
        c.send(message)
        killer = threading.Timer(0.004 * n, end_backend, [thurn])
        killer.start()
        c.send(b"\r\n")
        answer = c.until(b"x ")[-1]
        killer.join()
        assert re.match(rb"x OK \[APPENDUID \d+ %d\]" % n, answer), answer
        assert c.command(b"STATUS INBOX (MESSAGES UIDNEXT)")[0] == \
            b"* STATUS INBOX (MESSAGES %d UIDNEXT %d)\r\n" % (n, n + 1)


@pytest.fixture
def crowded(thurn):
    """A server with MANY messages in INBOX."""
    c = in_inbox(thurn)
    c.append(LETTER)
    n = 1
    while n < MANY:
        more = min(n, MANY - n)
        assert c.command(b"COPY 1:%d INBOX" % more)[-1].startswith(b"x OK")
        n += more
    c.close()
    return thurn


def interrupted(t, c, command, end_backend, after):
    """The command's answer, with the backend ended in the midst of it."""
    killer = threading.Timer(after, end_backend, [t])
    c.send(b"x " + command + b"\r\n")
    killer.start()
    lines = c.until(b"x ")
    killer.join()
    return lines


def count_of(uids):
    return sum(int(last or first) - int(first) + 1
               for first, _, last in (part.partition(b":") for part in uids.split(b",")))


@HOW
@pytest.mark.parametrize("after", [0.01, 0.05, 0.1])
def test_copy_move_and_store_of_very_many_are_done_once(crowded, end_backend, after):
    c = in_inbox(crowded)
    c.command(b"CREATE Copy")
    c.command(b"CREATE Moved")
    last = interrupted(crowded, c, b"COPY 1:* Copy", end_backend, after)[-1]
    told = re.match(rb"x OK \[COPYUID \d+ (\S+) (\S+)\]", last)
    assert told, last
    assert count_of(told[1]) == count_of(told[2]) == MANY
    assert b"* %d EXISTS\r\n" % MANY in c.command(b"SELECT Copy")

    lines = interrupted(crowded, c, b"STORE 1:* +FLAGS (\\Flagged)", end_backend, after)
    assert lines[-1].startswith(b"x OK"), lines[-1]
    told = {int(m[1]) for m in (re.match(rb"\* (\d+) FETCH \(FLAGS \([^)]*\\Flagged", line)
                                for line in lines) if m}
    assert len(told) == MANY

    lines = interrupted(crowded, c, b"MOVE 1:* Moved", end_backend, after)
    assert lines[-1].startswith(b"x OK"), lines[-1]
    assert sum(line.endswith(b"EXPUNGE\r\n") for line in lines) == MANY
    assert b"* 0 EXISTS\r\n" in c.command(b"SELECT Copy")
    lines = c.command(b"SELECT Moved")
    assert b"* %d EXISTS\r\n" % MANY in lines
    assert any(b"[UIDNEXT %d]" % (MANY + 1) in line for line in lines)


@HOW
def test_login_and_select_wait_for_the_next_backend(thurn, end_backend):
    fresh = thurn.raw()
    fresh.line()
    c = connect(thurn)
    end_backend(thurn)
    c.send(b"s SELECT INBOX\r\n")
    assert fresh.command(f"LOGIN alice@example.test {PASSWORD}".encode())[-1].startswith(b"x OK")
    assert c.until(b"s ")[-1].startswith(b"s OK [READ-WRITE]")


def test_a_sleeping_session_of_a_removed_account_is_told_goodbye(thurn):
    c = connect(thurn, user="bob")
    c.command(b"SELECT INBOX")
    idle(c)
    thurn.cli("account", "remove", "bob@example.test")
    assert c.until(b"* BYE")[-1].startswith(b"* BYE You have been logged out")
    assert c.line() == b""


@pytest.mark.parametrize("asleep", [True, False])
def test_a_session_ends_when_the_password_has_changed(thurn, asleep):
    c = in_inbox(thurn)
    if asleep:
        idle(c)
    thurn.cli("account", "password", "--hash", "{PLAIN}other", "alice@example.test")
    assert c.until(b"* BYE")[-1].startswith(b"* BYE You have been logged out")

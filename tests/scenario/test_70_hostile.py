"""Clients and messages that mean harm: each gets its answer, memory stays bounded, and whoever
behaves is served meanwhile. How much slower they are served is measured by bench/hostile.py."""

import contextlib
import os
import resource
import signal
import socket
import threading
import zlib

import pytest

from thurn_server import DEADLINE, wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"
MB = 1 << 20
sanitized = "asan" in os.environ.get("THURN_BIN", "")


class Honest:
    """Bob, who sends himself letters and reads them, as long as the block lasts."""

    def __init__(self, thurn):
        self.thurn, self.done = thurn, threading.Event()
        self.rounds, self.wrong = 0, None

    def work(self):
        try:
            c = self.thurn.imap("bob")
            while True:
                assert self.thurn.deliver(LETTER, to=("bob",))[0][0] == 250
                assert c.select("INBOX") == ("OK", [b"%d" % (self.rounds + 1)])
                assert c.fetch("*", "(BODY.PEEK[])")[1][0][1].endswith(LETTER)
                self.rounds += 1
                if self.done.is_set():
                    break
            c.logout()
        except Exception as e:
            self.wrong = e

    def __enter__(self):
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.done.set()
        self.thread.join(DEADLINE)
        if not failure[0]:
            assert self.wrong is None, self.wrong
            assert not self.thread.is_alive() and self.rounds


@contextlib.contextmanager
def bounded(thurn, most):
    """What is held may grow by `most` bytes; `check` looks at once, the end once more."""
    before = thurn.memory()

    def check():
        grown = thurn.memory() - before
        assert sanitized or grown < most, f"{grown >> 20} MB more"
    yield check
    check()


def answer_or_end(r):
    """What the server says last, b"" if it has closed."""
    try:
        return r.line()
    except ConnectionResetError:
        return b""


def pour(r, data, times):
    """Sends without reading; the server may close at any time. Whether it took everything."""
    try:
        for _ in range(times):
            r.send(data)
        return True
    except (BrokenPipeError, ConnectionResetError):
        return False


def greeted(thurn, port="smtp_port", hello=b"EHLO x"):
    r = thurn.raw(getattr(thurn, port))
    r.smtp_reply()
    assert r.smtp(hello)[0] == 250
    return r


def envelope(r):
    assert r.smtp(b"MAIL FROM:<a@example.org>")[0] == 250
    assert r.smtp(b"RCPT TO:<alice@example.test>")[0] == 250


def session(thurn, select=True):
    r = thurn.raw()
    r.login()
    if select:
        r.command(b"SELECT INBOX")
    return r


MAIL_PORTS = [("smtp_port", b"EHLO x"), ("lmtp_port", b"LHLO x")]


# -- too much --

@pytest.mark.parametrize("port, hello", MAIL_PORTS)
def test_an_endless_command_line_is_refused_once_it_ends(thurn, port, hello):
    r = greeted(thurn, port, hello)
    with bounded(thurn, 8 * MB) as check, Honest(thurn):
        assert pour(r, b"x" * MB, 20)
        check()
        r.send(b"\r\n")
        assert r.smtp_reply()[0] == 500
        assert r.smtp(b"NOOP")[0] == 250
    r.close()


@pytest.mark.parametrize("port, hello", MAIL_PORTS)
@pytest.mark.parametrize("line", [b"X: " + b"y" * 900 + b"\r\n", b"z" * 1000], ids=["headers", "one line"])
def test_a_message_without_end_is_held_to_its_limit_and_refused(make_thurn, port, hello, line):
    t = make_thurn({"message_size_limit": '"1 MB"'})
    r = greeted(t, port, hello)
    envelope(r)
    assert r.smtp(b"DATA")[0] == 354
    with bounded(t, 12 * MB) as check, Honest(t):
        assert pour(r, line * 1000, 20)
        check()
        r.send(b"\r\n.\r\n")
        assert r.smtp_reply()[0] == 552
        assert r.smtp(b"NOOP")[0] == 250
    r.close()


def test_many_large_messages_at_once_are_put_off_not_kept_in_memory(make_thurn):
    """Each is within its own limit; together they are not."""
    t = make_thurn({"receive_memory": '"32 MB"', "message_size_limit": '"16 MB"'})
    slow = []
    with bounded(t, 64 * MB), Honest(t):
        for _ in range(8):
            r = greeted(t)
            envelope(r)
            assert r.smtp(b"DATA")[0] == 354
            assert pour(r, b"0123456789abcdef\r\n" * 50000, 10)
            slow.append(r)
        for r in slow:
            r.send(b".\r\n")
        codes = [r.smtp_reply()[0] for r in slow]
        assert set(codes) == {250, 452} and codes.count(452) >= 4
    r = slow[-1]
    envelope(r)  # there is room again
    assert r.smtp(b"DATA")[0] == 354
    assert r.smtp(LETTER + b".")[0] == 250
    for r in slow:
        r.close()


def test_recipients_without_end_are_put_off(make_thurn):
    t = make_thurn({"max_recipients": "100"})
    r = greeted(t)
    assert r.smtp(b"MAIL FROM:<a@example.org>")[0] == 250
    with bounded(t, 8 * MB), Honest(t):
        sender = threading.Thread(target=pour, args=(r, b"RCPT TO:<alice@example.test>\r\n" * 100, 50))
        sender.start()
        codes = [r.smtp_reply()[0] for _ in range(5000)]
        sender.join()
    assert codes == [250] * 100 + [452] * 4900
    r.close()


@pytest.mark.heavy
@pytest.mark.parametrize("port, line, good", [
    ("smtp_port", b"NOOP\r\n", b"250"), ("imap_port", b"x NOOP\r\n", b"x OK")])
def test_a_million_pipelined_commands_get_a_million_answers(thurn, port, line, good):
    r = thurn.raw(getattr(thurn, port))
    r.line()
    with bounded(thurn, 8 * MB) as check, Honest(thurn):
        sender = threading.Thread(target=pour, args=(r, line * 10000, 100))
        sender.start()
        for n in range(1000000):
            assert r.file.readline().startswith(good)
            if n == 500000:
                check()
        sender.join()
    r.close()


def test_who_pipelines_and_never_reads_is_not_answered_without_end(make_thurn):
    t = make_thurn({"write_timeout": '"1 s"'})
    t.deliver(b"Subject: big\r\n\r\n" + b"0123456789abcdef\r\n" * 100000)
    greedy = [session(t) for _ in range(5)] + [greeted(t)]
    with bounded(t, 48 * MB) as check, Honest(t):
        for r in greedy:
            text = b"f FETCH 1 BODY.PEEK[]\r\n" if r is not greedy[-1] else b"HELP\r\n"
            r.sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                pour(r, text * 100, 1000)
        check()
        wait_for("them to be sent away", lambda: t.log_text().count("the peer takes no output") == 6)
    for r in greedy:
        r.close()


def test_literals_that_are_announced_and_not_sent_cost_nothing(thurn):
    with bounded(thurn, 16 * MB), Honest(thurn):
        waiting = [session(thurn, select=False) for _ in range(50)]
        for r in waiting:
            r.send(b"x APPEND INBOX {50000000}\r\n")
            assert r.line().startswith(b"+")
        early = [thurn.raw() for _ in range(50)]
        for r in early:
            r.line()
            r.send(b"x LOGIN {60000}\r\n")
            assert r.line().startswith(b"+")
    for r in waiting + early:
        r.close()


class Compressed:
    """A session under COMPRESS=DEFLATE (RFC 4978), with bytes that are compressed beforehand."""

    def __init__(self, thurn):
        self.raw = session(thurn, select=False)
        assert b"x OK" in self.raw.command(b"COMPRESS DEFLATE")[-1]
        self.inflate = zlib.decompressobj(-15)

    def send(self, pieces):
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        small = b"".join(deflate.compress(p) for p in pieces) + deflate.flush(zlib.Z_SYNC_FLUSH)
        pour(self.raw, small, 1)
        return len(small)

    def read(self):
        """What comes next; b"" at the end."""
        try:
            got = self.raw.sock.recv(65536)
        except ConnectionResetError:
            return b""
        return self.inflate.decompress(got) if got else b""


def test_a_line_that_is_a_thousand_times_as_long_as_its_bytes_is_refused(thurn):
    c = Compressed(thurn)
    with bounded(thurn, 16 * MB) as check, Honest(thurn):
        assert c.send([b"x" * MB] * 64 + [b"\r\n"]) < MB
        said = b""
        while b"\r\n" not in said and (got := c.read()):
            said += got
            check()
        assert b"BAD" in said or b"BYE" in said
    c.raw.close()


def test_commands_that_take_a_byte_a_hundred_are_answered_at_the_clients_pace(thurn):
    c = Compressed(thurn)
    with bounded(thurn, 16 * MB) as check, Honest(thurn):
        assert c.send([b"x NOOP\r\n" * 1000] * 10) < MB // 16
        check()
        answers, rest = 0, b""
        while answers < 10000 and (got := c.read()):
            rest += got
            answers += rest.count(b"x OK")
            rest = rest[-3:] if not rest.endswith(b"\n") else b""
        assert answers == 10000
    c.raw.close()


# -- too slow, too many --

def drip(r, head, deadline=DEADLINE):
    """Sends a byte at a time, far more often than a minute, until the server has enough."""
    r.send(head)
    r.sock.settimeout(0.05)
    said = b""

    def ended():
        nonlocal said
        try:
            r.sock.sendall(b"x")
            got = r.sock.recv(1000)
            said += got
            return not got
        except TimeoutError:
            return False
        except OSError:
            return True
    wait_for("the server to have enough", ended, deadline)
    return said


@pytest.mark.parametrize("port, head", [
    ("imap_port", b"x LOGIN "), ("smtp_port", b"EHLO "), ("lmtp_port", b"LHLO "),
    ("smtp_port", b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"),
    ("lmtp_port", b"LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"),
    ("smtp_port", b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.test>\r\nBDAT 100000\r\n"),
    ("imap_port", b"x LOGIN alice@example.test secret\r\nx APPEND INBOX {100000+}\r\n")],
    ids=["imap command", "smtp command", "lmtp command", "smtp data", "lmtp data", "bdat", "append"])
def test_byte_by_byte_is_not_a_way_to_hold_a_connection(make_thurn, port, head):
    t = make_thurn({"login_timeout": '"500 ms"', "imap_idle_timeout": '"500 ms"', "smtp_timeout": '"500 ms"',
                    "lmtp_timeout": '"500 ms"'})
    r = t.raw(getattr(t, port))
    r.line()
    said = drip(r, head)
    assert b"* BYE" in said or b"\r\n421 " in b"\r\n" + said
    r.close()


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.heavy
def test_a_thousand_sessions_of_one_user_are_too_many_and_a_thousand_silent_ones_are_harmless(
        thurn, many_files):
    with bounded(thurn, 64 * MB), Honest(thurn):
        silent = [thurn.raw(p) for p in (thurn.imap_port, thurn.smtp_port) for _ in range(500)]
        eager = [thurn.raw() for _ in range(1000)]
        for r in eager:
            r.send(b"x LOGIN alice@example.test secret\r\n")
        answers = [r.until(b"x ")[-1] for r in eager]
        assert sum(a.startswith(b"x OK") for a in answers) == 100
        assert sum(a.startswith(b"x NO [LIMIT]") for a in answers) == 900
    for r in silent + eager:
        r.close()
    wait_for("room for alice", lambda: b"x OK" in session(thurn, select=False).command(b"NOOP")[-1])


def test_half_open_tls_handshakes_end_and_hinder_nobody(make_thurn):
    t = make_thurn({"login_timeout": '"1 s"', "smtp_timeout": '"1 s"'})
    hello = bytes.fromhex("16030100f8010000f40303")  # the begin of a ClientHello
    with bounded(t, 24 * MB), Honest(t):
        half = [t.raw(t.imaps_port) for _ in range(200)] + [t.raw(t.submissions_port) for _ in range(100)]
        for r in half:
            r.send(hello)
        check = t.imaps()
        assert check.select("INBOX")[0] == "OK"
        check.logout()
        for r in half:
            assert answer_or_end(r) == b""  # closed, without a word that it could not read
    for r in half:
        r.close()


# -- what a parser might choke on --

@pytest.mark.parametrize("text", [
    b"SEARCH " + b"SEEN " * 100000, b"SEARCH " + b"OR SEEN " * 50000 + b"SEEN",
    b"SEARCH " + b"NOT " * 100000 + b"SEEN", b"SEARCH " + b"(" * 50000 + b"SEEN" + b")" * 50000,
    b"SEARCH " + b"(" * 20000 + b"SEEN" + b")" * 20000, b"SEARCH " + b"NOT " * 10000 + b"SEEN",
    b"FETCH 1 " + b"(" * 50000, b"SEARCH " + b"1," * 100000 + b"1", b"SEARCH " + b"1," * 25000 + b"1",
    b"STORE 1 FLAGS (" + b"$k " * 100000 + b")", b"FETCH 1 BODY[" + b"1." * 30000 + b"1]",
    b"FETCH 1 BODY[HEADER.FIELDS (" + b"x " * 30000 + b")]", b'LIST "" "' + b"*%" * 30000 + b'"',
    b"CREATE " + b"a/" * 30000 + b"a", b"SEARCH CHARSET " + b"x" * 60000 + b" SEEN",
    b"STATUS INBOX (" + b"MESSAGES " * 10000 + b")"], ids=range(16))
def test_monstrous_imap_commands_are_answered(thurn, text):
    thurn.deliver(LETTER)
    r = session(thurn)
    with bounded(thurn, 24 * MB), Honest(thurn):
        whole = pour(r, b"x " + text + b"\r\nx NOOP\r\n", 1)
        answer = answer_or_end(r)
        while answer and not answer.startswith((b"x ", b"* BYE")):
            answer = answer_or_end(r)
        assert answer.startswith((b"x OK", b"x NO", b"x BAD", b"* BYE")) or not whole
    r.close()


def multipart(parts):
    return (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * parts + b"--b--\r\n")


BOMBS = {
    "100,000 parts": multipart(100000),
    "10,000 levels": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
                              for n in range(10000)) + b"\r\ndeep\r\n",
    "10,000 messages in one another": b"Content-Type: message/rfc822\r\n\r\n" * 10000 + b"end\r\n",
    "a header of 10 MB": b"X: " + b"y" * (10 * MB) + b"\r\n\r\nbody\r\n",
    "100,000 header fields": b"".join(b"X-%d: y\r\n" % n for n in range(100000)) + b"\r\nbody\r\n",
    "encoded words without end": b"Subject: " + b"=?utf-8?q?=C3=BC?= " * 100000 + b"\r\n\r\nbody\r\n",
    "an encoded word without end": b"Subject: =?utf-8?b?" + b"w7w=" * 500000 + b"\r\n\r\nbody\r\n",
    "addresses without end": b"To: " + b"a@example.org, " * 200000 + b"b@example.org\r\n\r\nbody\r\n",
    "comments in comments": b"To: " + b"(" * 200000 + b")" * 200000 + b" a@example.org\r\n\r\nbody\r\n",
    "parameters without end": b"Content-Type: text/plain" + b"".join(
        b"; x*%d=y" % n for n in range(100000)) + b"\r\n\r\nbody\r\n",
    "a boundary in each line": (b"Content-Type: multipart/mixed; boundary=" + b"-" * 70 + b"\r\n\r\n"
                                + (b"-" * 72 + b"x\r\n") * 100000),
    "NUL bytes": b"Subject: \0\0\r\nContent-Type: text/plain; charset=\"\0\"\r\n\r\n" + b"\0" * MB,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_message_that_is_a_bomb_is_delivered_and_can_be_read(make_thurn, name):
    t = make_thurn({"scan_timeout": '"5 s"', "scanner_memory": '"512 MB"'} if not sanitized else {})
    letter = BOMBS[name] if BOMBS[name].endswith(b"\r\n") else BOMBS[name] + b"\r\n"
    with bounded(t, 64 * MB), Honest(t):
        assert t.deliver(letter)[0][0] == 250
        assert t.deliver(LETTER)[0][0] == 250
        c = t.imap()
        c.select("INBOX")
        assert c.fetch("1:2", "(ENVELOPE BODYSTRUCTURE FLAGS)")[0] == "OK"
        assert c.search(None, "TEXT", "nothing")[0] == "OK"
        assert c.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(letter)
        assert b'"text" "plain"' in c.fetch("2", "(BODYSTRUCTURE)")[1][0].lower()
        c.logout()


@pytest.mark.parametrize("port, hello", MAIL_PORTS)
@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r",
                                 b"\r\r\n.\n", b"\r\n\0.\r\n", b"\r\0\n.\r\n", b"\r\n.\0\r\n",
                                 b"\n\n.\r\r\n", b"\r\n.\r\0\n", b"\0\r\n.\n", b"\r\n.\r\r\n"])
def test_no_other_end_of_a_message_lets_a_second_one_in(thurn, port, hello, end):
    r = greeted(thurn, port, hello)
    envelope(r)
    assert r.smtp(b"DATA")[0] == 354
    r.send(b"Subject: s\r\n\r\nbegin" + end + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.test>\r\n"
           b"DATA\r\nevil\r\n.\r\n")
    assert r.smtp_reply()[0] in (250, 550)
    assert r.smtp(b"NOOP")[0] == 250
    c = thurn.imap("bob")
    assert c.select("INBOX") == ("OK", [b"0"])
    c.logout()
    r.close()


# -- scanners in trouble --

def parsed(c, number):
    return b'"mixed"' in c.fetch(str(number), "(BODYSTRUCTURE)")[1][0].lower()


def test_scanners_that_stand_still_are_replaced_and_the_mail_goes_on(make_thurn):
    t = make_thurn({"scan_timeout": '"500 ms"'})
    hung = [r["pid"] for r in t.status() if r["role"] == "scanner"]
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    assert t.deliver(multipart(2))[0][0] == 250
    wait_for("other scanners", lambda: t.deliver(multipart(2))[0][0] == 250 and not any(
        r["pid"] in hung or not r["ready"] for r in t.status() if r["role"] == "scanner"))
    assert t.deliver(multipart(2))[0][0] == 250
    c = t.imap()
    count = int(c.select("INBOX")[1][0])
    assert not parsed(c, 1) and parsed(c, count)
    c.logout()
    wait_for("the old ones to go", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in hung))


def test_mail_that_kills_one_scanner_after_the_other_takes_nobody_elses_structure(thurn):
    """However many such messages come: the next good one finds a scanner at once."""
    poison = b"X-Thurn-Probe: crash\r\n" + multipart(2)
    for _ in range(12):
        assert thurn.deliver(poison)[0][0] == 250
    with thurn.lmtp() as one:
        one.ehlo_or_helo_if_needed()
        assert thurn.deliver(multipart(2))[0][0] == 250
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"13"])
    assert parsed(c, 13) and not any(parsed(c, n) for n in range(1, 13))
    c.logout()
    assert "no scanner had time" not in thurn.log_text()

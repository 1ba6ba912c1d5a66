"""What hostile clients do, for bench/hostile.py.

Each attack is a function of the server and of `did`, which it calls for each thing that it got done: so
that no row of the measurement is about an attacker that does nothing. It runs until its process is ended.
If the server sends it away it begins anew; the attacks on which it is meant to say so.
"""

import base64
import contextlib
import itertools
import random
import resource
import select
import threading
import time
import zlib

import thurn_server

ADDRESS = "127.0.0.66"  # not the one from which the others come
MB = 1 << 20
LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 200
BOMB = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100000 + b"--b--\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * (2 * MB // 18)
MANY_ACCOUNTS = [f"mallory{n}" for n in range(20)]

ATTACKS = []


def attack(settings=None):
    """Makes a row of a function. `settings`: of the server, while the attack goes on."""
    def note(function):
        function.settings = settings or {}
        ATTACKS.append(function)
        return function
    return note


# -- helpers --

def raw(port):
    return thurn_server.Raw(port, ADDRESS)


def greeted(thurn, port=None):
    r = raw(port or thurn.imap_port)
    r.line()
    return r


def mallory(thurn, mailbox=b"INBOX"):
    r = raw(thurn.imap_port)
    assert b"x OK" in r.login("mallory")[-1]
    if mailbox:
        r.command(b"SELECT " + mailbox)
    return r


def many_files():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))


def at_once(n, work):
    """Does it in so many threads; ends with the first."""
    ended = threading.Event()

    def run():
        with contextlib.suppress(OSError, AssertionError):
            work()
        ended.set()
    for _ in range(n):
        threading.Thread(target=run, daemon=True).start()
    ended.wait()


def deflated(text):
    """So that it can be sent again and again, in a stream of its own."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH)


def mail(r, to, letter):
    """A transaction of SMTP or LMTP, whose only recipient this is."""
    assert r.smtp(b"MAIL FROM:<a@b.test>")[0] == 250
    code = r.smtp(b"RCPT TO:<%s@example.test>" % to.encode())[0]
    assert code == 250 and r.smtp(b"DATA")[0] == 354
    assert r.smtp(letter + b".")[0] == 250


def mailer(thurn, port, hello=b"LHLO x"):
    r = greeted(thurn, port)
    assert r.smtp(hello)[0] == 250
    return r


# -- the attacks --

@attack()
def nothing(thurn, did):
    """The control: computes, and leaves Thurn alone."""
    while True:
        for _ in range(100000):
            pass
        did()


@attack()
def one_byte_now_and_then(thurn, did):
    many_files()
    held = [raw(p).sock for p in (thurn.imap_port, thurn.smtp_port, thurn.lmtp_port) for _ in range(300)]
    while True:
        for s in held:
            s.send(b"x")
            did()
        time.sleep(0.5)


@attack()
def never_reads(thurn, did):
    greedy = [mallory(thurn, b"Large") for _ in range(20)]
    for r in greedy:
        r.send(b"f FETCH 1:* BODY.PEEK[]\r\n" * 100)
        did()
    time.sleep(3600)


@attack()
def connects_and_goes(thurn, did):
    while True:
        for port in (thurn.imap_port, thurn.smtp_port):
            raw(port).close()
            did()


@attack()
def half_handshakes(thurn, did):
    many_files()
    while True:
        held = []
        for _ in range(300):
            r = raw(thurn.imaps_port)
            r.send(bytes.fromhex("16030100f8010000f40303"))
            held.append(r)
            did()
        time.sleep(0.5)
        for r in held:
            r.close()


def sessions(thurn):
    r = raw(thurn.imap_port)
    return r, r.login("mallory")[-1].startswith(b"x OK")


@attack()
def a_thousand_sessions(thurn, did):
    """All of one user, more than max_connections_per_account: the others are refused, and try again."""
    many_files()
    held = []
    while True:
        r, welcome = sessions(thurn)
        did()
        if welcome:
            held.append(r)
        else:
            r.close()


@attack({"max_connections_per_account": "0", "max_connections_per_address": "0"})
def a_thousand_sessions_allowed(thurn, did):
    """Where no limit forbids it: all idle in one mailbox, and are told of each change in it."""
    sessions_are_told(thurn, did, 1000)


@attack()
def a_hundred_sessions(thurn, did):
    """The same, as many as are allowed."""
    sessions_are_told(thurn, did, 98)


def sessions_are_told(thurn, did, n):
    many_files()
    held = [mallory(thurn) for _ in range(n)]
    for r in held:
        r.send(b"i IDLE\r\n")
        r.until(b"+")
    busy = mallory(thurn)
    busy.append(LETTER)
    did(n)
    for sign in itertools.cycle(b"+-"):
        busy.command(b"STORE 1 %cFLAGS.SILENT (\\Flagged)" % sign)
        for r in held:
            r.sock.recv(65536)
            did()


@attack()
def pipelines_commands(thurn, did):
    r = mallory(thurn)
    while True:
        r.send(b"x NOOP\r\n" * 1000)
        for _ in range(1000):
            r.until(b"x ")
            did()


def compressed(thurn):
    r = mallory(thurn)
    assert b"x OK" in r.command(b"COMPRESS DEFLATE")[-1]
    return r


@attack()
def inflates_to_a_line(thurn, did):
    """A thousand bytes for each that is sent, of a line that never ends; it is sent away for that."""
    s, piece, left = compressed(thurn).sock, deflated(b"x" * MB), b""
    s.setblocking(False)
    while True:
        heard, free, _ = select.select([s], [s], [])
        assert not heard or s.recv(MB)
        if free:
            left = left or piece
            left = left[s.send(left):]
            did()


@attack()
def inflates_to_commands(thurn, did):
    r, piece, inflate = compressed(thurn), deflated(b"x NOOP\r\n" * 20000), zlib.decompressobj(-15)

    def send():
        while True:
            r.send(piece)
    threading.Thread(target=send, daemon=True).start()
    while True:
        got = r.sock.recv(MB)
        assert got
        did(inflate.decompress(got).count(b"\n"))


NAMES = [b'"' + b"a" * 4000 + b'"', b"/etc/passwd", b"../../../etc/passwd", b'"a\x01\x7fb"', b"{3+}\r\na\0b",
         b"&AA&AA-", b"&&&&", b"a&AGE-b", b"&2AA-", b'"a\rb"']


@attack()
def impossible_mailbox_names(thurn, did):
    """After 20 commands that are wrong it is sent away."""
    r = mallory(thurn, None)
    for name in itertools.cycle(NAMES):
        for command in (b"CREATE ", b"SELECT ", b"LIST \"\" ", b"SUBSCRIBE "):
            r.command(command + name)
            did()


@attack()
def lists_with_wildcards(thurn, did):
    """Long ones on long names, of which one says at the last byte that it does not match."""
    r = mallory(thurn)
    while True:
        did()
        r.command(b'LIST "" (' + b" ".join([b'"' + b"*a" * 490 + b'b"'] * 16) + b")")


@attack()
def fetches_a_gigabyte(thurn, did):
    r = mallory(thurn, b"Large")
    r.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    while True:
        got = r.sock.recv(MB)
        did(len(got) / MB)
        assert got
        if b"f OK" in got[-100:]:
            r.send(b"f FETCH 1:* BODY.PEEK[]\r\n")


@attack()
def searches_bodies(thurn, did):
    r = mallory(thurn, b"Many")
    while True:
        r.command(b'SEARCH BODY "not there" TEXT "neither"')
        did()


@attack()
def searches_with_the_most_keys(thurn, did):
    """As many as are allowed, of the dear kind."""
    r = mallory(thurn, b"Many")
    while True:
        did()
        assert b"x OK" in r.command(b"SEARCH " + b"OR SUBJECT a SUBJECT c " * 650 + b"SUBJECT b")[-1]


@attack()
def searches_with_too_many_keys(thurn, did):
    """100,000: the line is too long, and it is sent away."""
    r = mallory(thurn, b"Many")
    while True:
        r.send(b"x SEARCH " + b"SUBJECT a " * 100000 + b"SEEN\r\n")
        r.until(b"x ")
        did()


@attack()
def sends_bombs(thurn, did):
    r = mailer(thurn, thurn.lmtp_port)
    while True:
        mail(r, "mallory", BOMB)
        did()


@attack()
def sends_ten_bombs_at_once(thurn, did):
    at_once(10, lambda: sends_bombs(thurn, did))


def bombs_to_many(thurn, did, port, login=None):
    def work():
        r = mailer(thurn, port, b"EHLO x")
        assert not login or r.smtp(b"AUTH PLAIN " + base64.b64encode(login))[0] == 235
        while True:
            mail(r, random.choice(MANY_ACCOUNTS), BOMB)
            did()
    at_once(10, work)


@attack()
def sends_bombs_to_many(thurn, did):
    """To twenty accounts in turn. From one address, but one of this machine's own, which is no budget."""
    bombs_to_many(thurn, did, thurn.smtp_port)


@attack()
def sends_bombs_as_a_user(thurn, did):
    """The same by submission: the user who sends them pays for all of them."""
    bombs_to_many(thurn, did, thurn.submission_port, b"\0mallory@example.test\0secret")


@attack()
def appends_large_messages(thurn, did):
    """Of 2 MB: each is a file of its own."""
    r = mallory(thurn, None)
    while True:
        assert b"x OK" in r.append(LARGE, mailbox=b"Waste")
        did()


@attack()
def guesses_passwords(thurn, did):
    while True:
        r = greeted(thurn)
        r.command(b"LOGIN alice@example.test wrong")
        r.close()
        did()


# -- what they find --

def fill(thurn, many, large):
    """The accounts of the attackers: messages that are searched, and of 1 MB that are fetched."""
    for name in ["mallory", *MANY_ACCOUNTS]:
        thurn.add_account(name)
    r = mallory(thurn, None)
    for box, letter, n in ((b"Many", LETTER, many), (b"Large", LETTER[:60] + b"y" * MB, large), (b"Waste", b"", 0)):
        r.command(b"CREATE " + box)
        pipelined(r, b"APPEND %s {%d+}\r\n" % (box, len(letter)) + letter, n)
    pipelined(r, b"CREATE " + b"a" * 900 + b"%d", 200, numbered=True)
    r.close()


def pipelined(r, command, n, numbered=False):
    for first in range(0, n, 50):
        k = min(50, n - first)
        for i in range(first, first + k):
            r.send(b"x " + (command % i if numbered else command) + b"\r\n")
        for _ in range(k):
            assert b"OK" in r.until(b"x ")[-1]

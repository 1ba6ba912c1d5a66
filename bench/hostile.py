#!/usr/bin/python3
"""How much slower a well-behaved client is served while others do their worst.

The well-behaved one sends a letter by LMTP and works on a mailbox by IMAP (NOOP, STORE, FETCH of the
letter), a round each 20 ms; what counts is the time of a round. Each attack is measured against the
rounds without it just before and after it, as the machine may be busy with other things. The attackers
run at the lowest priority, so that it is Thurn's work that is seen and not theirs.

    bench/hostile.py [--binary build/release/src/cli/thurn] [--seconds 10] [ATTACK...]
"""

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import socket
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/scenario"))
import thurn_server  # noqa: E402

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 200
PAUSE = 0.02


# -- the well-behaved client --

class Honest:
    def __init__(self, thurn):
        self.mail = thurn.raw(thurn.lmtp_port)
        self.mail.line()
        self.mail.send(b"LHLO x\r\n")
        self.mail.until(b"250 ")
        self.imap = thurn.raw()
        self.imap.login("bob")
        self.imap.command(b"SELECT INBOX")

    def round(self):
        begin = time.perf_counter()
        self.mail.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
        self.mail.until(b"354")
        self.mail.send(LETTER + b".\r\n")
        assert self.mail.line().startswith(b"250")
        self.imap.command(b"NOOP")
        self.imap.command(b"STORE * FLAGS.SILENT (\\Seen)")
        self.imap.command(b"FETCH * BODY.PEEK[]")
        return time.perf_counter() - begin

    def rounds(self, seconds):
        """Times of the rounds, in milliseconds."""
        end, times = time.monotonic() + seconds, []
        while time.monotonic() < end:
            times.append(self.round() * 1000)
            time.sleep(PAUSE)
        return times


# -- the attacks; each runs until its process is ended --

def raw(port):
    return socket.create_connection(("127.0.0.1", port))


def mallory(thurn, mailbox=b"INBOX"):
    r = thurn.raw()
    r.login("mallory")
    r.command(b"SELECT " + mailbox)
    return r


def one_byte_now_and_then(thurn):
    held = [raw(p) for p in (thurn.imap_port, thurn.smtp_port, thurn.lmtp_port) for _ in range(300)]
    while True:
        for s in held:
            with contextlib.suppress(OSError):
                s.send(b"x")
        time.sleep(0.5)


def never_reads(thurn):
    greedy = [mallory(thurn, b"Large") for _ in range(20)]
    for r in greedy:
        r.send(b"f FETCH 1:* BODY.PEEK[]\r\n" * 100)
    time.sleep(3600)


def connects_and_goes(thurn):
    while True:
        for port in (thurn.imap_port, thurn.smtp_port):
            with contextlib.suppress(OSError):
                raw(port).close()


def half_handshakes(thurn):
    while True:
        held = []
        for _ in range(300):
            with contextlib.suppress(OSError):
                s = raw(thurn.imaps_port)
                s.send(bytes.fromhex("16030100f8010000f40303"))
                held.append(s)
        time.sleep(0.5)
        for s in held:
            s.close()


def pipelines_commands(thurn):
    r = mallory(thurn)
    while True:
        r.send(b"x NOOP\r\n" * 1000)
        for _ in range(1000):
            r.until(b"x ")


def fetches_a_gigabyte(thurn):
    r = mallory(thurn, b"Large")
    r.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    while True:
        if b"f OK" in r.sock.recv(1 << 20)[-100:]:
            r.send(b"f FETCH 1:* BODY.PEEK[]\r\n")


def searches_bodies(thurn):
    r = mallory(thurn, b"Many")
    while True:
        r.command(b'SEARCH BODY "not there" TEXT "neither"')


def searches_with_many_keys(thurn):
    r = mallory(thurn, b"Many")
    while True:
        r.command(b"SEARCH " + b"SUBJECT a " * 3000 + b"SEEN")


def sends_bombs(thurn):
    bomb = (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100000 + b"--b--\r\n")
    while True:
        thurn.deliver(bomb, to=("mallory",))


def guesses_passwords(thurn):
    while True:
        r = thurn.raw()
        r.line()
        r.command(b"LOGIN alice@example.test wrong")
        r.close()


ATTACKS = [one_byte_now_and_then, never_reads, connects_and_goes, half_handshakes, pipelines_commands,
           fetches_a_gigabyte, searches_bodies, searches_with_many_keys, sends_bombs, guesses_passwords]


# -- the measurement --

def fill(thurn, many, large):
    r = thurn.raw()
    r.login("mallory")
    for box in (b"Many", b"Large"):
        r.command(b"CREATE " + box)
    for box, letter, n in ((b"Many", LETTER, many), (b"Large", LETTER[:60] + b"y" * (1 << 20), large)):
        for first in range(0, n, 50):
            k = min(50, n - first)
            for _ in range(k):
                r.send(b"x APPEND %s {%d+}\r\n" % (box, len(letter)) + letter + b"\r\n")
            for _ in range(k):
                assert b"OK" in r.until(b"x ")[-1]
    r.close()


def attack_begin(attack, thurn):
    def work():
        os.nice(19)
        with contextlib.suppress(OSError, AssertionError):
            attack(thurn)
    p = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    p.start()
    return p


def percentile(times, p):
    return sorted(times)[min(len(times) - 1, int(len(times) * p))]


def measure(thurn, honest, attack, seconds):
    before = honest.rounds(seconds / 2)
    p = attack_begin(attack, thurn)
    time.sleep(1)
    during = honest.rounds(seconds)
    alive = p.is_alive()
    memory = thurn.memory()
    p.terminate()
    p.join()
    time.sleep(1)
    calm = before + honest.rounds(seconds / 2)
    ratio = statistics.median(during) / statistics.median(calm)
    print(f"{attack.__name__.replace('_', ' '):26} {statistics.median(calm):6.2f} {percentile(calm, .99):7.2f}"
          f" {statistics.median(during):8.2f} {percentile(during, .99):7.2f} {ratio:7.2f}"
          f" {memory >> 20:6} MB{'' if alive else '  (the attacker was sent away)'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/src/cli/thurn")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--many", type=int, default=100000, help="messages that are searched")
    parser.add_argument("--large", type=int, default=1000, help="messages of 1 MB that are fetched")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK")
    asked = parser.parse_args()
    chosen = [a for a in ATTACKS if not asked.attacks or any(w in a.__name__ for w in asked.attacks)]
    thurn = thurn_server.Thurn({"log_level": "warn"}, binary=asked.binary.resolve()).start()
    try:
        thurn.add_account("mallory")
        fill(thurn, asked.many, asked.large)
        honest = Honest(thurn)
        honest.rounds(2)
        print("milliseconds for a round:   alone p50    p99   attacked p50   p99   ratio  memory")
        for attack in chosen:
            measure(thurn, honest, attack, asked.seconds)
    finally:
        thurn.stop()
        thurn.remove()


if __name__ == "__main__":
    main()

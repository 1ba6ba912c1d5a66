#!/usr/bin/python3
"""How much slower a well-behaved client is served while others do their worst.

The well-behaved one sends a letter by LMTP and works on a mailbox by IMAP (NOOP, STORE, FETCH of the
letter), a round each 20 ms; what counts is the time of a round. Each attack begins and ends several
times: every stretch with it is compared with the two without it beside it, as the machine may be busy
with other things, and the median of these ratios counts. The attackers run only while a processor has
nothing else to do (SCHED_IDLE), so that it is Thurn's work that is seen and not theirs; what they got
done is printed as the processor time that Thurn spent. "nothing" is the control: an attacker that
computes and leaves Thurn alone. On a machine with other work the attackers would never run: put all of
it into a control group that comes before that work (cpu.shares, cpu.weight).

    bench/hostile.py [--binary build/release/src/cli/thurn] [--pairs 6] [--seconds 1.5] [ATTACK...]

With --turns it is counted, beside that, what stands between a request and its answer: how long the
turns of the loops' threads in frontend and backend are, in processor time (perf, root).
"""

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import socket
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/scenario"))
import thurn_server  # noqa: E402
import turns  # noqa: E402

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 200
PAUSE = 0.02
SETTLE = 0.4  # until an attack is under way, or what it left behind is done


# -- the well-behaved client --

class Honest:
    """Its rounds are pairs of milliseconds: the delivery's, and that of the commands."""

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
        delivered = time.perf_counter()
        self.imap.command(b"NOOP")
        self.imap.command(b"STORE * FLAGS.SILENT (\\Seen)")
        self.imap.command(b"FETCH * BODY.PEEK[]")
        return (delivered - begin) * 1000, (time.perf_counter() - delivered) * 1000

    def rounds(self, seconds):
        end, times = time.monotonic() + seconds, []
        while time.monotonic() < end:
            times.append(self.round())
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


def nothing(thurn):
    while True:
        pass


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


def sends_ten_bombs_at_once(thurn):
    for _ in range(9):
        threading.Thread(target=sends_bombs, args=(thurn,), daemon=True).start()
    sends_bombs(thurn)


def guesses_passwords(thurn):
    while True:
        r = thurn.raw()
        r.line()
        r.command(b"LOGIN alice@example.test wrong")
        r.close()


ATTACKS = [nothing, one_byte_now_and_then, never_reads, connects_and_goes, half_handshakes, pipelines_commands,
           fetches_a_gigabyte, searches_bodies, searches_with_many_keys, sends_bombs, sends_ten_bombs_at_once,
           guesses_passwords]


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


@contextlib.contextmanager
def attacked_by(attack, thurn):
    def work():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with contextlib.suppress(OSError, AssertionError):
            attack(thurn)
    p = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    p.start()
    time.sleep(SETTLE)
    try:
        yield p
    finally:
        p.kill()
        p.join()
        time.sleep(SETTLE)


def server_cpu(thurn):
    """Seconds of processor time of all roles."""
    ticks = 0
    for pid in (r["pid"] for r in thurn.status() if r["pid"]):
        with contextlib.suppress(FileNotFoundError):
            ticks += sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Stretches:
    """Alone, attacked, alone, attacked, ..., alone."""

    def __init__(self, thurn, honest, attack, asked):
        self.alone, self.attacked, self.alive, self.memory, self.busy = [honest.rounds(asked.seconds)], [], True, 0, 0.0
        for _ in range(asked.pairs):
            with attacked_by(attack, thurn) as attacker:
                cpu, begin = server_cpu(thurn), time.monotonic()
                self.attacked.append(honest.rounds(asked.seconds))
                self.busy += (server_cpu(thurn) - cpu) / (time.monotonic() - begin) / asked.pairs
                self.alive = self.alive and attacker.is_alive()
                self.memory = max(self.memory, thurn.memory())
            self.alone.append(honest.rounds(asked.seconds))

    def ratios(self, time_of):
        """Of each attacked stretch to the two beside it."""
        alone = [statistics.median(map(time_of, s)) for s in self.alone]
        return [statistics.median(map(time_of, s)) * 2 / (alone[i] + alone[i + 1])
                for i, s in enumerate(self.attacked)]

    def percentile(self, stretches, p):
        times = sorted(sum(t) for s in stretches for t in s)
        return times[min(len(times) - 1, int(len(times) * p))]


def quartile_range(ratios):
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return f"{low:5.2f} -{high:5.2f}"


def measure(thurn, honest, attack, asked):
    s = Stretches(thurn, honest, attack, asked)
    all_of, mail, imap = (s.ratios(f) for f in (sum, lambda t: t[0], lambda t: t[1]))
    print(f"{attack.__name__.replace('_', ' '):26}"
          f" {s.percentile(s.alone, .5):6.2f} {s.percentile(s.alone, .99):7.2f}"
          f" {s.percentile(s.attacked, .5):8.2f} {s.percentile(s.attacked, .99):7.2f}"
          f" {statistics.median(all_of):7.2f} ({quartile_range(all_of)})"
          f" {statistics.median(mail):6.2f} {statistics.median(imap):6.2f} {s.busy:7.2f} {s.memory >> 20:6} MB"
          f"{'' if s.alive else '  (the attacker was sent away)'}", flush=True)


def measure_turns(thurn, honest, attack, asked):
    with attacked_by(attack, thurn):
        rounds = threading.Thread(target=honest.rounds, args=(asked.seconds + 1,))
        rounds.start()
        of = {thurn.pid_of(role): role for role in ("frontend", "backend")}
        lengths = turns.measure(list(of), asked.seconds)
        rounds.join()
    for pid, role in of.items():
        print(f"    {role:10} {turns.describe(lengths.get(pid, []))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/src/cli/thurn")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each stretch")
    parser.add_argument("--pairs", type=int, default=6, help="stretches with the attack")
    parser.add_argument("--many", type=int, default=100000, help="messages that are searched")
    parser.add_argument("--large", type=int, default=1000, help="messages of 1 MB that are fetched")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK")
    parser.add_argument("--turns", action="store_true", help="count the turns of the loops too")
    asked = parser.parse_args()
    chosen = [a for a in ATTACKS if not asked.attacks or any(w in a.__name__ for w in asked.attacks)]
    thurn = thurn_server.Thurn({"log_level": "warn"}, binary=asked.binary.resolve()).start()
    try:
        thurn.add_account("mallory")
        fill(thurn, asked.many, asked.large)
        honest = Honest(thurn)
        honest.rounds(2)
        print("milliseconds for a round: alone p50 p99, attacked p50 p99; attacked / alone: median (quartiles),"
              " of deliveries, of commands; processors that Thurn used; memory")
        for attack in chosen:
            measure(thurn, honest, attack, asked)
            if asked.turns:
                measure_turns(thurn, honest, attack, asked)
    finally:
        thurn.stop()
        thurn.remove()


if __name__ == "__main__":
    main()

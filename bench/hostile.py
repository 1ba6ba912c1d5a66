#!/usr/bin/python3
"""How much slower a well-behaved client is served while others do their worst (bench/attacks.py).

The well-behaved one sends a letter by LMTP and works on a mailbox by IMAP (NOOP, STORE, FETCH of the
letter), a round each 10 ms; what counts is the time of a round. Each attack begins and ends several
times: every stretch with it is compared with the two without it beside it, as the machine may be busy
with other things, and the median of these ratios counts. "nothing" is the control: an attacker that
computes and leaves Thurn alone. Printed are the milliseconds of a round (median and 99 %), alone and
attacked, then the ratios: of rounds, of deliveries, of commands.

The attackers run only while a processor has nothing else to do (SCHED_IDLE), so that it is Thurn's work
that is seen and not theirs. What they got done each second is printed, and how often they were sent away
and began anew; so is the processor time that Thurn spent. As root, processors are kept from going to
sleep, with an attack and without (/dev/cpu_dma_latency): to wake one takes a virtual machine longer than
many a step of a round, and under attack rounds would be the faster for it.
On a machine with other work the attackers would never run: put all of it into a control group that comes
before that work (cpu.shares, cpu.weight).

    bench/hostile.py [--binary build/release/src/cli/thurn] [--pairs 12] [--seconds 0.5] [ATTACK...]

With --memory the data are in memory (/dev/shm): what is left then is the work of processors, without
the disk and its noise. With --turns it is counted, beside that, what stands between a request and its
answer: how long the turns of the loops' threads in frontend and backend are, in processor time (perf,
root).
"""

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/scenario"))
import thurn_server  # noqa: E402
import attacks  # noqa: E402
import turns  # noqa: E402

PAUSE = 0.01
BEGIN = 60.0  # seconds within which an attack is under way
SETTLE = 0.2  # until it has its effect, or what it left behind is done
fork = multiprocessing.get_context("fork")


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
        self.mail.send(attacks.LETTER + b".\r\n")
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


# -- the attackers --

def idle_process(work):
    """One that runs while a processor has nothing else to do."""
    def run():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        work()
    p = fork.Process(target=run, daemon=True)
    p.start()
    return p


@contextlib.contextmanager
def processors_awake():
    """As long as the file is open; only root may."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(open("/dev/cpu_dma_latency", "wb", buffering=0)).write(bytes(4))
        yield


class Attacker:
    """A process that attacks as long as the block lasts."""

    def __init__(self, attack, thurn):
        self.attack, self.thurn = attack, thurn
        self.done, self.ended = fork.RawValue("d", 0), fork.RawValue("q", 0)

    def work(self):
        while True:
            with contextlib.suppress(OSError, AssertionError):
                self.attack(self.thurn, self.did)
            self.ended.value += 1

    def did(self, n=1):
        self.done.value += n

    def __enter__(self):
        self.process = idle_process(self.work)
        thurn_server.wait_for(f"{self.attack.__name__} to begin", lambda: self.done.value, BEGIN)
        time.sleep(SETTLE)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()
        time.sleep(SETTLE)


# -- the measurement --

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
        self.thurn, self.honest, self.attack, self.asked = thurn, honest, attack, asked
        self.alone, self.attacked = [honest.rounds(asked.seconds)], []
        self.memory, self.seconds, self.busy, self.done, self.ended = 0, 0.0, 0.0, 0.0, 0
        for _ in range(asked.pairs):
            self.one()
            self.alone.append(honest.rounds(asked.seconds))

    def one(self):
        with Attacker(self.attack, self.thurn) as attacker:
            def spent():
                return time.monotonic(), server_cpu(self.thurn), attacker.done.value, attacker.ended.value
            before = spent()
            self.attacked.append(self.honest.rounds(self.asked.seconds))
            seconds, busy, done, ended = (now - then for now, then in zip(spent(), before))
            self.memory = max(self.memory, self.thurn.memory())
        self.seconds += seconds
        self.busy += busy
        self.done += done
        self.ended += ended

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
    return f"{low:.2f} - {high:.2f}"


COLUMNS = (("{:30}", "attack"), ("{:>6}", "alone"), ("{:>6}", "p99"), ("{:>9}", "attacked"), ("{:>6}", "p99"),
           ("{:>6}", "ratio"), ("{:>13}", "quartiles"), ("{:>6}", "mail"), ("{:>9}", "commands"),
           ("{:>6}", "CPUs"), ("{:>6}", "MB"), ("{:>9}", "did/s"), ("{:>11}", "sent away/s"))


def print_row(values):
    print(" ".join(form.format(v) for (form, _), v in zip(COLUMNS, values)), flush=True)


def measure(thurn, honest, attack, asked):
    s = Stretches(thurn, honest, attack, asked)
    all_of, mail, imap = (s.ratios(f) for f in (sum, lambda t: t[0], lambda t: t[1]))
    times = [s.percentile(of, p) for of in (s.alone, s.attacked) for p in (.5, .99)]
    ratios = [statistics.median(all_of), quartile_range(all_of), statistics.median(mail), statistics.median(imap)]
    rates = [s.busy / s.seconds, s.memory >> 20, s.done / s.seconds, s.ended / s.seconds]
    print_row([attack.__name__.replace("_", " "),
               *(f"{v:.2f}" if isinstance(v, float) else v for v in times + ratios + rates)])


def measure_turns(thurn, honest, attack, asked):
    with Attacker(attack, thurn):
        rounds = threading.Thread(target=honest.rounds, args=(2,))
        rounds.start()
        of = {thurn.pid_of(role): role for role in ("frontend", "backend")}
        lengths = turns.measure(list(of), 1)
        rounds.join()
    for pid, role in of.items():
        print(f"    {role:10} {turns.describe(lengths.get(pid, []))}", flush=True)


@contextlib.contextmanager
def configured(thurn, settings):
    before = dict(thurn.settings)
    thurn.settings.update(settings)
    thurn.configure()
    thurn.cli("reload")
    try:
        yield
    finally:
        thurn.settings = before
        thurn.configure()
        thurn.cli("reload")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/src/cli/thurn")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each stretch")
    parser.add_argument("--pairs", type=int, default=12, help="stretches with the attack")
    parser.add_argument("--many", type=int, default=100000, help="messages that are searched")
    parser.add_argument("--large", type=int, default=1000, help="messages of 1 MB that are fetched")
    parser.add_argument("--memory", action="store_true", help="keep the data in /dev/shm")
    parser.add_argument("--turns", action="store_true", help="count the turns of the loops too")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help="a word of its name")
    return parser.parse_args()


def main():
    asked = options()
    chosen = [a for a in attacks.ATTACKS if not asked.attacks or any(w in a.__name__ for w in asked.attacks)]
    if asked.memory:
        tempfile.tempdir = "/dev/shm"
    thurn = thurn_server.Thurn({"log_level": "warn"}, binary=asked.binary.resolve()).start()
    try:
        attacks.fill(thurn, asked.many, asked.large)
        honest = Honest(thurn)
        honest.rounds(2)
        print_row(title for _, title in COLUMNS)
        for attack in chosen:
            with processors_awake(), configured(thurn, attack.settings):
                measure(thurn, honest, attack, asked)
                if asked.turns:
                    measure_turns(thurn, honest, attack, asked)
    finally:
        thurn.stop()
        thurn.remove()


if __name__ == "__main__":
    main()

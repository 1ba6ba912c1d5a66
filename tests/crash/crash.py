#!/usr/bin/python3
"""kill -9 of a random role, or of everything, at a random moment of LMTP, SMTP and IMAP load; a role that
hangs; a disk that fails.

Afterwards every acknowledged message must be there exactly once, intact, under its UID, with the
flags and in the mailbox that were acknowledged; a change that was not acknowledged may have been
made or not, but never in parts. Clients in IDLE that were not cut off know all of it. A fault of the
backend or a scanner cuts nobody off, and is nobody's temporary failure; one of the disk may be that. A round counts
only if a request was in flight at the kill. The same SEED repeats the same choices.
"""

import argparse
import collections
import errno
import os
import pathlib
import random
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenario"))
from fault_disk import LIBRARY, FaultDisk  # noqa: E402
from clients import Changes, Deliveries, Watcher  # noqa: E402
from model import Account, Verifier, connect  # noqa: E402
from thurn_server import Thurn, wait_for  # noqa: E402

# What was deleted is kept for some rounds only, and its space given back (a debug build permits that):
# the store stays as large as its check has time for, and the faults meet this work too.
SETTINGS = {"log_level": "info", "segment_size": '"4 MB"', "frontends": "2", "request_timeout": '"20 s"',
            "history": '"30 s"', "rewrite_rate": '"256 MB"', "hang_timeout": '"3 s"',
            "scan_timeout": '"5 s"'}
CHECK_EVERY = 25  # rounds, after which the store is checked
CHECK_DEADLINE = 300  # seconds
MESSAGES_MOST = 600  # above that the mailboxes are emptied
FAILURES_MOST = 5


class House:
    """A server with its accounts and clients."""

    def __init__(self, seed):
        self.thurn = Thurn(SETTINGS)
        self.disk = FaultDisk(self.thurn) if LIBRARY.exists() else None
        self.thurn.start(accounts=False)
        self.thurn.cli("domain", "add", "example.test")
        t, accounts = self.thurn, [Account(f"user{n}") for n in range(6)]
        self.accounts = accounts
        for account in accounts:
            t.add_account(account.name)
        self.loads = [Deliveries(t, seed, "lmtp0", "lmtp", accounts),
                      Deliveries(t, seed, "lmtp1", "lmtp", accounts[3:]),
                      Deliveries(t, seed, "smtp0", "smtp", accounts),
                      Deliveries(t, seed, "smtp1", "smtp", accounts[:3]),
                      Deliveries(t, seed, "submission0", "submission", accounts)]
        self.loads += [Changes(t, seed, f"imap{n}", accounts[n]) for n in range(3)]
        self.watchers = [Watcher(t, seed, f"idle{n}", a, tls=n % 2) for n, a in enumerate(accounts)]
        self.prepare()

    def prepare(self):
        for account in self.accounts:
            c = connect(self.thurn, account)
            for key in account.boxes:
                c.create(key)
            c.logout()
        assert self.verify() == []

    def verify(self):
        wrong = []
        for account in self.accounts:
            verifier = Verifier(self.thurn, account)
            wrong += verifier.wrong
            verifier.settle()
        return wrong

    def empty(self):
        for account in self.accounts:
            c = connect(self.thurn, account)
            for box in account.boxes.values():
                if c.select(box.names[0])[1] != [b"0"]:
                    c.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
                    c.expunge()
                box.live = {}
            c.logout()
        return self.verify()

    def check_store(self):
        self.thurn.stop()
        done = self.thurn.cli("store", "check", check=False, deadline=CHECK_DEADLINE)
        wrong = [] if done.returncode == 0 else ["store check: " + (done.stdout + done.stderr)[-2000:]]
        self.thurn.start(accounts=False)
        return wrong

    def busy(self):
        return any(load.in_flight for load in self.loads)

    def processes(self, role):
        """Process ids; "all" and "supervisor" include the supervisor, whose end is everyone's."""
        pids = [r["pid"] for r in self.thurn.status() if r["pid"] and role in (r["role"], "all")]
        return [self.thurn.process.pid, *pids] if role in ("all", "supervisor") else pids


# -- the faults --

def signal_all(pids, signo):
    for pid in pids:
        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            pass  # a scanner that has just been replaced


def kill(house, role, rng):
    pids = house.processes(role)
    everything = house.processes("all")
    victims = pids if role in ("all", "supervisor") else [rng.choice(pids)]
    busy = house.busy()
    signal_all(victims, signal.SIGKILL)
    if role in ("all", "supervisor"):
        house.thurn.process.wait()
        wait_for("the roles to end", lambda: not any(os.path.exists(f"/proc/{p}") for p in everything))
        house.thurn.begin()
        house.thurn.wait_ready()
    return busy


def restart(house, role, rng):
    """As the operator does it."""
    busy = house.busy()
    house.thurn.cli("restart", role)
    return busy


def hang(house, role, rng):
    """A process that stands still for a while."""
    victim = [rng.choice(house.processes(role))]
    busy = house.busy()
    signal_all(victim, signal.SIGSTOP)
    time.sleep(rng.random())
    signal_all(victim, signal.SIGCONT)
    return busy


def hang_for_good(house, role, rng):
    """Until the supervisor notices."""
    before = [r for r in house.thurn.status() if r["role"] == role and r["pid"]]
    victim = rng.choice(before)
    busy = house.busy()
    signal_all([victim["pid"]], signal.SIGSTOP)
    house.thurn.wait_new(role, victim["generation"], victim["index"])
    return busy


def fail_once(house, call, rng):
    """Or a few times, in a row."""
    busy = house.busy()
    fault = house.disk.fail(call, "/store/log/", rng.choice([errno.EIO, errno.ENOSPC]), rng.choice([1, 1, 2, 3]))
    wait_for("the failure", fault.hits)
    fault.heal()
    return busy


def fail_any(house, _, rng):
    """Something or other, of the log or the index, if it is called at all: it is rare that a file is cut."""
    busy = house.busy()
    for _ in range(3):
        house.disk.fail(rng.choice(["sync", "write", "cut", "create"]), rng.choice(["/store/log", "/store/index"]),
                        rng.choice([errno.EIO, errno.ENOSPC]), rng.choice([1, 2]))
    time.sleep(rng.random())
    house.disk.heal()
    return busy


def fill(house, _, rng):
    """For a while nothing can be added to the log."""
    busy = house.busy()
    faults = [house.disk.fail(call, "/store/log/", errno.ENOSPC) for call in ("write", "create")]
    wait_for("the failure", faults[0].hits)
    time.sleep(rng.random())
    house.disk.heal()
    return busy


def break_disk(house, _, rng):
    """For a while nothing becomes durable: the backend ends, as it cannot know what of the last group is,
    and cannot start."""
    busy = house.busy()
    fault = house.disk.fail("sync", "/store/")
    wait_for("the failure", fault.hits)
    time.sleep(rng.random())
    house.disk.heal()
    return busy


FAULTS = {"kill all": (kill, "all"), "kill supervisor": (kill, "supervisor"),
          "kill frontend": (kill, "frontend"), "kill backend": (kill, "backend"),
          "kill scanner": (kill, "scanner"), "restart backend": (restart, "backend"),
          "hang backend": (hang, "backend"), "hang scanner": (hang, "scanner"),
          "stop frontend": (hang_for_good, "frontend"), "stop backend": (hang_for_good, "backend"),
          "stop scanner": (hang_for_good, "scanner")}
DISK = {"fail sync": (fail_once, "sync"), "fail write": (fail_once, "write"), "fail any": (fail_any, "disk"),
        "fill disk": (fill, "disk"), "break disk": (break_disk, "disk")}
if LIBRARY.exists():
    FAULTS.update(DISK)


def faults(rng):
    """All of them again and again, each time in another order."""
    while True:
        yield from rng.sample(sorted(FAULTS), len(FAULTS))


def strike(house, name, rng):
    """The fault in the middle of a request; whether one was in flight."""
    time.sleep(rng.random() * 0.4)
    wait_for("a request in flight", house.busy)
    fault, role = FAULTS[name]
    busy = fault(house, role, rng)
    time.sleep(rng.random() * 0.2)
    wait_for("every role", lambda: all(r["ready"] for r in house.thurn.status()))
    return busy


def join(clients, threads):
    for client in clients:
        client.stop()
    for client in clients:
        threads[client].join()


def one_round(house, name, rng):
    """Whether a request was in flight, and what was wrong afterwards."""
    try:
        return attempt_round(house, name, rng)
    except Exception:  # whatever does not come to its end has failed, and its traces are kept
        return True, [traceback.format_exc()]


def attempt_round(house, name, rng):
    clients = house.loads + house.watchers
    threads = {client: threading.Thread(target=client.run, daemon=True) for client in clients}
    for client in clients:
        client.begin()
        threads[client].start()
    time.sleep(0.1 + rng.random() * 0.3)
    try:
        busy = strike(house, name, rng)
    finally:
        join(house.loads, threads)
        join(house.watchers, threads)  # afterwards: nothing changes when they compare
    wrong = house.verify() + [w for watcher in house.watchers for w in watcher.wrong]
    if FAULTS[name][1] in ("backend", "scanner") or name in DISK:
        wrong += [f"{c.name} was cut off" for c in clients if c.lost]
    if FAULTS[name][1] in ("backend", "scanner"):
        wrong += [f"{c.name} was put off" for c in clients if c.refused]
    return busy, wrong


class Tally:
    def __init__(self):
        self.passed = self.failed = self.idle = 0
        self.faults = collections.Counter()

    def rounds(self):
        return self.passed + self.failed

    def summary(self):
        for name, n in sorted(self.faults.items()):
            print(f"{name:16} {n} times")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)


def keep(house, wrong):
    """A failed round: everything stays as it is for whoever looks into it."""
    print("\n".join(wrong[:10]), flush=True)
    print(f"kept: {house.thurn.dir} (configuration, data, log)", flush=True)
    if house.thurn.process.poll() is None:
        house.thurn.kill_all()


def play(house, tally, wanted, names, rng):
    """Rounds on one server, until it has failed or all are done."""
    while tally.rounds() < wanted and tally.idle <= wanted:
        name = next(names)
        begin = time.monotonic()
        busy, wrong = one_round(house, name, rng)
        if busy and not wrong and (tally.rounds() + 1) % CHECK_EVERY in (0, wanted):
            wrong = house.check_store()
        tally.idle += not busy and not wrong
        tally.failed += bool(wrong)
        tally.passed += busy and not wrong
        tally.faults[name] += busy
        messages = sum(account.promised() for account in house.accounts)
        print(f"round {tally.rounds()}/{wanted} {name}: "
              f"{'FAILED' if wrong else f'{messages} messages in order'}, "
              f"{sum(c.lost for c in house.loads + house.watchers)} connections lost, "
              f"{sum(c.refused for c in house.loads)} put off, {time.monotonic() - begin:.1f} s"
              f"{'' if busy else ' (nothing in flight, not counted)'}", flush=True)
        if not wrong and messages > MESSAGES_MOST:
            wrong = house.empty()
        if wrong:
            keep(house, wrong)
            return False
    wrong = house.check_store()
    tally.failed += bool(wrong)
    if wrong:
        keep(house, wrong)
    else:
        house.thurn.stop()
        house.thurn.remove()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", choices=sorted(FAULTS), help="this fault in every round")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    rng, tally = random.Random(seed), Tally()
    names = iter(lambda: asked.only, None) if asked.only else faults(rng)
    while not play(House(seed + tally.failed), tally, asked.rounds, names, rng):
        if tally.failed >= FAILURES_MOST or tally.rounds() >= asked.rounds:
            break
    tally.summary()
    return 1 if tally.failed or tally.rounds() < asked.rounds else 0


if __name__ == "__main__":
    sys.exit(main())

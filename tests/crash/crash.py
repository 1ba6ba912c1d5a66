#!/usr/bin/python3
"""kill -9 of a random role, or of everything, at a random moment of mixed LMTP and IMAP load.

Afterwards every acknowledged message must be there exactly once, intact, with the flags that were
acknowledged; what was not acknowledged may be there or not, but never in parts. A round counts
only if a request was in flight at the kill. The same SEED repeats the same choices.
"""

import argparse
import hashlib
import os
import pathlib
import random
import re
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenario"))
from thurn_server import PASSWORD, Thurn, wait_for  # noqa: E402

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$crash"]


def make_message(rng, name):
    size = rng.choice([200, 4000, 4000, 60_000, 70_000, 300_000, 1_500_000])
    text = f"From: crash@example.org\r\nSubject: {name}\r\nMessage-ID: <{name}@crash>\r\n\r\n".encode()
    line = (name.encode() + b" ") * 6 + b"\r\n"
    return text + line * max(1, (size - len(text)) // len(line))


def digest(message):
    return hashlib.sha256(message).digest()


class Load:
    """What one client did and what it was promised."""

    def __init__(self, thurn, seed, account):
        self.thurn, self.account = thurn, account
        self.rng = random.Random(seed)
        self.serial = 0
        self.sent = {}    # name -> digest, acknowledged or not
        self.acked = {}   # name -> set of flags it may have; None: it may be gone as well
        self.uids = {}    # name -> UID
        self.stop = threading.Event()
        self.in_flight = False

    def name(self):
        self.serial += 1
        return f"{self.account}-{self.serial}"

    def run(self):
        while not self.stop.is_set():
            try:
                self.work()
            except (OSError, EOFError, AssertionError, ValueError):
                pass  # the connection died with the role; what it was promised stands
            finally:
                self.in_flight = False
            self.stop.wait(0.02)


class Deliveries(Load):
    def work(self):
        r = self.thurn.raw(self.thurn.lmtp_port)
        try:
            r.line()
            r.send(b"LHLO crash\r\n")
            r.until(b"250 ")
            while not self.stop.is_set():
                self.deliver(r)
        finally:
            r.close()

    def deliver(self, r):
        name = self.name()
        message = make_message(self.rng, name)
        self.sent[name] = digest(message)
        self.in_flight = True
        r.send(f"MAIL FROM:<a@example.org>\r\nRCPT TO:<{self.account}@example.test>\r\nDATA\r\n".encode())
        if not [r.line() for _ in range(3)][-1].startswith(b"354"):
            raise OSError("refused while a role is away")
        r.send(message + b".\r\n")
        answer = r.line()
        self.in_flight = False
        if answer.startswith(b"250"):
            self.acked[name] = [set()]


class Changes(Load):
    """An IMAP client that has its account to itself."""

    def work(self):
        r = self.thurn.raw()
        try:
            r.line()
            login = r.command(f"LOGIN {self.account}@example.test {PASSWORD}".encode())
            select = r.command(b"SELECT INBOX")
            if b" OK" not in login[-1] or b" OK" not in select[-1]:
                return
            while not self.stop.is_set():
                self.rng.choices([self.append, self.store, self.expunge], [5, 6, 2])[0](r)
        finally:
            r.close()

    def ask(self, r, text):
        self.in_flight = True
        answer = r.command(text)[-1]
        self.in_flight = False
        return answer

    def append(self, r):
        name = self.name()
        message = make_message(self.rng, name)
        flags = set(self.rng.sample(FLAGS, self.rng.randint(0, 3)))
        self.sent[name] = digest(message)
        self.in_flight = True
        r.send(f"x APPEND INBOX ({' '.join(flags)}) {{{len(message)}+}}\r\n".encode() + message + b"\r\n")
        answer = r.until(b"x ")[-1]
        self.in_flight = False
        got = re.match(rb"x OK \[APPENDUID \d+ (\d+)\]", answer)
        if got:
            self.acked[name] = [flags]
            self.uids[name] = int(got.group(1))

    def some(self):
        alive = [n for n in self.uids if self.acked[n] is not None and len(self.acked[n]) == 1]
        return self.rng.choice(alive) if alive else None

    def store(self, r):
        name = self.some()
        if not name:
            return
        flags = set(self.rng.sample(FLAGS, self.rng.randint(0, 4)))
        before = self.acked[name]
        self.acked[name] = before + [flags]
        answer = self.ask(r, f"UID STORE {self.uids[name]} FLAGS.SILENT ({' '.join(flags)})".encode())
        if b"x OK" in answer:
            self.acked[name] = [flags]

    def expunge(self, r):
        name = self.some()
        if not name:
            return
        before = self.acked[name]
        self.acked[name] = before + [before[0] | {"\\Deleted"}]
        if b"x OK" not in self.ask(r, f"UID STORE {self.uids[name]} +FLAGS.SILENT (\\Deleted)".encode()):
            return
        self.acked[name] = None
        if b"x OK" in self.ask(r, f"UID EXPUNGE {self.uids[name]}".encode()):
            del self.acked[name], self.uids[name]
            self.sent[name] = None  # may not come back


def inbox(thurn, account):
    """UID, flags and message of everything in the INBOX."""
    c = thurn.imap(account)
    c.select("INBOX")
    typ, data = c.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
    assert typ == "OK"
    found = []
    for item in data:
        if isinstance(item, tuple):
            uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split())
            found.append((uid, flags - {"\\Recent"}, item[1]))
    c.logout()
    return found


def original(message):
    """Without the header fields that the delivery put before it."""
    return message[message.index(b"From: crash@"):]


def verify(thurn, load):
    wrong, seen = [], set()
    for uid, flags, message in inbox(thurn, load.account):
        message = original(message)
        name = re.search(rb"Subject: (\S+)", message).group(1).decode()
        if name in seen:
            wrong.append(f"{name} is there twice")
        seen.add(name)
        if load.sent.get(name) is None:
            wrong.append(f"{name} came back after it was expunged, or was never sent")
        elif digest(message) != load.sent[name]:
            wrong.append(f"{name} is not intact ({len(message)} bytes)")
        allowed = load.acked.get(name, "unacknowledged")
        if allowed not in ("unacknowledged", None) and flags not in allowed:
            wrong.append(f"{name} has flags {flags}, not one of {allowed}")
        if name in load.uids and load.uids[name] != uid:
            wrong.append(f"{name} has UID {uid}, not {load.uids[name]}")
    for name, allowed in load.acked.items():
        if allowed is not None and name not in seen:
            wrong.append(f"{name} was acknowledged and is lost")
    return wrong


def settle(load, thurn):
    """What is there now is what the next round begins with."""
    found = {re.search(rb"Subject: (\S+)", original(m)).group(1).decode(): (u, f)
             for u, f, m in inbox(thurn, load.account)}
    load.acked = {n: [f] for n, (u, f) in found.items()}
    load.uids = {n: u for n, (u, f) in found.items()} if isinstance(load, Changes) else {}
    for name in load.sent:
        if name not in found:
            load.sent[name] = None


def empty(thurn, load):
    c = thurn.imap(load.account)
    if c.select("INBOX")[1] != [b"0"]:
        c.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        c.expunge()
    c.logout()
    settle(load, thurn)


TARGETS = ["all", "backend", "frontend", "scanner", "supervisor"]


def kill(thurn, target, rng, loads):
    """The kill itself; returns whether a request was in flight."""
    pids = {(r["role"], r["index"]): r["pid"] for r in thurn.status() if r["pid"]}
    wait_for("a request in flight", lambda: any(load.in_flight for load in loads))
    time.sleep(rng.random() * 0.3)
    wait_for("a request in flight", lambda: any(load.in_flight for load in loads))
    victims = [thurn.process.pid, *pids.values()] if target == "all" else \
        [thurn.process.pid] if target == "supervisor" else \
        [rng.choice([p for (role, _), p in pids.items() if role == target])]
    busy = any(load.in_flight for load in loads)
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # a scanner that has just been replaced
    if target in ("all", "supervisor"):
        thurn.process.wait()
        wait_for("the roles to end", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids.values()))
    return busy


def one_round(thurn, loads, target, rng, number):
    threads = [threading.Thread(target=load.run) for load in loads]
    for load in loads:
        load.stop.clear()
    for thread in threads:
        thread.start()
    time.sleep(0.2 + rng.random() * 0.5)
    try:
        busy = kill(thurn, target, rng, loads)
        time.sleep(rng.random() * 0.2)
    finally:
        for load in loads:
            load.stop.set()
    if target in ("all", "supervisor"):
        thurn.begin()
        thurn.wait_ready()
    else:
        wait_for("every role", lambda: all(r["ready"] for r in thurn.status()))
    for thread in threads:
        thread.join()
    wrong = [w for load in loads for w in verify(thurn, load)]
    for load in loads:
        settle(load, thurn)
    return busy, wrong


def check_store(thurn):
    thurn.stop()
    done = thurn.cli("store", "check", check=False)
    return [] if done.returncode == 0 else ["store check: " + (done.stdout + done.stderr)[-2000:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    thurn = Thurn({"log_level": "info", "segment_size": '"4 MB"'}).start(accounts=False)
    thurn.cli("domain", "add", "example.test")
    loads = [Deliveries(thurn, seed + n, f"lmtp{n}") for n in range(4)] + \
            [Changes(thurn, seed + 100 + n, f"imap{n}") for n in range(4)]
    for load in loads:
        thurn.add_account(load.account)
    passed = failed = idle = counted = 0
    while counted < asked.rounds and idle <= asked.rounds:
        target = TARGETS[(counted + idle) % len(TARGETS)]
        busy, wrong = one_round(thurn, loads, target, rng, counted)
        idle += not busy
        counted += busy
        passed, failed = passed + (busy and not wrong), failed + bool(wrong)
        acked = sum(len(load.acked) for load in loads)
        print(f"round {counted}/{asked.rounds} killed {target}: "
              f"{'; '.join(wrong[:5]) if wrong else f'{acked} messages in order'}"
              f"{'' if busy else ' (nothing in flight, not counted)'}", flush=True)
        if wrong:
            print(f"seed {seed}; data kept in {thurn.dir}\n{thurn.log_text()[-3000:]}", flush=True)
            break
        if acked > 500:  # begin with empty mailboxes again
            for load in loads:
                empty(thurn, load)
    wrong = check_store(thurn)
    print("\n".join(wrong), flush=True)
    failed += bool(wrong)
    if not failed:
        thurn.remove()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or counted < asked.rounds else 0


if __name__ == "__main__":
    sys.exit(main())

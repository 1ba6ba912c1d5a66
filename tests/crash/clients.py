"""The clients of a crash round: they bring mail, change mailboxes, and wait in IDLE."""

import base64
import random
import re
import select
import socket
import threading

from model import Entry, Mailbox, Pending, digest, digests
from thurn_server import PASSWORD, Raw

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$crash"]
SIZES = [200, 4000, 4000, 60_000, 70_000, 300_000, 1_500_000]


def make_message(rng, name):
    text = f"From: crash@example.org\r\nSubject: {name}\r\nMessage-ID: <{name}@crash>\r\n\r\n".encode()
    line = (name.encode() + b" ") * 6 + b"\r\n"
    message = text + line * max(1, (rng.choice(SIZES) - len(text)) // len(line))
    digests[name] = digest(message)
    return message


def secure(thurn, r):
    r.sock = thurn.tls_context().wrap_socket(r.sock, server_hostname="localhost")
    r.file = r.sock.makefile("rb")


class Client:
    """One connection after another, until it is told to stop."""

    def __init__(self, thurn, seed, name):
        self.thurn, self.name = thurn, name
        self.rng = random.Random(f"{seed} {name}")
        self.serial = 0
        self.stopped = threading.Event()
        self.in_flight = False
        self.lost = 0     # connections that ended under it
        self.refused = 0  # temporary failures that it was told

    def next_name(self):
        self.serial += 1
        return f"{self.name}-{self.serial}"

    def run(self):
        while not self.stopped.is_set() and not self.is_done():
            try:
                self.work()
            except (OSError, EOFError, AssertionError, ValueError):
                self.lost += 1  # with the role; what the client was promised stands
            finally:
                self.in_flight = False
            self.stopped.wait(0.05)

    def is_done(self):
        return False

    def stop(self):
        self.stopped.set()

    def begin(self):
        self.stopped.clear()
        self.lost = self.refused = 0


class Deliveries(Client):
    """Mail for one to three accounts, by LMTP, SMTP or submission."""

    def __init__(self, thurn, seed, name, protocol, accounts):
        super().__init__(thurn, seed, name)
        self.protocol, self.accounts = protocol, accounts
        self.hello = b"LHLO crash\r\n" if protocol == "lmtp" else b"EHLO crash\r\n"

    def work(self):
        r = self.thurn.raw(getattr(self.thurn, f"{self.protocol}_port"))
        try:
            self.greet(r)
            while not self.stopped.is_set():
                before = self.refused
                self.deliver(r)
                if self.refused > before:
                    self.stopped.wait(0.02)
        finally:
            r.close()

    def greet(self, r):
        r.until(b"220")
        if self.protocol == "submission":
            r.send(self.hello)
            r.until(b"250 ")
            r.smtp(b"STARTTLS")
            secure(self.thurn, r)
        r.send(self.hello)
        r.until(b"250 ")
        if self.protocol == "submission":
            user = f"\0{self.accounts[0].name}@example.test\0{PASSWORD}".encode()
            if r.smtp(b"AUTH PLAIN " + base64.b64encode(user))[0] != 235:
                raise OSError("no login while a role is away")

    def deliver(self, r):
        name = self.next_name()
        message = make_message(self.rng, name)
        to = self.rng.sample(self.accounts, self.rng.choice([1, 1, 2, 3]))
        self.in_flight = True
        r.send(b"MAIL FROM:<a@example.org>\r\n"
               + b"".join(f"RCPT TO:<{a.name}@example.test>\r\n".encode() for a in to) + b"DATA\r\n")
        codes = [r.smtp_reply()[0] for _ in range(len(to) + 2)]
        taken = [a for a, code in zip(to, codes[1:]) if code == 250]
        self.refused += len(to) - len(taken)
        if codes[-1] != 354:
            self.in_flight = False
            r.smtp(b"RSET")
            return
        for a in taken:
            a.deliver(name, False)
        r.send(message + b".\r\n")
        for a in taken if self.protocol == "lmtp" else [None]:
            code, _ = r.smtp_reply()
            self.refused += code != 250
            for one in taken if a is None else [a]:
                one.deliver(name, code == 250)
        self.in_flight = False


def expand(numbers):
    """The numbers of an IMAP set, in its order."""
    for piece in numbers.decode().split(","):
        first, _, last = piece.partition(":")
        yield from range(int(first), int(last or first) + 1)


class Changes(Client):
    """Changes the mailboxes of one account; mail may come in meanwhile."""

    BOXES = ["INBOX", "box0", "box1"]

    def __init__(self, thurn, seed, name, account):
        super().__init__(thurn, seed, name)
        self.account = account
        for box in self.BOXES[1:]:
            account.boxes[box] = Mailbox(box)

    def is_done(self):
        return self.account.pending is not None

    def work(self):
        r = self.thurn.raw()
        self.selected = None
        try:
            if b" OK" not in r.login(self.account.name)[-1]:
                return
            while not self.stopped.is_set() and not self.is_done():
                todo = self.rng.choices(
                    [self.append, self.store, self.copy, self.move, self.expunge, self.rename],
                    [5, 6, 2, 3, 2, 1])[0]
                todo(r)
        finally:
            r.close()

    def ask(self, r, text, pending=None):
        """A change; its untagged answers, or None if it was not made for sure."""
        self.account.pending = pending
        self.in_flight = True
        answer = r.command(text)
        self.in_flight = False
        if not answer[-1].startswith(b"x OK"):
            self.refused += 1
            return None
        self.account.pending = None
        return answer

    def some(self, r):
        """A mailbox, selected, and a few of its messages; none if it is empty."""
        key = self.rng.choice(self.BOXES)
        box = self.account.boxes[key]
        uids = self.rng.sample(sorted(box.live), min(len(box.live), self.rng.randint(1, 4)))
        if uids and self.selected != key:
            if b"x OK" not in r.command(b"SELECT " + box.names[0].encode())[-1]:
                raise OSError("no SELECT while a role is away")
            self.selected = key
        return key, box, uids

    def other(self, key):
        return self.rng.choice([k for k in self.BOXES if k != key])

    def append(self, r):
        """One message, or a few in one command (MULTIAPPEND)."""
        key = self.rng.choice(self.BOXES)
        box = self.account.boxes[key]
        new, text = [], f"APPEND {box.names[0]}".encode()
        for _ in range(self.rng.choice([1, 1, 2, 5])):
            name = self.next_name()
            flags = set(self.rng.sample(FLAGS, self.rng.randint(0, 3)))
            message = make_message(self.rng, name)
            new.append((name, flags))
            text += f" ({' '.join(flags)}) {{{len(message)}+}}\r\n".encode() + message
        answer = self.ask(r, text, Pending("append", target=key, new=new))
        if answer:
            uids = re.match(rb"x OK \[APPENDUID \d+ (\S+)\]", answer[-1]).group(1)
            for uid, (name, flags) in zip(expand(uids), new, strict=True):
                self.put(box, uid, name, flags)

    def put(self, box, uid, name, flags):
        assert uid not in box.history, f"UID {uid} of {box.history.get(uid)} was given to {name}"
        box.live[uid] = Entry(name, flags)
        box.history[uid] = name

    def store(self, r):
        _, box, uids = self.some(r)
        if not uids:
            return
        flags = frozenset(self.rng.sample(FLAGS, self.rng.randint(0, 4)))
        for uid in uids:
            box.live[uid].flags.append(flags)
        text = f"UID STORE {','.join(map(str, uids))} FLAGS.SILENT ({' '.join(flags)})"
        if self.ask(r, text.encode(), Pending("store")):
            for uid in uids:
                box.live[uid].flags = [flags]

    def transfer(self, r, verb):
        """The entries that were made elsewhere, by UID of the source; None if that is not known."""
        key, box, uids = self.some(r)
        if not uids:
            return None, {}
        target = self.other(key)
        new = [(box.live[u].name, box.live[u].flags[0]) for u in uids]
        text = f"UID {verb.upper()} {','.join(map(str, uids))} {self.account.boxes[target].names[0]}"
        answer = self.ask(r, text.encode(), Pending(verb, key, uids, target, new))
        if not answer:
            return None, {}
        got = re.search(rb"COPYUID \d+ (\S+) ([^]\s]+)\]", b"".join(answer))
        pairs = dict(zip(expand(got.group(1)), expand(got.group(2))))
        assert set(pairs) == set(uids)
        for uid, there in pairs.items():
            entry = box.live[uid]
            self.put(self.account.boxes[target], there, entry.name, entry.flags[0])
        return box, pairs

    def copy(self, r):
        self.transfer(r, "copy")

    def move(self, r):
        box, pairs = self.transfer(r, "move")
        for uid in pairs:
            del box.live[uid]

    def expunge(self, r):
        key, box, uids = self.some(r)
        if not uids:
            return
        numbers = ",".join(map(str, uids)).encode()
        for uid in uids:
            entry = box.live[uid]
            entry.flags.append(entry.flags[0] | {"\\Deleted"})
        if not self.ask(r, b"UID STORE " + numbers + b" +FLAGS.SILENT (\\Deleted)", Pending("store")):
            return
        for uid in uids:
            box.live[uid].flags = box.live[uid].flags[-1:]
        if self.ask(r, b"UID EXPUNGE " + numbers, Pending("expunge", key, uids)):
            for uid in uids:
                del box.live[uid]

    def rename(self, r):
        key = self.rng.choice(self.BOXES[1:])
        box = self.account.boxes[key]
        box.names.append(self.next_name())
        text = f"RENAME {box.names[0]} {box.names[1]}".encode()
        if self.ask(r, text, Pending("rename")):
            box.names = box.names[1:]


class Patient(Raw):
    """Reads in the thread that also writes: a TLS connection is not for two at once."""

    def __init__(self, port):
        super().__init__(port)
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def has_input_before(self, wake):
        """Waits for input, or until `wake` can be read."""
        if b"\n" in self.buffer or getattr(self.sock, "pending", int)():
            return True
        return self.sock in select.select([self.sock, wake], [], [])[0]


class Watcher(Client):
    """Waits in IDLE on an INBOX, and mirrors what it is told."""

    def __init__(self, thurn, seed, name, account, tls):
        super().__init__(thurn, seed, name)
        self.account, self.tls = account, tls
        self.wrong = []

    def begin(self):
        super().begin()
        self.wrong = []
        self.wake, self.waker = socket.socketpair()

    def stop(self):
        super().stop()
        self.waker.send(b"x")

    def work(self):
        r = Patient(self.thurn.imaps_port if self.tls else self.thurn.imap_port)
        try:
            if self.tls:
                secure(self.thurn, r)
            if b" OK" not in r.login(self.account.name)[-1] or \
                    b" OK" not in r.command(b"SELECT INBOX")[-1]:
                return
            self.flags = []  # by sequence number; None: not told
            self.take(r.command(b"FETCH 1:* (FLAGS)"))
            self.idle(r)
            self.compare(r)
        finally:
            r.close()

    def idle(self, r):
        r.send(b"i IDLE\r\n")
        r.until(b"+")
        done = False
        while True:
            if not done and not r.has_input_before(self.wake):
                r.send(b"DONE\r\n")
                done = True
            line = r.line()
            if not line or line.startswith(b"* BYE"):
                raise EOFError("the connection was closed")
            if line.startswith(b"i "):
                return
            self.take([line])

    def take(self, lines):
        for line in lines:
            got = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?:.*FLAGS \(([^)]*)\))?", line)
            if not got:
                continue
            number, what = int(got.group(1)), got.group(2)
            if what == b"EXPUNGE":
                del self.flags[number - 1]
                continue
            self.flags += [None] * (number - len(self.flags))
            if what == b"FETCH":
                self.flags[number - 1] = frozenset(got.group(3).split()) - {b"\\Recent"}

    def compare(self, r):
        """With nothing changing any more, what it was told must be what is there."""
        self.take(r.command(b"NOOP"))
        mirror, self.flags = self.flags, []
        self.take(r.command(b"FETCH 1:* (FLAGS)"))
        if len(mirror) != len(self.flags):
            self.wrong.append(f"{self.name} was told of {len(mirror)} messages of {len(self.flags)}")
        for number, (told, real) in enumerate(zip(mirror, self.flags), 1):
            if told is not None and told != real:
                self.wrong.append(f"{self.name}: message {number} has {set(real)}, told {set(told)}")

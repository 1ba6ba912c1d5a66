"""What the clients of a crash round were promised, and whether the server keeps to it.

An account's mailboxes are mirrored by UID. A client has at most one change unanswered at a time; if
it stays unanswered, the server may have made it or not, but only whole (`Pending`).
"""

import hashlib
import imaplib
import re
import threading

from thurn_server import wait_for

digests = {}  # name of a message -> SHA-256 of what was sent


def digest(message):
    return hashlib.sha256(message).digest()


class Entry:
    def __init__(self, name, flags):
        self.name = name
        self.flags = [frozenset(flags)]  # what it may have; more than one while a STORE is unanswered


class Mailbox:
    def __init__(self, name, uidvalidity=None):
        self.names = [name]  # more than one while a RENAME is unanswered
        self.uidvalidity = uidvalidity
        self.live = {}       # UID -> Entry
        self.history = {}    # UID -> name, of everything that was ever seen there
        self.settled = 0     # the highest of them when all was last compared


class Pending:
    """A change that was not answered: `gone` may have left their mailbox, `new` may be there."""

    def __init__(self, kind, source=None, uids=(), target=None, new=()):
        self.kind = kind          # append, copy, move, expunge; store and rename stand elsewhere
        self.source = source
        self.uids = list(uids)
        self.target = target
        self.new = list(new)      # (name, flags), for a move in the order of the UIDs


class Account:
    def __init__(self, name):
        self.name = name
        self.boxes = {"INBOX": Mailbox("INBOX")}
        self.pending = None
        self.lock = threading.Lock()
        self.delivered = {}  # name -> whether it was acknowledged; since the last settling

    def deliver(self, name, acknowledged):
        with self.lock:
            self.delivered[name] = acknowledged or self.delivered.get(name, False)

    def promised(self):
        return sum(len(b.live) for b in self.boxes.values()) + sum(self.delivered.values())


def original(message):
    """Without the header fields that the delivery put before it."""
    return message[message.index(b"From: crash@"):]


def name_of(message):
    return re.search(rb"Subject: (\S+)", message).group(1).decode()


def connect(thurn, account):
    """Logged in; a frontend may not have met the new backend yet."""
    def attempt():
        try:
            return thurn.imap(account.name)
        except imaplib.IMAP4.error:
            return None
    return wait_for("a login", attempt)


class Found:
    """What stands in an account's mailboxes now."""

    def __init__(self, thurn, account):
        self.boxes = {}  # key -> (name, UIDVALIDITY, {UID: (name, flags, digest)})
        self.wrong = []
        c = connect(thurn, account)
        for key, box in account.boxes.items():
            names = [n for n in box.names if c.select(n)[0] == "OK"]
            if len(names) != 1:
                self.wrong.append(f"mailbox {'/'.join(box.names)} is there as {names}")
                continue
            c.select(names[0], readonly=True)
            validity = int(c.response("UIDVALIDITY")[1][0])
            self.boxes[key] = (names[0], validity, self.entries(c))
        c.logout()

    def entries(self, c):
        typ, data = c.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
        assert typ == "OK", data
        found = {}
        for item in data:
            if isinstance(item, tuple):
                uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
                flags = re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split()
                message = original(item[1])
                found[uid] = (name_of(message), frozenset(flags) - {"\\Recent"}, digest(message))
        return found


class Verifier:
    """Compares an account with its model; `wrong` says what does not fit."""

    def __init__(self, thurn, account):
        self.account = account
        self.found = Found(thurn, account)
        self.wrong = [f"{account.name}: {w}" for w in self.found.wrong]
        self.missing = {}  # key -> UIDs that were promised
        self.extra = {}    # key -> [(UID, name, flags)] that were not
        for key, (name, validity, entries) in self.found.boxes.items():
            self.compare(key, validity, entries)
        self.explain_pending()
        self.explain_deliveries()
        for key in self.found.boxes:
            for uid in self.missing[key]:
                self.say(key, uid, f"{account.boxes[key].live[uid].name} is lost")
            for uid, name, _ in self.extra[key]:
                self.say(key, uid, f"{name} is there unexpectedly: twice, or back again")

    def say(self, key, uid, text):
        self.wrong.append(f"{self.account.name}/{key} UID {uid}: {text}")

    def compare(self, key, validity, entries):
        box = self.account.boxes[key]
        if box.uidvalidity not in (None, validity):
            self.say(key, "-", f"UIDVALIDITY is {validity}, was {box.uidvalidity}")
        self.missing[key] = [uid for uid in box.live if uid not in entries]
        self.extra[key] = []
        for uid, (name, flags, sha) in entries.items():
            if digests.get(name) != sha:
                self.say(key, uid, f"{name} is not intact")
            entry = box.live.get(uid)
            if entry is None:
                self.new_entry(key, uid, name, flags)
            elif entry.name != name:
                self.say(key, uid, f"is {name}, was {entry.name}")
            elif flags not in entry.flags:
                self.say(key, uid, f"{name} has flags {set(flags)}, not of {entry.flags}")

    def new_entry(self, key, uid, name, flags):
        history = self.account.boxes[key].history
        if uid in history:
            self.say(key, uid, f"is {name}, but {history[uid]} had this UID and was expunged")
        elif uid <= self.account.boxes[key].settled:
            self.say(key, uid, f"{name} is new with a UID that is not")
        self.extra[key].append((uid, name, flags))

    def take_extra(self, key, name, flags):
        """Whether an unexpected entry is this one; it is explained then."""
        for item in self.extra.get(key, []):
            if item[1] == name and (flags is None or item[2] == frozenset(flags)):
                self.extra[key].remove(item)
                return True
        return False

    def explain_pending(self):
        p = self.account.pending
        if p is None or p.target not in (None, *self.found.boxes):
            return
        came = [self.take_extra(p.target, name, flags) for name, flags in p.new]
        gone = [uid in self.missing.get(p.source, []) for uid in p.uids]
        if p.kind in ("copy", "append") and len(set(came)) > 1:
            self.say(p.target, "-", f"{p.kind.upper()} was done in part")
        if p.kind == "move":
            for uid, (name, _), here, away in zip(p.uids, p.new, came, gone):
                if here != away:
                    self.say(p.source, uid, f"{name} was moved {'twice' if here else 'to nowhere'}")
        if p.kind in ("move", "expunge"):
            self.missing[p.source] = [u for u in self.missing[p.source] if u not in p.uids]

    def explain_deliveries(self):
        for name, acknowledged in self.account.delivered.items():
            if not self.take_extra("INBOX", name, ()) and acknowledged:
                self.say("INBOX", "-", f"{name} was acknowledged and is lost")

    def settle(self):
        """What is there now is what the next round begins with."""
        a = self.account
        a.pending, a.delivered = None, {}
        for key, (name, validity, entries) in self.found.boxes.items():
            box = a.boxes[key]
            box.names, box.uidvalidity = [name], validity
            box.live = {uid: Entry(n, flags) for uid, (n, flags, _) in entries.items()}
            box.history.update({uid: n for uid, (n, _, _) in entries.items()})
            box.settled = max(box.history, default=0)

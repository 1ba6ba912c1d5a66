"""A request that kills whatever backend is asked it: one client's misfortune, nobody else's."""

import threading

import pytest

from fault_disk import DEATH, LIBRARY, FaultDisk, place_of
from thurn_server import wait_for

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="the disk that kills is not built")

LETTER = b"Subject: %d\r\n\r\n" + b"line\r\n" * 20
FATAL = 3


@pytest.fixture(params=[1, 3], ids=["one frontend", "three frontends"])
def thurn(make_thurn, request):
    """A server whose backend dies when it reads alice's third message."""
    t = make_thurn({"request_timeout": '"20 s"', "frontends": f'"{request.param}"'}, start=False)
    disk = FaultDisk(t)
    t.start()
    for i in range(1, 6):
        assert t.deliver(LETTER % i)[0][0] == 250
    t.deliver(LETTER % 6, to=("bob",))
    t.cli("restart", "backend")  # the next ones begin to read the log behind these messages
    wait_for("a backend", lambda: all(r["ready"] for r in t.status()))
    name, first, last = place_of(t, LETTER % FATAL)
    disk.fail("read", f"/log/{name}", DEATH, first=first, last=last)
    return t


class Busy(threading.Thread):
    """A client that is never without a command under way; `answers` are those that are not OK."""

    def __init__(self, t):
        super().__init__()
        self.c = t.raw()
        assert self.c.login("bob")[-1].startswith(b"x OK")
        self.c.command(b"SELECT INBOX")
        self.over, self.answered, self.answers = threading.Event(), 0, []

    def run(self):
        while not self.over.is_set() and not self.answers:
            last = self.c.command(b"FETCH 1 BODY.PEEK[]")[-1]
            self.answered += 1
            if not last.startswith(b"x OK"):
                self.answers.append(last)

    def end(self):
        before = self.answered
        wait_for("another answer", lambda: self.answered > before + 1 or self.answers)
        self.over.set()
        self.join()
        assert self.answers == []
        assert self.c.command(b"LOGOUT")[-1].startswith(b"x OK")


def restarts(t):
    return t.role("backend")["restarts"]


def test_a_message_that_kills_its_reader_costs_three_backends_and_nobody_else_his_session(thurn):
    others = [Busy(thurn) for _ in range(8)]
    for other in others:
        other.start()
    c = thurn.raw()
    assert c.login()[-1].startswith(b"x OK")
    c.command(b"SELECT INBOX")
    before = restarts(thurn)
    assert c.command(b"FETCH 3 BODY.PEEK[]")[-1].startswith(b"x NO [UNAVAILABLE]")
    assert thurn.deliver(LETTER % 7)[0][0] == 250
    assert restarts(thurn) == before + 3
    for n in (1, 2, 4, 5):
        assert c.command(b"FETCH %d BODY.PEEK[]" % n)[-1].startswith(b"x OK")
    for n in range(4, 6):  # the client insists
        assert c.command(b"FETCH 3 BODY.PEEK[]")[-1].startswith(b"x NO [UNAVAILABLE]")
        assert c.command(b"FETCH 3 FLAGS")[-1].startswith(b"x OK")
        assert restarts(thurn) == before + n
    for other in others:
        other.end()
    given_up = [line for line in thurn.log_text().splitlines() if "event=client.given-up" in line]
    assert len(given_up) == 3
    assert all("user=alice@example.test" in line and "request=ImapFetch" in line for line in given_up)

"""A disk that fails under the running server: nothing that was acknowledged is lost, nothing that was
refused comes back, and everybody else is served on."""

import errno
import threading
import time

import pytest

from fault_disk import LIBRARY, FaultDisk, place_of
from thurn_server import wait_for

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="the disk that fails is not built")

SMALL = b"Subject: %d\r\n\r\n" + b"line\r\n" * 20
LARGE = b"Subject: %d\r\n\r\n" + b"0123456789abcdef" * 4 + b"\r\n" + b"x" * 70 + b"\r\n" * 700_000


@pytest.fixture
def disk(make_thurn):
    """A server on a disk that fails when it is told to."""
    t = make_thurn(start=False)
    t.disk = FaultDisk(t)
    t.start()
    yield t
    t.disk.heal()


def inbox(t, user="alice"):
    """The messages by UID, as they are read, without what the delivery put in front."""
    c = t.imap(user)
    assert c.select("INBOX")[0] == "OK"
    data = c.fetch("1:*", "(UID BODY.PEEK[])")[1]
    c.logout()
    return [p[1][p[1].index(b"Subject:"):] for p in data if isinstance(p, tuple)]


def in_order(t, expected):
    """The mailbox holds just this, now and after a start, and the store has no complaint."""
    assert inbox(t) == expected
    t.kill_role("backend")
    assert inbox(t) == expected
    t.stop()
    assert "everything is in order" in t.cli("store", "check").stdout
    t.start(accounts=False)
    assert inbox(t) == expected


def deliver(t, message):
    code = t.deliver(message)[0][0]
    assert code == 250 or 400 <= code < 500, code
    return [message] if code == 250 else []


ONCE = [("sync", errno.EIO), ("write", errno.EIO), ("write", errno.ENOSPC), ("write", errno.EDQUOT)]


@pytest.mark.parametrize("call, error", ONCE)
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_after_one_failure_of_the_log_mail_goes_on(disk, size, call, error):
    backend = disk.pid_of("backend")
    kept = deliver(disk, size % 0)
    fault = disk.disk.fail(call, "/store/log/", error, times=1)
    kept += deliver(disk, size % 1)
    assert fault.hits() == 1
    for i in range(2, 6):
        assert disk.deliver(size % i)[0][0] == 250
        kept += [size % i]
    assert disk.pid_of("backend") == backend
    assert "store.log.write-failed" in disk.log_text() or size == LARGE
    in_order(disk, kept)


def test_flags_that_could_not_be_synced_are_refused_and_stay_as_they_were(disk):
    assert disk.deliver(SMALL % 0)[0][0] == 250
    c = disk.imap()
    c.select("INBOX")
    disk.disk.fail("sync", "/store/log/", times=3)
    status = c.store("1", "+FLAGS", r"(\Flagged)")[0]
    assert status in ("OK", "NO")
    assert (b"\\Flagged" in c.fetch("1", "(FLAGS)")[1][0]) == (status == "OK")
    wait_for("syncs that work", lambda: c.store("1", "+FLAGS", r"(\Seen)")[0] == "OK")
    flags = c.fetch("1", "(FLAGS)")[1][0]
    assert b"\\Seen" in flags and (b"\\Flagged" in flags) == (status == "OK")
    c.logout()
    in_order(disk, [SMALL % 0])


def test_a_log_that_takes_nothing_for_a_while_costs_a_pause(disk):
    """What of the failed group is on the disk only the next start can find out: the backend ends, and
    whoever waits hears when one has come that can."""
    kept = deliver(disk, SMALL % 0)
    c = disk.imap()
    c.select("INBOX")
    before = disk.role("backend")["restarts"]
    disk.disk.fail("sync", "/store/log")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(disk.deliver(SMALL % 1)[0][0]))
    waiting.start()
    wait_for("the end of the backend",
             lambda: next(r for r in disk.status() if r["role"] == "backend")["restarts"] > before + 1)
    assert answers == []
    disk.disk.heal()
    waiting.join()
    assert answers == [250]
    assert c.noop()[0] == "OK"  # connected all the time
    c.logout()
    in_order(disk, kept + [SMALL % 1])


def test_while_the_disk_stands_still_mail_is_read_and_no_process_is_taken_for_one_that_hangs(make_thurn):
    t = make_thurn({"hang_timeout": '"1 s"'}, start=False)
    t.disk = FaultDisk(t)
    t.start()
    backend = t.pid_of("backend")
    assert t.deliver(SMALL % 0)[0][0] == 250
    fault = t.disk.fail("sync", "/store/log/", error=0)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(t.deliver(SMALL % 1)[0][0]))
    waiting.start()
    wait_for("the sync", fault.hits)
    end = time.monotonic() + 2.5  # more than a process that hangs is given
    while time.monotonic() < end:
        assert inbox(t) == [SMALL % 0]
    assert answers == []
    fault.heal()
    waiting.join()
    assert answers == [250] and t.pid_of("backend") == backend
    in_order(t, [SMALL % 0, SMALL % 1])


def test_a_full_disk_in_the_midst_of_a_group(disk):
    """Unlike one that nears its end: room is there when the group is begun. Everything fails that
    would need more."""
    kept = deliver(disk, SMALL % 0)
    backend = disk.pid_of("backend")
    disk.disk.fail("write", "/store/log/", errno.ENOSPC)
    disk.disk.fail("create", "/store/log/", errno.ENOSPC)
    for i in range(1, 4):
        assert disk.deliver(SMALL % i)[0][0] in range(400, 500)
        assert disk.deliver(LARGE % i)[0][0] in range(400, 500)
    assert inbox(disk) == kept  # is read meanwhile
    disk.disk.heal()
    kept += [SMALL % 9, LARGE % 9]
    for message in kept[-2:]:
        assert disk.deliver(message)[0][0] == 250
    assert disk.pid_of("backend") == backend
    in_order(disk, kept)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_message_that_cannot_be_read_is_named_and_the_others_are_served(disk, size):
    letters = [size % i for i in range(5)]
    for letter in letters:
        assert disk.deliver(letter, to=("alice", "bob"))[0][0] == 250
    name, first, last = place_of(disk, letters[2])
    disk.disk.fail("read", f"/log/{name}", first=first, last=last)
    c = disk.imap()
    c.select("INBOX")
    for n in (1, 2, 4, 5):
        assert letters[n - 1] in c.fetch(str(n), "BODY.PEEK[]")[1][0][1]
    assert c.fetch("3", "(FLAGS RFC822.SIZE)")[0] == "OK"
    if size == SMALL:
        status, data = c.fetch("3", "BODY.PEEK[]")
        assert status == "NO" and b"could not be read" in data[-1]
    else:  # it had begun
        with pytest.raises((c.abort, OSError)):
            status, data = c.fetch("3", "BODY.PEEK[]")
            raise OSError(status) if status == "NO" else AssertionError(data[0][:80])
    assert "imap.message_unreadable" in disk.log_text() and "uid=3" in disk.log_text()
    disk.disk.heal()
    assert inbox(disk) == inbox(disk, "bob") == letters
    in_order(disk, letters)


# -- the index --

FILLER = b"Subject: %d\r\n\r\n" + (b"x" * 72 + b"\r\n") * 13000  # not so large as to be outside the groups


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_index_that_cannot_be_written_is_made_up_for_by_the_log(disk, error):
    """RocksDB goes on no more after that; the next backend reads the log. Nobody is told anything."""
    before = disk.role("backend")
    fault = disk.disk.fail("write", ".sst", error, times=1)
    accepted = 0
    while not fault.hits():  # it is written after each 128 MB of log
        assert disk.deliver(FILLER % accepted)[0][0] == 250
        accepted += 1
        assert accepted < 300
    for i in range(accepted, accepted + 3):
        assert disk.deliver(FILLER % i)[0][0] == 250
    disk.wait_new("backend", before["generation"])
    assert inbox(disk) == [FILLER % i for i in range(accepted + 3)]
    disk.stop()
    assert "everything is in order" in disk.cli("store", "check").stdout


def test_an_index_that_cannot_be_opened_for_the_disk_is_left_alone(disk):
    """Until the disk works again; and nobody is advised to throw the index away."""
    assert disk.deliver(SMALL % 0)[0][0] == 250
    disk.disk.fail("sync", "/store/index/")
    disk.cli("restart", "backend")
    wait_for("the reason in the log", lambda: "look after the disk" in disk.log_text())
    assert "move the folder away" not in disk.log_text()
    disk.disk.heal()
    wait_for("a backend", lambda: all(r["ready"] for r in disk.status()))
    in_order(disk, [SMALL % 0])


def largest_table(t):
    return max((t.dir / "data/store/index").glob("*.sst"), key=lambda p: p.stat().st_size)


def test_an_account_of_which_the_index_cannot_be_read_does_not_stop_the_others(disk):
    letters = [SMALL % i for i in range(200)]
    for letter in letters[:2]:
        assert disk.deliver(letter)[0][0] == 250
    for letter in letters:
        assert disk.deliver(letter, to=("bob",))[0][0] == 250
    disk.cli("restart", "backend")  # what it has in memory becomes a table, and nothing is cached
    wait_for("a backend", lambda: all(r["ready"] for r in disk.status()))
    table = largest_table(disk)
    middle = table.stat().st_size // 2
    fault = disk.disk.fail("read", table.name, first=middle, last=middle + 1)
    backend = disk.pid_of("backend")
    assert inbox(disk) == letters[:2]
    c = disk.imap("bob")
    answers = [c.select("INBOX")[0]]
    if answers == ["OK"]:
        answers.append(c.fetch("1:*", "(ENVELOPE BODY.PEEK[])")[0])
    assert "NO" in answers and fault.hits()
    c.logout()
    assert disk.deliver(SMALL % 2)[0][0] == 250
    assert "account=3" in [line for line in disk.log_text().splitlines() if " error " in line][-1]
    assert disk.pid_of("backend") == backend
    fault.heal()
    assert inbox(disk, "bob") == letters
    in_order(disk, letters[:3])


# -- looking at a store --

def test_the_check_names_what_the_disk_cannot_read_and_goes_on(disk):
    letters = [SMALL % i for i in range(6)]
    for letter in letters:
        assert disk.deliver(letter)[0][0] == 250
    assert disk.deliver(LARGE % 7, to=("bob",))[0][0] == 250
    disk.stop()
    faults = []
    for letter in (letters[1], letters[4], LARGE % 7):
        name, first, last = place_of(disk, letter)
        faults.append(disk.disk.fail("read", f"/log/{name}", first=first, last=last))
    checked = disk.cli("store", "check", check=False)
    lines = checked.stdout.splitlines()
    assert checked.returncode == 1 and checked.stderr == ""
    assert sum(line.startswith("account 2: body ") and line.endswith("the disk cannot read it")
               for line in lines) == 2, lines
    assert sum(line.startswith("account 3: body ") for line in lines) == 1
    assert sum(line.startswith("store: log segment ") for line in lines) == 2
    disk.disk.heal()
    assert "everything is in order" in disk.cli("store", "check").stdout


def test_one_unreadable_file_of_the_log_does_not_keep_the_server_from_starting(disk):
    """An old one, whose messages are lost as long as the disk does not read them; no other."""
    assert disk.deliver(LARGE % 0)[0][0] == 250
    old, _, _ = place_of(disk, LARGE % 0)
    disk.stop()
    disk.start(accounts=False)
    assert disk.deliver(SMALL % 1)[0][0] == 250
    disk.stop()
    disk.disk.fail("read", f"/log/{old}")
    disk.start(accounts=False)
    assert f"event=store.segment.unreadable segment={int(old[:8])} " in disk.log_text()
    c = disk.imap()
    assert c.select("INBOX") == ("OK", [b"2"])
    assert SMALL % 1 in c.fetch("2", "BODY.PEEK[]")[1][0][1]
    assert disk.deliver(SMALL % 2)[0][0] == 250
    disk.disk.heal()
    in_order(disk, [LARGE % 0, SMALL % 1, SMALL % 2])

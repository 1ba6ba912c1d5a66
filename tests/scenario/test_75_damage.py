"""A damaged store: only what is damaged is not served, it is named, and the rest can be saved."""

import json
import pathlib
import re
import shutil

import pytest

LETTER = b"From: Carol <carol@example.org>\r\nSubject: news %d\r\nMessage-ID: <%d@x>\r\n\r\n" + b"body %d\r\n" * 100


def letter(i):
    return LETTER % ((i,) * 102)


def fill(thurn, n, to="alice", first=0):
    for i in range(first, first + n):
        assert thurn.deliver(letter(i), to=(to,))[0][0] == 250


def bodies(c):
    status, data = c.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
    if status == "NO":  # what came before it
        data = c.response("FETCH")[1]
    return status, [p[1][p[1].index(b"From: Carol"):] for p in data if isinstance(p, tuple)]


def store_of(thurn):
    return thurn.dir / "data" / "store"


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    with open(path, "r+b") as f:  # in place: the server has it open
        f.seek(at)
        f.write(raw[at:at + 1])


def flip_body(thurn, text):
    for path in sorted((store_of(thurn) / "log").iterdir()):
        at = path.read_bytes().find(text)
        if at >= 0:
            flip(path, at + len(text) // 2)
            return
    raise AssertionError("the message is not in the log")


def test_a_flipped_bit_in_a_running_store_costs_one_message(thurn):
    fill(thurn, 8)
    fill(thurn, 2, "bob", first=20)
    flip_body(thurn, letter(3))
    c = thurn.imap()
    assert c.select("INBOX")[1] == [b"8"]
    status, got = bodies(c)
    assert status == "NO"
    assert got == [letter(i) for i in range(8) if i != 3]
    status, data = c.fetch("4", "BODY.PEEK[]")
    assert status == "NO" and b"could not be read" in data[-1]
    assert c.fetch("4", "(UID FLAGS)")[0] == "OK"
    assert c.store("4", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert c.expunge()[0] == "OK"
    assert bodies(c)[0] == "OK"
    c.logout()
    assert re.search(r"event=store.body.damaged .*account=2 segment=1 offset=\d+", thurn.log_text())
    b = thurn.imap("bob")
    b.select("INBOX")
    assert bodies(b)[1] == [letter(20), letter(21)]
    b.logout()
    thurn.stop()
    checked = thurn.cli("store", "check", check=False)
    assert checked.returncode == 1 and "does not match its checksum" in checked.stdout


def test_an_account_whose_part_of_the_index_is_damaged_does_not_stop_the_others(thurn):
    fill(thurn, 3)
    fill(thurn, 200, "bob", first=20)
    thurn.stop()
    table = max((store_of(thurn) / "index").glob("*.sst"), key=lambda p: p.stat().st_size)
    flip(table, table.stat().st_size // 2)
    thurn.start()
    a = thurn.imap()
    a.select("INBOX")
    assert bodies(a)[1] == [letter(i) for i in range(3)]
    a.logout()
    b = thurn.imap("bob")
    answers = [b.select("INBOX")[0]]
    if answers == ["OK"]:
        answers.append(b.fetch("1:*", "(ENVELOPE BODY.PEEK[])")[0])
    assert "NO" in answers
    assert "account=3" in [line for line in thurn.log_text().splitlines() if " error " in line][-1]
    fill(thurn, 1, first=3)
    thurn.stop()
    checked = thurn.cli("store", "check", check=False)
    assert checked.returncode == 1 and "account 3: " in checked.stdout
    assert "account 2: " not in checked.stdout


def salvage(thurn, *options):
    old, new = store_of(thurn), thurn.dir / "new"
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    done = thurn.cli("store", "salvage", *options, old, new, check=False)
    assert before == {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    return done, new


def state(thurn):
    """What a client sees of alice."""
    c = thurn.imap()
    seen = {}
    for box in ("INBOX", "Work"):
        seen[box, "status"] = c.status(box, "(UIDVALIDITY UIDNEXT MESSAGES UNSEEN)")[1]
        c.select(box)
        seen[box] = c.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    seen["folders"] = sorted(c.list()[1])
    c.logout()
    return seen


def lose_index(store):
    shutil.rmtree(store / "index")


def spoil_index(store):
    for name in pathlib.Path(store / "index").glob("MANIFEST*"):
        name.write_bytes(b"nonsense")


def lose_format(store):
    (store / "format").unlink()


@pytest.mark.parametrize("damage", [None, lose_index, spoil_index, lose_format])
def test_salvage_makes_a_store_that_serves_the_same(thurn, damage):
    fill(thurn, 12)
    c = thurn.imap()
    c.select("INBOX")
    c.create("Work")
    c.copy("2:4", "Work")
    c.store("3:5", "+FLAGS.SILENT", r"(\Flagged \Seen)")
    c.store("7", "+FLAGS.SILENT", r"(\Deleted)")
    c.expunge()
    c.logout()
    before = state(thurn)
    thurn.stop()
    if damage:
        damage(store_of(thurn))
    done, new = salvage(thurn)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 are lost" in done.stdout
    shutil.rmtree(store_of(thurn))
    new.rename(store_of(thurn))
    thurn.begin()
    thurn.wait_ready()
    assert state(thurn) == before
    assert thurn.deliver(letter(50))[0][0] == 250
    thurn.stop()
    assert "everything is in order" in thurn.cli("store", "check").stdout


def test_salvage_lists_what_is_lost(thurn):
    fill(thurn, 6)
    thurn.stop()
    flip_body(thurn, letter(2))
    done, new = salvage(thurn, "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert said["messages"] == 5 and said["lost"] == 1
    [lost] = said["messages_lost"]
    assert lost["address"] == "alice@example.test" and lost["mailbox"] == "INBOX" and lost["uid"] == 3
    assert lost["message_id"] == "<2@x>" and lost["subject"] == "news 2" and "checksum" in lost["why"]


def test_salvage_says_why_it_cannot_work(thurn):
    done = thurn.cli("store", "salvage", store_of(thurn), thurn.dir / "new", check=False)
    assert done.returncode == 2 and "in use" in done.stderr
    thurn.stop()
    done = thurn.cli("store", "salvage", thurn.dir / "none", thurn.dir / "new2", check=False)
    assert done.returncode == 2 and done.stderr
    done = thurn.cli("store", "salvage", store_of(thurn), thurn.dir / "data", check=False)
    assert done.returncode == 2 and "empty" in done.stderr

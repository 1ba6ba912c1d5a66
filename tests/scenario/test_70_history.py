"""What is deleted ends when its time in history has passed, whether anybody uses the account or not."""

import random
import re

from thurn_server import wait_for

LETTER = b"From: Carol <carol@example.org>\r\nSubject: news %d\r\n\r\nbody %d\r\n"
SHORT = {"history": '"1 s"', "log_level": "debug"}


def known(c):
    lines = b"".join(c.command(b"SELECT INBOX (CONDSTORE)"))
    return [int(re.search(rb"\[%s (\d+)" % name, lines)[1]) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ")]


def history_ended(thurn, at_least):
    ends = [int(m) for m in re.findall(r"event=store.history-ended account=\d+ modseq=(\d+)", thurn.log_text())]
    return any(end >= at_least for end in ends)


def test_a_client_that_was_away_longer_than_history_is_told_what_vanished(make_thurn):
    thurn = make_thurn(SHORT)
    for i in range(6):
        assert thurn.deliver(LETTER % (i, i))[0][0] == 250
    c = thurn.raw()
    c.login()
    validity, modseq = known(c)
    c.command(rb"UID STORE 2,4:5 +FLAGS.SILENT (\Deleted)")
    c.command(b"EXPUNGE")
    _, after = known(c)
    c.command(b"LOGOUT")
    c.close()
    wait_for("history to end", lambda: history_ended(thurn, after))
    c = thurn.raw()
    c.login()
    c.command(b"ENABLE QRESYNC")
    lines = c.command(b"SELECT INBOX (QRESYNC (%d %d 1:6))" % (validity, modseq))
    assert b"* VANISHED (EARLIER) 2,4:5\r\n" in lines
    lines = c.command(b"SELECT INBOX (QRESYNC (%d %d 1:6))" % (validity, after))
    assert not any(b"VANISHED" in line for line in lines)
    c.close()
    thurn.stop()
    assert "everything is in order" in thurn.cli("store", "check").stdout


def test_an_idle_session_is_not_disturbed_by_the_end_of_history(make_thurn):
    thurn = make_thurn(SHORT)
    thurn.deliver(LETTER % (1, 1))
    thurn.deliver(LETTER % (2, 2))
    quiet, other = thurn.raw(), thurn.raw()
    for c in (quiet, other):
        c.login()
        _, modseq = known(c)
    other.command(rb"STORE 1 +FLAGS.SILENT (\Deleted)")
    other.command(b"EXPUNGE")
    _, modseq = known(other)
    wait_for("history to end", lambda: history_ended(thurn, modseq))
    assert b"* 1 EXPUNGE\r\n" in quiet.command(b"NOOP")
    assert b"* 1 FETCH (UID 2)\r\n" in quiet.command(b"FETCH 1 (UID)")
    for c in (quiet, other):
        c.close()


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has been rewritten since the folder was listed
        return 0


def used(thurn):
    return sum(map(size_of, (thurn.dir / "data" / "store" / "log").iterdir()))


def test_the_disk_space_of_expunged_messages_comes_back(make_thurn):
    thurn = make_thurn({**SHORT, "segment_size": '"1 MB"'})
    rng = random.Random(1)
    lines = [b"".join(b"%x\r\n" % rng.getrandbits(300) for _ in range(1000)) for _ in range(8)]
    letters = [b"Subject: %d\r\n\r\n" % i + lines[i % 8] for i in range(160)]
    for letter in letters:
        assert thurn.deliver(letter)[0][0] == 250
    before = used(thurn)
    assert before > sum(map(len, letters))
    c = thurn.imap()
    c.select("INBOX")
    gone = ",".join(str(i) for i in range(1, 161) if i % 10)
    c.store(gone, "+FLAGS.SILENT", r"(\Deleted)")
    c.expunge()
    wait_for("the space", lambda: used(thurn) < before / 3)
    assert "event=store.segment.rewritten" in thurn.log_text()

    def in_order():
        c = thurn.imap()
        assert c.select("INBOX")[1] == [b"16"]
        got = [p[1] for p in c.fetch("1:*", "BODY.PEEK[]")[1] if isinstance(p, tuple)]
        assert all(letter in found for letter, found in zip(letters[9::10], got, strict=True))
        c.logout()

    in_order()
    thurn.kill_all()
    thurn.begin()
    thurn.wait_ready()
    in_order()
    thurn.stop()
    assert "everything is in order" in thurn.cli("store", "check").stdout

"""Reading: large listings, damaged messages, and clients that ask for much and take little."""

import pathlib

import pytest

from thurn_server import peak_memory, wait_for

LETTER = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: number %d\r\n\r\n%s"


def letter(number, size):
    return LETTER % (number, b"text of %d\r\n" % number * (size // 12))


def flip_byte(thurn, text, behind):
    """Damages the log behind the first place where the text stands; the page cache has it too."""
    for path in sorted(pathlib.Path(thurn.dir, "data").rglob("*.seg")):
        at = path.read_bytes().find(text)
        if at >= 0:
            with open(path, "r+b") as f:
                f.seek(at + behind)
                byte = f.read(1)[0]
                f.seek(at + behind)
                f.write(bytes([byte ^ 0x40]))
            return
    raise AssertionError("the text is not in the log")


def test_a_damaged_message_is_left_out_and_named(thurn):
    r = thurn.raw()
    r.login()
    for number in (1, 2, 3):
        r.append(letter(number, 4000))
    r.command(b"SELECT INBOX")
    flip_byte(thurn, b"Subject: number 2", 2000)
    answer = b"".join(r.command(b"UID FETCH 1:* (BODY.PEEK[])"))
    assert b"text of 1" in answer and b"text of 3" in answer and b"text of 2" not in answer
    assert b"x NO [CORRUPTION]" in answer
    # Its header is not shown either, for it cannot be told which of its bytes are wrong.
    answer = b"".join(r.command(b"UID FETCH 2 (BODY.PEEK[HEADER])"))
    assert b"number 2" not in answer and b"x NO [CORRUPTION]" in answer
    # What the index has of it is whole.
    assert b"number 2" in b"".join(r.command(b"UID FETCH 2 (ENVELOPE)"))
    r.close()
    line = wait_for("the damaged message in the log", lambda: next(
        (l for l in thurn.log_text().splitlines() if "imap.message_unreadable" in l), None))
    assert "uid=2" in line and "mailbox=" in line and "account=" in line


def test_a_large_damaged_message_never_seems_complete(thurn):
    r = thurn.raw()
    r.login()
    r.append(letter(1, 600_000))
    r.append(letter(2, 100))
    r.command(b"SELECT INBOX")
    flip_byte(thurn, b"Subject: number 1", 300_000)
    r.send(b"y UID FETCH 1 (BODY.PEEK[])\r\n")
    with pytest.raises((AssertionError, OSError)):  # the connection ends in the midst of it
        r.until(b"y ")
    r = thurn.raw()
    r.login()
    r.command(b"SELECT INBOX")
    assert b"text of 2" in b"".join(r.command(b"UID FETCH 2 (BODY.PEEK[])"))
    r.close()


def test_clients_that_read_nothing_cost_no_memory_for_what_waits(thurn):
    r = thurn.raw()
    r.login()
    for number in range(10):
        r.append(letter(number, 1_000_000))
    before = [peak_memory(thurn.pid_of(role)) for role in ("frontend", "backend")]
    slow = []
    for _ in range(10):
        s = thurn.raw()
        s.login()
        s.command(b"SELECT INBOX")
        s.send(b"z FETCH 1:* (FLAGS BODY.PEEK[])\r\n")
        assert s.line().startswith(b"* 1 FETCH")
        slow.append(s)
    r.command(b"SELECT INBOX")
    for _ in range(3):  # while they wait, others read, all of it
        assert b"x OK" in r.command(b"FETCH 1:* (BODY.PEEK[])")[-1]
    after = [peak_memory(thurn.pid_of(role)) for role in ("frontend", "backend")]
    assert all(b - a < 30_000_000 for a, b in zip(before, after)), "of 100 MB that wait"
    for s in slow:
        assert s.until(b"z ")[-1].startswith(b"z OK")
        s.close()
    r.close()


def test_a_listing_is_the_same_in_one_answer_and_one_by_one(thurn):
    r = thurn.raw()
    r.login()
    for number in range(1, 41):
        r.append(letter(number, 50), b"(\\Seen $Work) " if number % 3 else b"(\\Flagged) ")
    r.command(b"SELECT INBOX (CONDSTORE)")
    r.command(b"STORE 5,9:11 +FLAGS.SILENT (\\Deleted)")
    r.command(b"EXPUNGE")
    r.command(b"STORE 7:9 -FLAGS.SILENT (\\Seen)")
    items = b"(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)"
    together = r.command(b"FETCH 1:* " + items)[:-1]
    single = [r.command(b"FETCH %d %s" % (n, items))[0] for n in range(1, 37)]
    with_more = [line for line in r.command(b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ "
                                            b"BODY.PEEK[]<0.1>)")[:-1] if line.startswith(b"* ")]
    assert together == single and len(together) == 36
    assert [line.split(b" BODY[]")[0] + b")\r\n" for line in with_more] == together
    r.close()

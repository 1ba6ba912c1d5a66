"""IMAP's extensions, each by hand: what a client asks, and what it is told."""

import base64
import contextlib
import os
import re
import zlib

from thurn_server import peak_memory, wait_for

LETTER = b"From: Carol <carol@example.org>\r\nSubject: news %d\r\n\r\nbody %d\r\n"


def fill(thurn, n):
    for i in range(n):
        assert thurn.deliver(LETTER % (i, i))[0][0] == 250


def session(thurn, select=True):
    r = thurn.raw()
    r.login()
    if select:
        r.command(b"SELECT INBOX")
    return r


def modseqs(lines):
    """Sequence number to modseq, of FETCH answers."""
    return {int(m[1]): int(m[2]) for m in
            (re.match(rb"\* (\d+) FETCH \(.*MODSEQ \((\d+)\)", line) for line in lines) if m}


def code(line, name):
    return re.search(rb"\[" + name + rb" ([^\]]*)\]", line)[1]


def test_what_is_announced_is_what_a_client_may_use(thurn):
    c = session(thurn, select=False)
    words = c.command(b"CAPABILITY")[0].split()
    for name in (b"UNSELECT NAMESPACE ID ENABLE MOVE XLIST LIST-EXTENDED LIST-STATUS SPECIAL-USE "
                 b"ESEARCH CONDSTORE QRESYNC UIDPLUS IDLE CHILDREN CREATE-SPECIAL-USE MULTIAPPEND "
                 b"BINARY COMPRESS=DEFLATE").split():
        assert name in words
    c.close()


def multiappend(c, messages, tag=b"m", mailbox=b"INBOX"):
    """APPEND of (options, message) pairs, without waiting; the tagged answer."""
    c.send(tag + b" APPEND " + mailbox + b"".join(
        b" %s{%d+}\r\n%s" % (options, len(m), m) for options, m in messages) + b"\r\n")
    return c.until(tag + b" ")[-1]


def test_many_messages_are_appended_in_one_step(thurn):
    c, other = session(thurn), session(thurn)
    letters = [LETTER % (i, i) for i in range(100)]
    answer = multiappend(c, [(b"(\\Seen w%d) " % (i % 3), m) for i, m in enumerate(letters)])
    assert code(answer, b"APPENDUID").split()[1] == b"1:100"
    assert b"* 100 EXISTS\r\n" in other.command(b"NOOP")
    assert len(other.command(b"SEARCH SEEN KEYWORD w2")[0].split()) == 2 + 33
    # Large ones, one with a date, and a literal8 with NUL among them.
    big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * 50000
    answer = multiappend(c, [(b"", big), (b'"17-Jul-1996 02:44:25 -0700" ', letters[0]),
                             (b"~", b"Subject: nul\r\n\r\na\0b"), (b"(Work) ", big)])
    assert code(answer, b"APPENDUID").split()[1] == b"101:104"
    lines = c.command(b"UID FETCH 102,104 (RFC822.SIZE INTERNALDATE)")
    assert b"17-Jul-1996 09:44:25 +0000" in lines[0] and b"RFC822.SIZE %d" % len(big) in lines[1]
    assert b"a\0b" in b"".join(c.command(b"UID FETCH 103 BODY.PEEK[TEXT]"))
    assert c.command(b"UID SEARCH SUBJECT big")[0] == b"* SEARCH 101 104\r\n"
    c.close()
    other.close()


def test_of_many_messages_all_are_appended_or_none(make_thurn):
    t = make_thurn({"message_size_limit": '"1 MB"'})
    c = session(t)
    small, big = LETTER % (1, 1), b"Subject: big\r\n\r\n" + b"x" * 900000
    empty = b""
    assert b"NO [TRYCREATE]" in multiappend(c, [(b"", small)] * 3, mailbox=b"Nowhere")
    assert b"NO [TOOBIG]" in multiappend(c, [(b"", small), (b"", b"x" * 1100000)])
    assert b"NO [TOOBIG]" in multiappend(c, [(b"", big)] * 3)
    assert b"NO [LIMIT]" in multiappend(c, [(b"", small)] * 1001)
    assert b" BAD " in multiappend(c, [(b"", small), (b"(\\Recent) ", small), (b"", small)])
    assert b" NO " in multiappend(c, [(b"", small), (b"", empty), (b"", small)])
    assert b"* STATUS INBOX (MESSAGES 0)\r\n" in c.command(b"STATUS INBOX (MESSAGES)")
    assert b" OK [APPENDUID" in multiappend(c, [(b"", big)] * 2)
    assert b"* STATUS INBOX (MESSAGES 2)\r\n" in c.command(b"STATUS INBOX (MESSAGES)")
    c.close()


def binary(c, items, where=b"1"):
    """FETCH of one BINARY item with a literal8: its bytes, and the tagged answer."""
    c.send(b"x FETCH " + where + b" " + items + b"\r\n")
    head = c.line()
    n = int(re.search(rb"\] ?(?:<\d+>)? ~\{(\d+)\}\r\n$", head.replace(b"> ~", b"] ~"))[1])
    body = c.file.read(n)
    return body, c.until(b"x ")[-1]


def test_binary_parts_come_decoded_with_their_exact_size(thurn):
    blob = bytes(range(256)) * 40000 + b"end"  # 10 MB, with NUL
    lines = base64.encodebytes(blob).replace(b"\n", b"\r\n")
    letter = (b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
              b"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=\r\n=C3=9Fe \r\n"
              b"\r\n--b\r\nContent-Type: application/octet-stream\r\n"
              b"Content-Transfer-Encoding: base64\r\n\r\n" + lines +
              b"\r\n--b\r\n\r\nplain\r\n"
              b"--b\r\nContent-Transfer-Encoding: x-own\r\n\r\nwhatever\r\n--b--\r\n")
    c = session(thurn)
    assert b" OK " in c.append(letter)
    assert b"BINARY.SIZE[2] %d)" % len(blob) in c.command(b"FETCH 1 BINARY.SIZE[2]")[0]
    got, answer = binary(c, b"BINARY.PEEK[2]")
    assert got == blob and answer.startswith(b"x OK")
    assert binary(c, b"BINARY.PEEK[2]<1000.77>")[0] == blob[1000:1077]
    assert binary(c, b"BINARY.PEEK[2]<%d.5000>" % (len(blob) - 3))[0] == b"end"
    assert binary(c, b"BINARY.PEEK[2]<99999999.5>")[0] == b""
    assert b"\\Seen" not in c.command(b"FETCH 1 (FLAGS BINARY.SIZE[3])")[0]
    assert binary(c, b"BINARY[1]")[0] == "Grüße".encode() + b"\r\n"
    assert b"\\Seen" in c.command(b"FETCH 1 FLAGS")[0]
    assert binary(c, b"BINARY.PEEK[3]") == (b"plain", b"x OK Completed\r\n")
    assert binary(c, b"BINARY.PEEK[]")[0] == letter
    assert c.command(b"FETCH 1 (UID BINARY.SIZE[1] BINARY.SIZE[3])")[0] == (
        b"* 1 FETCH (UID 1 BINARY.SIZE[1] 9 BINARY.SIZE[3] 5)\r\n")
    lines = c.command(b"FETCH 1 BINARY.PEEK[4]")
    assert lines[0] == b"* 1 FETCH (BINARY[4] NIL)\r\n"
    assert lines[-1].startswith(b"x NO [UNKNOWN-CTE]")
    assert b"NIL" in c.command(b"FETCH 1 BINARY.PEEK[9]")[0]
    assert c.command(b"FETCH 1 BINARY.SIZE[9]") == [b"x OK Completed\r\n"]
    c.close()


def test_unselect_keeps_what_is_marked_deleted(thurn):
    fill(thurn, 2)
    c = session(thurn)
    c.command(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert c.command(b"UNSELECT")[-1].startswith(b"x OK")
    assert c.command(b"FETCH 1 FLAGS")[-1].startswith(b"x BAD")
    assert b"* STATUS INBOX (MESSAGES 2)\r\n" in c.command(b"STATUS INBOX (MESSAGES)")
    c.close()


def test_namespace_id_and_enable(thurn):
    c = thurn.raw()
    c.line()
    assert b'* ID ("name" "Thurn")\r\n' in c.command(b'ID ("name" "tes\\"ter" "os" NIL)')
    assert c.command(b"ID (" + b'"a" "b" ' * 40 + b'"a" "b")')[-1].startswith(b"x BAD")
    c.command(b"LOGIN alice@example.test secret")
    assert c.command(b"NAMESPACE")[0] == b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    assert c.command(b"ENABLE X-UNKNOWN")[0] == b"* ENABLED\r\n"
    assert c.command(b"ENABLE CONDSTORE")[0] == b"* ENABLED CONDSTORE\r\n"
    c.close()
    assert "event=imap.client" in thurn.log_text() and "name=tes" in thurn.log_text()


def test_move_tells_new_uids_before_the_old_ones_are_gone(thurn):
    fill(thurn, 4)
    c, other = session(thurn), session(thurn)
    c.command(b"CREATE Archive")
    lines = c.command(b"UID MOVE 2:3 Archive")
    copied = next(i for i, line in enumerate(lines) if b"COPYUID" in line)
    gone = [i for i, line in enumerate(lines) if b"EXPUNGE" in line]
    assert code(lines[copied], b"COPYUID").split(b" ", 1)[1] == b"2:3 1:2"
    assert lines[copied].startswith(b"* OK") and len(gone) == 2 and copied < gone[0]
    assert lines[gone[0]] == lines[gone[1]] == b"* 2 EXPUNGE\r\n"
    assert [line for line in other.command(b"NOOP") if b"EXPUNGE" in line] == [b"* 2 EXPUNGE\r\n"] * 2
    assert b"* STATUS Archive (MESSAGES 2)\r\n" in c.command(b"STATUS Archive (MESSAGES)")
    assert b"[TRYCREATE]" in c.command(b"MOVE 1 Nowhere")[-1]
    c.command(b"EXAMINE INBOX")
    assert c.command(b"MOVE 1 Archive")[-1].startswith(b"x NO")
    assert b"* STATUS INBOX (MESSAGES 2)\r\n" in c.command(b"STATUS INBOX (MESSAGES)")
    c.close()
    other.close()


def test_search_returns_what_was_asked_for(thurn):
    fill(thurn, 6)
    c = session(thurn)
    c.command(b"STORE 2,4:5 +FLAGS.SILENT (\\Flagged)")
    assert c.command(b"SEARCH RETURN (MIN MAX COUNT) FLAGGED")[0] == \
        b'* ESEARCH (TAG "x") MIN 2 MAX 5 COUNT 3\r\n'
    assert c.command(b"UID SEARCH RETURN () FLAGGED")[0] == b'* ESEARCH (TAG "x") UID ALL 2,4:5\r\n'
    assert c.command(b"SEARCH RETURN (MIN) FLAGGED")[0] == b'* ESEARCH (TAG "x") MIN 2\r\n'
    assert c.command(b"SEARCH RETURN (ALL COUNT) DELETED")[0] == b'* ESEARCH (TAG "x") COUNT 0\r\n'
    assert c.command(b"SEARCH FLAGGED")[0] == b"* SEARCH 2 4 5\r\n"
    c.close()


def test_list_selects_and_returns(thurn):
    fill(thurn, 3)
    c = session(thurn, select=False)
    c.command(b"CREATE Work/Reports")
    c.command(b"CREATE Mist (USE (\\Junk))")
    for name in (b"INBOX", b"Work/Reports", b"Gone/Too"):
        c.command(b"SUBSCRIBE " + name)
    listed = c.command(b'LIST (SUBSCRIBED) "" "*"')
    assert b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX\r\n' in listed
    assert b'* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" Gone/Too\r\n' in listed
    assert not any(b"Mist" in line for line in listed)
    above = c.command(b'LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"')
    assert b'* LIST (\\Noselect \\HasChildren) "/" Work (CHILDINFO ("SUBSCRIBED"))\r\n' in above
    assert any(b'"/" Gone (CHILDINFO' in line for line in above)
    assert c.command(b'LIST (SPECIAL-USE) "" "M%"')[:-1] == \
        [b'* LIST (\\HasNoChildren \\Junk) "/" Mist\r\n']
    several = c.command(b'LIST "" (INBOX "Work/%") RETURN (STATUS (MESSAGES UNSEEN))')
    assert several[:4] == [b'* LIST (\\HasNoChildren) "/" INBOX\r\n',
                           b"* STATUS INBOX (MESSAGES 3 UNSEEN 3)\r\n",
                           b'* LIST (\\HasNoChildren) "/" Work/Reports\r\n',
                           b"* STATUS Work/Reports (MESSAGES 0 UNSEEN 0)\r\n"]
    older = c.command(b'XLIST "" "*"')
    assert b'* XLIST (\\HasNoChildren \\Spam) "/" Mist\r\n' in older
    assert any(b"\\Inbox" in line and line.endswith(b"INBOX\r\n") for line in older)
    c.close()


def test_condstore_tells_what_has_changed_since(thurn):
    fill(thurn, 4)
    c, other = session(thurn, select=False), session(thurn)
    lines = c.command(b"SELECT INBOX (CONDSTORE)")
    since = int(code(next(line for line in lines if b"HIGHESTMODSEQ" in line), b"HIGHESTMODSEQ"))
    other.command(b"STORE 3 +FLAGS.SILENT (\\Seen)")
    told = c.command(b"NOOP")
    assert modseqs(told)[3] > since
    changed = modseqs(c.command(b"FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % since))
    assert list(changed) == [3]
    found = c.command(b"SEARCH MODSEQ %d" % changed[3])[0]
    assert found == b"* SEARCH 3 (MODSEQ %d)\r\n" % changed[3]
    found = c.command(b'SEARCH RETURN (COUNT) MODSEQ "/flags/\\\\seen" all %d' % changed[3])[0]
    assert found == b'* ESEARCH (TAG "x") COUNT 1 MODSEQ %d\r\n' % changed[3]
    status = c.command(b"STATUS INBOX (HIGHESTMODSEQ)")[0]
    assert status == b"* STATUS INBOX (HIGHESTMODSEQ %d)\r\n" % changed[3]
    # The other one is told modseqs once it has asked for them, and from where on.
    lines = other.command(b"FETCH 1 (MODSEQ)")
    assert any(line.startswith(b"* OK [HIGHESTMODSEQ ") for line in lines) and 1 in modseqs(lines)
    c.close()
    other.close()


def test_conditional_store_leaves_alone_what_has_changed(thurn):
    fill(thurn, 3)
    c, other = session(thurn), session(thurn)
    since = max(modseqs(c.command(b"FETCH 1:* (MODSEQ)")).values())
    other.command(b"STORE 2 +FLAGS.SILENT (\\Answered)")
    lines = c.command(b"UID STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Deleted)" % since)
    assert code(lines[-1], b"MODIFIED") == b"2" and lines[-1].startswith(b"x OK")
    told = modseqs(lines)
    assert set(told) == {1, 2, 3} and told[1] == told[3] > told[2] > since
    # Silence about what the client has asked for itself, not about the other one's change.
    assert not any(b"FLAGS" in line for line in lines if line.startswith((b"* 1 ", b"* 3 ")))
    assert any(b"\\Answered" in line for line in lines if line.startswith(b"* 2 "))
    assert c.command(b"SEARCH DELETED")[0] == b"* SEARCH 1 3\r\n"
    c.close()
    other.close()


def test_qresync_brings_an_old_session_up_to_date(thurn):
    fill(thurn, 6)
    c, other = session(thurn, select=False), session(thurn)
    assert c.command(b"SELECT INBOX (QRESYNC (1 1))")[-1].startswith(b"x BAD")
    assert c.command(b"ENABLE QRESYNC")[0] == b"* ENABLED QRESYNC\r\n"
    lines = c.command(b"SELECT INBOX")
    known = [code(next(line for line in lines if name in line), name)
             for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ")]
    c.command(b"UNSELECT")
    other.command(b"STORE 2,4:5 +FLAGS.SILENT (\\Deleted)")
    other.command(b"EXPUNGE")
    other.command(b"STORE 2 +FLAGS.SILENT (\\Flagged)")
    lines = c.command(b"SELECT INBOX (QRESYNC (%s %s 1:6))" % tuple(known))
    assert b"* VANISHED (EARLIER) 2,4:5\r\n" in lines
    assert lines.index(b"* 3 EXISTS\r\n") < lines.index(b"* VANISHED (EARLIER) 2,4:5\r\n")
    changed = [line for line in lines if b"FETCH" in line]
    assert len(changed) == 1 and b"\\Flagged" in changed[0] and b"UID 3" in changed[0]
    assert sum(b"UIDNEXT" in line for line in lines) == 1
    # Only about what the client says it knows; nothing if the UIDs are others now.
    lines = c.command(b"SELECT INBOX (QRESYNC (%s %s 1:2,6))" % tuple(known))
    assert lines[0].startswith(b"* OK [CLOSED]") and b"* VANISHED (EARLIER) 2\r\n" in lines
    lines = c.command(b"SELECT INBOX (QRESYNC (4711 %s))" % known[1])
    assert not any(b"VANISHED" in line or b"FETCH" in line for line in lines)
    # The same for part of the mailbox.
    lines = c.command(b"UID FETCH 3:6 (FLAGS) (CHANGEDSINCE %s VANISHED)" % known[1])
    assert b"* VANISHED (EARLIER) 4:5\r\n" in lines and sum(b"FETCH (" in line for line in lines) == 1
    c.close()
    other.close()


def test_with_qresync_expunges_are_told_by_uid(thurn):
    fill(thurn, 5)
    c, other = session(thurn, select=False), session(thurn)
    c.command(b"ENABLE QRESYNC")
    c.command(b"SELECT INBOX")
    other.command(b"STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.command(b"EXPUNGE")
    assert b"* VANISHED 2\r\n" in c.command(b"NOOP")
    c.command(b"STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    lines = c.command(b"EXPUNGE")
    assert b"* VANISHED 1,3\r\n" in lines and not any(b"EXPUNGE\r\n" in line for line in lines[:-1])
    assert int(code(lines[-1], b"HIGHESTMODSEQ")) > 0
    told = other.command(b"NOOP")
    assert [line for line in told if line.endswith(b"EXPUNGE\r\n")] == \
        [b"* 1 EXPUNGE\r\n", b"* 1 EXPUNGE\r\n"]
    other.command(b"STORE 1 +FLAGS.SILENT (\\Seen)")
    assert any(b"UID 4" in line and b"MODSEQ" in line for line in c.command(b"NOOP"))
    c.close()
    other.close()


class Zipped:
    """What a raw client needs to go on compressed, after COMPRESS."""

    def __init__(self, sock, rest=b""):
        self.sock, self.buffer = sock, b""
        self.out, self.back = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.feed(rest)

    def feed(self, data):
        self.buffer += self.back.decompress(data)

    def send(self, data, flush=zlib.Z_SYNC_FLUSH):
        self.sock.sendall(self.out.compress(data) + self.out.flush(flush))

    def until(self, start):
        """Everything up to the line that begins so."""
        while not (m := re.search(rb"(?:^|\n)" + re.escape(start) + rb"[^\n]*\n", self.buffer)):
            data = self.sock.recv(65536)
            assert data, self.buffer[-300:]
            self.feed(data)
        said, self.buffer = self.buffer[:m.end()], self.buffer[m.end():]
        return said

    def command(self, text, tag=b"z"):
        self.send(tag + b" " + text + b"\r\n")
        return self.until(tag + b" ")


def test_a_compressed_session_says_the_same(thurn):
    fill(thurn, 20)
    plain = session(thurn)
    wanted = b"".join(plain.command(b"FETCH 1:* (UID ENVELOPE BODY.PEEK[])", tag=b"z"))
    assert b" COMPRESS=DEFLATE" in plain.command(b"CAPABILITY")[0]
    assert b" NO " in plain.command(b"COMPRESS GZIP")[-1]
    assert plain.command(b"COMPRESS DEFLATE")[-1].startswith(b"x OK")
    c = Zipped(plain.sock)
    assert c.command(b"FETCH 1:* (UID ENVELOPE BODY.PEEK[])") == wanted
    assert b"z NO [COMPRESSIONACTIVE]" in c.command(b"COMPRESS DEFLATE")
    assert b"COMPRESS" not in c.command(b"CAPABILITY")
    # Compressible, incompressible, and pushed while idling.
    for letter in (b"Subject: x\r\n\r\n" + b"line of text\r\n" * 200000,
                   b"Subject: y\r\n\r\n" + base64.encodebytes(os.urandom(2000000))):
        c.send(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(letter), letter))
        assert b"OK [APPENDUID" in c.until(b"a ")
        assert letter in c.command(b"FETCH * BODY.PEEK[]")
    c.send(b"i IDLE\r\n")
    c.until(b"+ ")
    thurn.deliver(LETTER % (1, 1))
    c.until(b"* 23 EXISTS")
    c.send(b"DONE\r\n")
    c.until(b"i OK")
    assert b"* BYE" in c.command(b"LOGOUT")
    plain.close()


def test_a_compressed_session_outlives_its_backend(thurn):
    fill(thurn, 1)
    c = session(thurn)
    c.command(b"COMPRESS DEFLATE")
    z = Zipped(c.sock)
    z.send(b"i IDLE\r\n")
    z.until(b"+ ")
    thurn.kill_role("backend")
    wait_for("a delivery", lambda: thurn.deliver(LETTER % (2, 2))[0][0] == 250)
    z.until(b"* 2 EXISTS")
    z.send(b"DONE\r\n")
    z.until(b"i OK")
    assert b"BINARY.SIZE[1] 8)" in z.command(b"FETCH 2 BINARY.SIZE[1]")
    c.close()


def test_many_messages_are_appended_once_though_the_backend_dies(thurn):
    c = session(thurn)
    text = b"m APPEND INBOX" + b"".join(b" {%d+}\r\n%s" % (len(m), m) for m in (LETTER % (i, i) for i in range(100)))
    c.send(text[:4000])
    thurn.kill_role("backend")
    c.send(text[4000:] + b"\r\n")
    assert code(c.until(b"m ")[-1], b"APPENDUID").split()[1] == b"1:100"
    c.send(text + b"\r\n")
    thurn.kill_role("backend")
    assert code(c.until(b"m ")[-1], b"APPENDUID").split()[1] == b"101:200"
    assert b"* STATUS INBOX (MESSAGES 200)\r\n" in c.command(b"STATUS INBOX (MESSAGES)")
    c.close()


def test_compression_under_tls_and_only_after_login(thurn):
    c = thurn.imaps(user=None)
    assert "COMPRESS=DEFLATE" not in c.capabilities
    c.send(b"x COMPRESS DEFLATE\r\n")
    assert c.readline().startswith(b"x BAD")
    c.login("alice@example.test", "secret")
    c.send(b"x COMPRESS DEFLATE\r\n")
    assert c.readline().startswith(b"x OK")
    z = Zipped(c.sock)
    assert b"z OK" in z.command(b"SELECT INBOX")
    z.sock.sendall(b"b NOOP\r\n")  # in clear: the connection is over
    with contextlib.suppress(OSError):
        while z.sock.recv(65536):
            pass
    assert session(thurn).command(b"NOOP")[-1].startswith(b"x OK")


def test_a_compression_bomb_costs_its_sender_only(thurn):
    """100 MB of zeros in 100 KB are an over-long line, as they would be uncompressed."""
    r, other = session(thurn), session(thurn)
    r.command(b"COMPRESS DEFLATE")
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = b"\0" * 1000000
    frontend = thurn.pid_of("frontend")
    before = peak_memory(frontend)
    with contextlib.suppress(OSError):
        for _ in range(100):
            r.sock.sendall(bomb.compress(zeros))
            assert other.command(b"NOOP")[-1].startswith(b"x OK")
        r.sock.sendall(bomb.compress(b"\r\n") + bomb.flush(zlib.Z_SYNC_FLUSH))
        back = zlib.decompressobj(-15)
        said = b""
        while b"\n" not in said:
            data = r.sock.recv(65536)
            assert data
            said += back.decompress(data)
        assert b" BAD " in said or b"* BYE" in said
    assert peak_memory(frontend) - before < 20_000_000
    r.close()
    other.close()


def test_search_in_other_charsets(thurn):
    thurn.deliver("Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_=C5=81=C3=B3d=C5=BA?=\r\n"
                  "From: =?iso-8859-1?Q?J=FCrgen?= =?utf-8?B?IE3DvGxsZXI=?= <j@example.org>\r\n"
                  "To: =?utf-8?Q?Zo=C3=AB?= <zoe@example.org>, plain@example.org\r\n"
                  "Cc: kollegen@example.org (=?utf-8?Q?B=C3=BCro?=)\r\nComments: =?utf-8?Q?=C3=84rger?=\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\n\r\nПривет, こんにちは\r\n".encode())
    fill(thurn, 1)
    c = session(thurn)
    for charset, key, text in (("ISO-8859-1", b"SUBJECT", "grüße"), ("ISO-8859-2", b"SUBJECT", "łódź"),
                               ("KOI8-R", b"BODY", "привет"), ("windows-1251", b"TEXT", "ПРИВЕТ"),
                               ("Shift_JIS", b"BODY", "こんにちは"), ("ISO-2022-JP", b"BODY", "こんに"),
                               ("UTF-8", b"HEADER Subject", "aus łó"), ("UTF-8", b"FROM", "jürgen müller <j@"),
                               ("ISO-8859-1", b"TO", "zoë"), ("UTF-8", b"CC", "büro"),
                               ("UTF-8", b"HEADER Comments", "ärger"), ("UTF-8", b"HEADER From", "müller"),
                               ("ISO-8859-1", b"TEXT", "Jürgen Müller")):
        raw = text.encode(charset)
        c.send(b"x SEARCH CHARSET %s %s {%d+}\r\n%s UNSEEN\r\n" % (charset.encode(), key, len(raw), raw))
        assert c.until(b"x ") == [b"* SEARCH 1\r\n", b"x OK Completed\r\n"], charset
    answer = c.command(b"SEARCH CHARSET KLINGON TEXT {3+}\r\nabc")[-1]
    assert answer.startswith(b"x NO [BADCHARSET (US-ASCII UTF-8 ") and b"KOI8-R" in answer
    assert c.command(b"SEARCH CHARSET UTF-8 SUBJECT {2+}\r\n\xff\xfe")[-1].startswith(b"x BAD")
    c.close()

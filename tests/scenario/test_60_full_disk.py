"""A store on a small file system of its own that becomes full. Needs the right to mount one."""

import subprocess

from thurn_server import wait_for

import pytest


@pytest.fixture
def on_small_disk(make_thurn):
    t = make_thurn(start=False)
    disk = t.dir / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m,mode=755", "tmpfs", disk],
                          capture_output=True)
    if done.returncode:
        pytest.skip("no right to mount")
    t.settings.update({"data_dir": f'"{disk}/data"', "history": '"1 s"', "segment_size": '"4 MB"'})
    t.configure()
    try:
        yield t.start()
    finally:
        t.stop()
        subprocess.run(["umount", "--lazy", disk], check=True)


def sizes(c):
    return [int(row.split(b"RFC822.SIZE ")[1].rstrip(b")")) for row in c.fetch("1:*", "RFC822.SIZE")[1]]


@pytest.mark.parametrize("size", [3 << 16, 3 << 12])
def test_a_full_disk_has_room_again_after_expunging(on_small_disk, size):
    t = on_small_disk
    message = b"Subject: letter\r\n\r\n" + b"0123456789abcdef\r\n" * size
    accepted = 0
    while t.deliver(message)[0][0] == 250:
        accepted += 1
        assert accepted < 2048
    c = t.imap()
    c.select("INBOX")
    keep = accepted // 8
    assert c.store(f"{keep + 1}:*", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert c.expunge()[0] == "OK"
    wait_for("room again", lambda: t.deliver(message)[0][0] == 250)
    for _ in range(accepted // 2):
        wait_for("room again", lambda: t.deliver(message)[0][0] == 250)
    kept = c.fetch(f"1:{keep}", "BODY.PEEK[]")[1]
    assert sum(message in part[1] for part in kept if isinstance(part, tuple)) == keep
    c.logout()
    t.stop()
    assert "everything is in order" in t.cli("store", "check").stdout


def test_a_full_disk_refuses_mail_and_lets_users_delete(on_small_disk):
    t = on_small_disk
    message = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * (3 << 16)
    accepted = 0
    while (answer := t.deliver(message)[0])[0] == 250:
        accepted += 1
        assert accepted < 128
    assert answer[0] == 452 and answer[1].startswith(b"4.3.1"), answer
    assert accepted > 10
    c = t.imap()
    assert c.select("INBOX")[1] == [b"%d" % accepted]
    status, text = c.append("INBOX", None, None, message)
    assert status == "NO" and b"full" in text[0]
    assert c.create("Keep")[0] == "OK"
    assert c.copy("1", "Keep")[0] == "OK"
    assert c.store("1:5", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert len(c.expunge()[1]) == 5
    c.logout()
    t.kill_role("backend")
    t.stop()
    t.start()
    c = t.imap()
    assert c.select("INBOX")[1] == [b"%d" % (accepted - 5)]
    assert len(set(sizes(c))) == 1
    kept = c.fetch("1:*", "BODY.PEEK[]")[1]
    assert all(message in part[1] for part in kept if isinstance(part, tuple))
    assert c.select("Keep")[1] == [b"1"]
    assert c.delete("Keep")[0] == "OK"
    c.logout()

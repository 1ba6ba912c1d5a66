"""A store on a small file system of its own that becomes full. Needs the right to mount one."""

import subprocess

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
    t.settings["data_dir"] = f'"{disk}/data"'
    t.configure()
    try:
        yield t.start()
    finally:
        t.stop()
        subprocess.run(["umount", "--lazy", disk], check=True)


def sizes(c):
    return [int(row.split(b"RFC822.SIZE ")[1].rstrip(b")")) for row in c.fetch("1:*", "RFC822.SIZE")[1]]


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

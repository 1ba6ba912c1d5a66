"""Roles that die, are restarted, or try what their sandbox forbids."""

import os
import signal

import pytest

from thurn_server import wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.mark.parametrize("role", ["frontend", "backend", "scanner"])
def test_a_killed_role_comes_back_and_mail_goes_on(thurn, role):
    thurn.deliver(LETTER)
    thurn.kill_role(role)
    multipart = (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n")
    wait_for("delivery", lambda: thurn.deliver(multipart)[0][0] == 250)
    c = thurn.imap()
    assert c.select("INBOX") == ("OK", [b"2"])
    # Parsed, not delivered flat for want of a scanner.
    assert b'"MIXED"' in c.fetch("2", "(BODYSTRUCTURE)")[1][0]
    c.logout()


@pytest.mark.parametrize("role", ["frontend", "backend", "scanner"])
def test_restart_of_a_role_by_command(thurn, role):
    before = {r["pid"] for r in thurn.status() if r["role"] == role}
    thurn.cli("restart", role)
    wait_for("new processes", lambda: all(
        r["ready"] and r["pid"] not in before for r in thurn.status() if r["role"] == role))
    assert thurn.deliver(LETTER)[0][0] == 250


def test_a_client_whose_backend_dies_stays_connected(thurn):
    r = thurn.raw()
    r.login()
    r.command(b"SELECT INBOX")
    thurn.kill_role("backend")
    assert r.command(b"NOOP")[-1].startswith(b"x OK")
    r.close()


@pytest.mark.parametrize("what", ["crash", "stall"])
def test_a_message_that_kills_or_stalls_a_scanner_is_delivered_flat(make_thurn, what):
    t = make_thurn({"scan_timeout": '"1 s"'})
    letter = (b"X-Thurn-Probe: " + what.encode() + b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
              b"--b\r\n\r\none\r\n--b--\r\n")
    assert t.deliver(letter)[0][0] == 250
    assert t.deliver(LETTER)[0][0] == 250
    c = t.imap()
    assert c.select("INBOX") == ("OK", [b"2"])
    assert c.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(letter)
    assert b'("text" "plain"' in c.fetch("1", "(BODYSTRUCTURE)")[1][0].lower()
    c.logout()
    assert "event=scan" in t.log_text() or "scanner" in t.log_text()


def test_scanners_are_replaced_after_their_number_of_messages(make_thurn):
    t = make_thurn({"scanner_jobs": "5", "scanners": "1"})
    first = t.pid_of("scanner")
    for _ in range(12):
        assert t.deliver(LETTER)[0][0] == 250
    wait_for("a new scanner", lambda: t.pid_of("scanner") != first)
    assert t.deliver(LETTER)[0][0] == 250
    wait_for("the old one to go", lambda: not os.path.exists(f"/proc/{first}"))


ATTEMPTS = [("open", "/etc/passwd"), ("create", "/tmp/thurn-probe"), ("connect", "127.0.0.1:{imap}"),
            ("unix", "{dir}/run/supervisor.sock"), ("socket", ""), ("exec", "/bin/true"),
            ("ptrace", "{other}"), ("kill", "{other}"), ("fork", ""), ("datagram", ""),
            ("fastopen", "127.0.0.1:{imap}")]


@pytest.mark.parametrize("role", ["frontend", "backend", "scanner"])
@pytest.mark.parametrize("attempt, target", ATTEMPTS, ids=[a for a, _ in ATTEMPTS])
def test_the_sandbox_forbids(sandboxed, role, attempt, target):
    other = sandboxed.pid_of("backend" if role != "backend" else "frontend")
    target = target.format(dir=sandboxed.dir, imap=sandboxed.imap_port, other=other)
    done = sandboxed.cli("probe", role, "0", attempt, target)
    assert done.stdout.startswith("refused"), done.stdout


def test_the_backend_opens_what_is_its_own(sandboxed):
    """The attempts themselves work where they may."""
    done = sandboxed.cli("probe", "backend", "0", "create", f"{sandboxed.dir}/data/probe")
    assert done.stdout.startswith("succeeded"), done.stdout


@pytest.fixture(scope="module")
def sandboxed():
    from thurn_server import Thurn
    t = Thurn().start()
    yield t
    t.stop()
    t.remove()


@pytest.mark.parametrize("role", ["frontend", "backend", "scanner"])
def test_a_role_that_says_what_it_may_not_is_ended(thurn, role):
    """Frame 2 is a listener: only the supervisor hands those over."""
    before = next(r for r in thurn.status() if r["role"] == role and r["index"] == 0)
    thurn.cli("probe", role, "0", "frame:2", check=False)
    thurn.wait_new(role, before["generation"])
    assert "broke-a-rule" in thurn.log_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each role a user of its own")
def test_each_role_has_a_user_of_its_own(thurn):
    users = {}
    for r in thurn.status():
        users.setdefault(r["role"], set()).add(os.stat(f"/proc/{r['pid']}").st_uid)
        with open(f"/proc/{r['pid']}/status") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
        assert int(fields["CapEff"], 16) == 0
    ids = [next(iter(u)) for u in users.values()]
    with open(f"/proc/{thurn.pid_of('backend')}/status") as f:
        assert "Uid:\t0" not in f.read()
    assert len(set(ids)) == 3


def test_the_supervisor_restarts_with_back_off(thurn):
    generations = []
    for _ in range(3):
        before = thurn.role("scanner", 1)
        generations.append(before["generation"])
        os.kill(before["pid"], signal.SIGSEGV)
        thurn.wait_new("scanner", before["generation"], 1)
    assert generations == sorted(set(generations))
    assert next(r for r in thurn.status() if r["role"] == "scanner" and r["index"] == 1)["restarts"] >= 3

"""Roles that hang - alive for the kernel, of no use to anybody - are replaced like those that die; and
`thurn status` says what is the case with each."""

import contextlib
import os
import signal
import time

import pytest

from thurn_server import wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"
MULTIPART = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"
SOON = {"hang_timeout": '"2 s"', "scan_timeout": '"1 s"'}


@pytest.fixture
def watched(make_thurn):
    return make_thurn(SOON)


def hang(t, role):
    """The role's first process stops to turn; it stays where it is."""
    process = t.role(role)
    os.kill(process["pid"], signal.SIGSTOP)
    return process


def replaced(t, process):
    t.wait_new(process["role"], process["generation"], process["index"])
    wait_for("the end of the one that hung", lambda: not os.path.exists(f"/proc/{process['pid']}"))
    assert f"event=role.hung of={process['role']} number=0 pid={process['pid']}" in t.log_text()


def count(t):
    c = t.imap()
    n = int(c.select("INBOX")[1][0])
    c.logout()
    return n


@pytest.mark.parametrize("role", ["frontend", "backend", "scanner"])
def test_after_a_role_has_hung_users_log_in_and_mail_comes_in(watched, role):
    assert watched.deliver(LETTER)[0][0] == 250
    replaced(watched, hang(watched, role))
    assert watched.deliver(MULTIPART)[0][0] == 250
    c = watched.imap()
    assert c.select("INBOX") == ("OK", [b"2"])
    assert b'"MIXED"' in c.fetch("2", "(BODYSTRUCTURE)")[1][0]  # a scanner looked at it
    c.logout()


def test_who_asks_while_the_backend_hangs_is_answered_by_the_next(watched):
    """A client that idles, one in the midst of a command, one that logs in, and a letter."""
    idler, worker = watched.raw(), watched.raw()
    for c in (idler, worker):
        c.login()
        c.command(b"SELECT INBOX")
    idler.send(b"i IDLE\r\n")
    idler.until(b"+ ")
    hung = hang(watched, "backend")
    worker.send(b"w STATUS INBOX (MESSAGES)\r\n")
    newcomer = watched.raw()
    newcomer.line()
    newcomer.send(b"n LOGIN bob@example.test secret\r\n")
    assert watched.deliver(LETTER)[0][0] == 250
    assert idler.until(b"* 1 EXISTS")
    assert worker.until(b"w ")[-1].startswith(b"w OK")
    assert newcomer.until(b"n ")[-1].startswith(b"n OK")
    replaced(watched, hung)
    idler.send(b"DONE\r\n")
    assert idler.until(b"i ")[-1].startswith(b"i OK")
    assert idler.command(b"UID SEARCH ALL")[0] == b"* SEARCH 1\r\n"
    for c in (idler, worker, newcomer):
        c.close()


def test_processes_that_were_stopped_together_are_all_kept(watched):
    """A suspended machine, or Ctrl-Z: whoever did not run itself draws no conclusions. That time
    passes is what this is about: there is nothing else to wait for."""
    assert watched.deliver(LETTER)[0][0] == 250
    c = watched.imap()
    before = watched.status()
    os.killpg(watched.process.pid, signal.SIGSTOP)
    time.sleep(2.5 * 2)
    os.killpg(watched.process.pid, signal.SIGCONT)
    assert c.select("INBOX") == ("OK", [b"1"])
    assert watched.deliver(LETTER)[0][0] == 250
    c.logout()
    assert [r["pid"] for r in watched.status()] == [r["pid"] for r in before]
    assert "role.hung" not in watched.log_text()


def test_without_a_timeout_nobody_is_ended_and_a_reload_sets_one(make_thurn):
    t = make_thurn({**SOON, "hang_timeout": '"0 s"'})
    process = hang(t, "frontend")
    time.sleep(2.5 * 2)  # as above
    assert t.role("frontend")["pid"] == process["pid"]
    t.settings.update(SOON)
    t.configure()
    t.cli("reload")
    replaced(t, process)
    assert count(t) == 0


# -- thurn status --

def text_of(t, role):
    return next(line for line in t.cli("status").stdout.splitlines() if line.startswith(f"{role} "))


def test_status_tells_since_when_a_role_serves_and_how_often_it_was_restarted(thurn):
    thurn.kill_role("frontend")
    r = thurn.role("frontend")
    assert (r["state"], r["ready"], r["restarts"]) == ("ready", True, 1)
    assert 0 <= r["seconds"] < 3600
    words = text_of(thurn, "frontend").split()
    assert words[:5] == ["frontend", "0", str(r["pid"]), "1", "ready"] and words[6] == "s"


def test_status_of_a_role_that_waits_for_its_next_start(thurn):
    """One that cannot stay up is started after pauses; meanwhile there is no process to be named."""
    def kill():
        r = next(r for r in thurn.status() if r["role"] == "frontend")
        with contextlib.suppress(TypeError, ProcessLookupError):  # no process; gone by itself
            os.kill(r["pid"], signal.SIGKILL)
        return r

    def line_of_one_that_waits():
        kill()
        words = text_of(thurn, "frontend").split()
        return words if words[4] == "restarting" else None
    r = wait_for("a pause", lambda: next((r for r in [kill()] if r["state"] == "restarting"), None))
    assert r["pid"] is None and not r["ready"] and r["restarts"] >= 1 and r["seconds"] >= 0
    assert wait_for("a pause", line_of_one_that_waits)[2] == "-"


def test_status_of_a_role_that_is_told_to_stop_and_does_not(make_thurn):
    t = make_thurn({**SOON, "hang_timeout": '"0 s"'})
    process = hang(t, "backend")
    t.cli("restart", "backend")
    r = t.role("backend")
    assert (r["pid"], r["state"], r["ready"]) == (process["pid"], "ending", False)
    t.wait_new("backend", process["generation"])


def test_status_of_a_role_that_is_starting(thurn):
    """The backend's process is there, but does not come to serve."""
    before = thurn.role("backend")

    def starting():
        """A successor that was stopped before it was ready."""
        r = thurn.role("backend")
        if r["generation"] != before["generation"] and r["state"] == "starting":
            os.kill(r["pid"], signal.SIGSTOP)
            r = thurn.role("backend")
            if r["state"] == "starting":
                return r
        with contextlib.suppress(ProcessLookupError):
            os.kill(r["pid"], signal.SIGKILL)
        return None
    r = wait_for("a backend that is starting", starting)
    assert not r["ready"] and r["restarts"] >= 1
    os.kill(r["pid"], signal.SIGCONT)
    thurn.wait_new("backend", r["generation"] - 1)

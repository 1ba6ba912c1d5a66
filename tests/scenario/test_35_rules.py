"""Roles that ask what they may not: every frame there is, on every kind of channel."""

import re

import pytest

from thurn_server import ROOT, Thurn, wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"
FRAMES = {name: int(number) for number, name in re.findall(
    r"^ +X\((\d+), +[A-Z_]+, +([a-z_]+),", (ROOT / "src/rpc/rpc.h").read_text(), re.M)}
SUPERVISORS = "role_start"  # any frame that only the supervisor says


@pytest.fixture(scope="module")
def server():
    t = Thurn().start()
    yield t
    t.stop()
    t.remove()


class Denials:
    """The frames that owners have denied since it was made, by the log."""

    def __init__(self, server):
        self.server, self.start = server, len(server.log_text())

    def of(self, role):
        return re.findall(rf"role={role}\S* event=chan.denied frame=(\S+)",
                          self.server.log_text()[self.start:])


def probe(server, role, name, channel):
    done = server.cli("probe", role, "0", f"frame:{FRAMES[name]}", channel, check=False)
    # Whoever is ended for what it said may be gone before it can tell that it said it.
    return "succeeded sent" if "the role ended" in done.stderr else done.stdout.strip()


def assert_serves(server):
    wait_for("delivery", lambda: server.deliver(LETTER)[0][0] == 250)
    c = server.imap()
    assert c.select("INBOX")[0] == "OK"
    assert c.fetch("*", "(BODY.PEEK[])")[1][0][1].endswith(LETTER)
    c.logout()


def test_the_list_of_frames_is_whole():
    assert len(FRAMES) > 50 and len(set(FRAMES.values())) == len(FRAMES)
    assert len(FRAMES) == (ROOT / "src/rpc/rpc.h").read_text().count("\n    X(")


# What a new session may be asked, and what comes of it with an empty message.
PERMITTED = {"imap": {"imap_login": "succeeded answered", "imap_noop": "succeeded answered"},
             "lmtp": {"lmtp_recipient": "refused ended", "lmtp_deliver": "refused ended"}}


@pytest.mark.parametrize("kind", PERMITTED)
def test_a_new_session_takes_nothing_but_what_its_state_permits(server, kind):
    denials = Denials(server)
    for name in FRAMES:
        assert probe(server, "frontend", name, kind) == PERMITTED[kind].get(name, "refused ended"), name
    assert denials.of("backend") == [name for name in FRAMES if name not in PERMITTED[kind]]
    assert_serves(server)


def test_a_client_whose_backend_says_what_nobody_asked_is_told_goodbye(server):
    """Whatever the backend says to a session that waits for nothing ends it, and no other; of that,
    only a goodbye is permitted."""
    other = server.imap("bob")
    denials = Denials(server)
    for name in FRAMES:
        r = server.raw()
        r.login()
        assert probe(server, "backend", name, "session") == "succeeded sent"
        r.until(b"* BYE")
        r.close()
    assert denials.of("frontend") == [name for name in FRAMES if name != "imap_bye"]
    assert other.noop()[0] == "OK"
    other.logout()
    assert_serves(server)


# What the backend hears from scanners is in test_rules.c, all of it.
@pytest.mark.parametrize("role, channel, owner, permitted, frames", [
    ("backend", "scanner", "scanner", {"scan_parse"}, list(FRAMES)),
    ("scanner", "backend", "backend", {"scan_parsed"}, ["scan_parse", "session_open", "scan_parsed"])])
def test_a_scanner_and_its_owner_keep_to_parsing(server, role, channel, owner, permitted, frames):
    """Either side hears of nothing else. The scanner is replaced each time, also for an answer
    that nobody asked for."""
    denials = Denials(server)
    for name in frames:
        before = {(r["index"], r["generation"]) for r in server.status() if r["role"] == "scanner"}
        assert probe(server, role, name, channel) == "succeeded sent"
        wait_for("a new scanner", lambda: all(r["ready"] for r in server.status()) and {
            (r["index"], r["generation"]) for r in server.status() if r["role"] == "scanner"} != before)
    assert denials.of(owner) == [name for name in frames if name not in permitted]
    assert_serves(server)


@pytest.mark.parametrize("role, channel, owner", [
    ("frontend", "backend", "backend"), ("backend", "frontend", "frontend")])
def test_a_frontend_and_a_backend_that_break_a_rule_get_a_new_channel(server, role, channel, owner):
    """The backend's whole table is in test_rules.c; here, that both go on afterwards: the frontend
    is replaced, for nobody else is given a channel to the backend."""
    denials = Denials(server)
    before = next(r for r in server.status() if r["role"] == "frontend")
    backend = server.pid_of("backend")
    assert probe(server, role, SUPERVISORS, channel) == "succeeded sent"
    server.wait_new("frontend", before["generation"])
    assert denials.of(owner) == [SUPERVISORS]
    assert server.pid_of("backend") == backend
    assert_serves(server)

"""The thurn command, as an operator uses it."""

import json
import os
import re
import socket
import subprocess

import pytest

from thurn_server import BINARY, wait_for


def thurn_command(*words, **kw):
    return subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=60, **kw)


def test_help_and_version_need_no_configuration():
    assert "Usage: thurn" in thurn_command("--help").stdout
    assert thurn_command("--version").stdout.startswith("thurn ")
    assert thurn_command().returncode == 2
    assert thurn_command("--nonsense").returncode == 2
    assert "no command" in thurn_command("fly").stderr


def test_domains_and_accounts_are_added_listed_and_removed(thurn):
    assert thurn.cli("domain", "list").stdout.split() == ["example.test"]
    thurn.cli("domain", "add", "Second.Test")
    assert json.loads(thurn.cli("domain", "list", "--json").stdout)[1]["domain"] == "second.test"
    thurn.cli("account", "add", "--password-stdin", "carol@second.test", input="very secret\n")
    rows = json.loads(thurn.cli("account", "list", "--json").stdout)
    assert [r["address"] for r in rows] == ["alice@example.test", "bob@example.test",
                                            "carol@second.test"]
    c = thurn.imap(login=False)
    c.login("carol@second.test", "very secret")
    c.logout()
    refused = thurn.cli("domain", "remove", "second.test", check=False)
    assert refused.returncode == 1 and refused.stderr
    thurn.cli("account", "remove", "carol@second.test")
    thurn.cli("domain", "remove", "second.test")
    assert thurn.cli("domain", "list").stdout.split() == ["example.test"]


def test_what_is_wrong_is_said_and_the_exit_status_tells(thurn):
    for words in (["domain", "add", "example.test"], ["domain", "add", "not a domain"],
                  ["account", "add", "--hash", "{PLAIN}x", "alice@example.test"],
                  ["account", "add", "--hash", "{PLAIN}x", "x@elsewhere.test"],
                  ["account", "remove", "nobody@example.test"]):
        done = thurn.cli(*words, check=False)
        assert done.returncode == 1, words
        assert done.stderr.startswith("thurn: ") and len(done.stderr) > 15, words


def test_a_changed_password_is_asked_for_from_now_on(thurn):
    thurn.cli("account", "password", "--password-stdin", "alice@example.test", input="other\n")
    c = thurn.imap(login=False)
    with pytest.raises(c.error):
        c.login("alice@example.test", "secret")
    c.login("alice@example.test", "other")
    c.logout()


def test_status_shows_every_role_ready(thurn):
    roles = thurn.status()
    assert {r["role"] for r in roles} == {"frontend", "backend", "scanner"}
    assert all(r["ready"] and r["pid"] for r in roles)
    assert "frontend" in thurn.cli("status").stdout


def test_a_wrong_configuration_leaves_the_running_one_in_force(thurn):
    good = thurn.conf.read_text()
    thurn.conf.write_text(good.replace("log_level = info", 'log_level = info\nworkers = "many"'))
    done = thurn.cli("reload", check=False)
    assert done.returncode == 1
    line = next(i for i, text in enumerate(thurn.conf.read_text().splitlines(), 1)
                if "workers" in text)
    assert f"thurn.conf:{line}:" in done.stderr and "many" in done.stderr
    assert all(r["ready"] for r in thurn.status())
    assert thurn.imap().select("INBOX")[0] == "OK"
    thurn.conf.write_text(good)
    assert thurn.cli("reload").returncode == 0


def test_reload_puts_new_settings_in_force(thurn):
    thurn.settings["message_size_limit"] = '"2 KB"'
    thurn.configure()
    thurn.cli("reload")
    with thurn.lmtp() as c:
        c.ehlo_or_helo_if_needed()
        assert c.esmtp_features["size"] == "2048"


@pytest.mark.parametrize("text, said", [
    ("nonsense = 1\n", "nonsense"), ("workers = -3\n", "workers"), ("data_dir = \n", ":"),
    ('imap_idle_timeout = "5 parsecs"\n', "parsecs"), ('listen { imap = {"here"} }\n', "here"),
    ('cleartext_login_from = {"300.1.1.1"}\n', "300.1.1.1"),
])
def test_a_broken_configuration_is_named_with_file_line_and_reason(make_thurn, text, said):
    t = make_thurn(start=False)
    t.conf.write_text(text)
    done = t.cli("run", check=False)
    assert done.returncode == 1
    assert re.search(r"thurn\.conf:[12]: ", done.stderr) and said in done.stderr
    assert not (t.dir / "data").exists()


def test_a_port_in_use_is_named(make_thurn):
    t = make_thurn(start=False)
    with socket.socket() as s:
        s.bind(("127.0.0.1", t.imap_port))
        s.listen()
        done = t.cli("run", check=False)
    assert done.returncode == 1
    assert str(t.imap_port) in done.stderr and "in use" in done.stderr


def test_a_directory_of_another_format_is_refused_untouched(make_thurn):
    t = make_thurn(start=False)
    store = t.dir / "data" / "store"
    store.mkdir(parents=True)
    (store / "dovecot.index").write_text("something else")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "64102:64102", t.dir / "data"], check=True)
    done = t.cli("run", check=False)
    assert done.returncode == 1
    assert "store" in done.stderr
    assert [p.name for p in store.iterdir()] == ["dovecot.index"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_directory_of_another_owner_is_refused(make_thurn):
    t = make_thurn(start=False)
    (t.dir / "data").mkdir()
    os.chown(t.dir / "data", 12345, 12345)
    done = t.cli("run", check=False)
    assert done.returncode == 1
    assert "12345" in done.stderr and "chown" in done.stderr


def test_a_second_thurn_on_the_same_data_is_refused(thurn):
    done = thurn.cli("run", check=False)
    assert done.returncode == 1 and "another thurn" in done.stderr
    assert thurn.imap().select("INBOX")[0] == "OK"


def test_without_a_running_thurn_the_command_says_how_to_start_it(make_thurn):
    t = make_thurn(start=False)
    done = t.cli("domain", "list", check=False)
    assert done.returncode == 1 and "thurn run" in done.stderr


def test_store_check_finds_a_flipped_byte_and_changes_nothing(thurn):
    marker = b"a very recognizable line of text"
    thurn.deliver(b"Subject: x\r\n\r\n" + marker + b"\r\n")
    thurn.stop()
    done = thurn.cli("store", "check")
    assert "in order" in done.stdout
    hit = next(p for p in (thurn.dir / "data/store/log").iterdir() if marker in p.read_bytes())
    content = hit.read_bytes()
    at = content.index(marker)
    hit.write_bytes(content[:at] + b"A" + content[at + 1:])
    done = thurn.cli("store", "check", "--json", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"]


def test_ctrl_c_stops_everything_cleanly(thurn):
    pids = [r["pid"] for r in thurn.status()]
    assert thurn.stop() == 0
    wait_for("all processes to end", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids))
    assert not list((thurn.dir / "run").iterdir())


def test_every_option_stands_in_the_manual_page():
    from thurn_server import ROOT
    manual = (ROOT / "docs/man/thurn.conf.5").read_text()
    options = re.findall(r"^# (\w+) = ", thurn_command("config", "defaults").stdout, re.M)
    assert len(options) > 20
    assert [o for o in options if f".B {o}\n" not in manual] == []


def test_every_command_stands_in_the_manual_page():
    from thurn_server import ROOT
    manual = (ROOT / "docs/man/thurn.1").read_text().replace('" "', " ").replace('"', "")
    commands = re.findall(r"^  ([a-z][a-z ]+[a-z])(?: [A-Z\[f].*)?$", thurn_command("--help").stdout, re.M)
    assert {"run", "store check", "account add"} <= set(commands)
    for words in set(commands) - {"probe"}:  # of test builds only
        assert all(word in manual for word in words.split()), words

"""From nothing to a running mail server: thurn setup, what is installed, the service manager."""

import contextlib
import imaplib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile

import pytest

from thurn_server import BINARY, DEADLINE, free_port, wait_for


class Host:
    """A directory that stands for a host on which thurn is to be set up."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="thurn-test-"))
        self.dir.chmod(0o755)
        self.conf = self.dir / "etc/thurn.conf"
        self.data = self.dir / "data/mail"

    def command(self, *words):
        return [BINARY, "--config", self.conf, "--data-dir", self.data, "--run-dir",
                self.dir / "run", *words]

    def setup(self, domain="example.test", *options):
        return subprocess.run(self.command(*options, "setup", domain), capture_output=True,
                              text=True, timeout=DEADLINE)

    def move_ports(self):
        """Free ports in place of the usual ones; the IMAPS port is returned."""
        moved = {}

        def move(m):
            moved.setdefault(m[1], free_port())
            return f':{moved[m[1]]}"'

        self.conf.write_text(re.sub(r':(\d+)"', move, self.conf.read_text()))
        return moved["993"]


@pytest.fixture
def host():
    h = Host()
    yield h
    shutil.rmtree(h.dir, ignore_errors=True)


class ImapAs(imaplib.IMAP4_SSL):
    """Connects to loopback, and expects the certificate of `name` there."""

    def __init__(self, name, port, cafile):
        self.server_name = name
        super().__init__(name, port, ssl_context=ssl.create_default_context(cafile=cafile),
                         timeout=DEADLINE)

    def _create_socket(self, timeout):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout)
        return self.ssl_context.wrap_socket(plain, server_hostname=self.server_name)


def serve(host, work):
    """Runs thurn on the host's configuration while work() runs."""
    with open(host.dir / "notes", "w+b") as notes, open(host.dir / "log", "wb") as log:
        process = subprocess.Popen([BINARY, "--config", host.conf, "--note", "run"], stdout=notes,
                                   stderr=log, start_new_session=True)
        try:
            def ready():
                assert process.poll() is None, (host.dir / "log").read_text()
                return b"ready" in (host.dir / "notes").read_bytes()
            wait_for("thurn to be ready", ready)
            return work()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


def test_a_host_is_set_up_with_one_command_and_the_password_it_printed_logs_in(host):
    done = host.setup("Example.Test", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["account"] == "postmaster@example.test"
    assert stat.S_IMODE(os.stat(made["key"]).st_mode) == 0o600
    port = host.move_ports()

    def log_in():
        c = ImapAs("mail.example.test", port, made["certificate"])
        with pytest.raises(c.error):
            c.login(made["account"], made["password"][:-1])
        c.login(made["account"], made["password"])
        assert c.select("INBOX")[0] == "OK"
        c.logout()

    serve(host, log_in)


def test_setup_leaves_nothing_in_tmp_and_no_sockets(host):
    assert host.setup("leaves-nothing.test").returncode == 0
    assert not (host.dir / "run").exists()
    for left in pathlib.Path("/tmp").glob("thurn-setup-*/thurn.conf"):
        with contextlib.suppress(FileNotFoundError):  # of a setup at the same time
            assert "leaves-nothing.test" not in left.read_text()


def test_setup_says_what_to_publish(host):
    text = host.setup().stdout
    assert re.search(r"^ +example\.test\. +MX +10 mail\.example\.test\.$", text, re.M)
    assert re.search(r'^ +example\.test\. +TXT +"v=spf1 mx ~all"$', text, re.M)
    assert re.search(r"^ +_imaps\._tcp\.example\.test\. +SRV +0 1 993 mail\.example\.test\.$", text,
                     re.M)
    assert re.search(r"^ +password +[a-z2-9]{5}(-[a-z2-9]{5}){3}$", text, re.M)


def test_every_setup_has_a_password_and_a_key_of_its_own(host):
    other = Host()
    try:
        made = [json.loads(h.setup("example.test", "--json").stdout) for h in (host, other)]
        assert made[0]["password"] != made[1]["password"]
        keys = [pathlib.Path(m["key"]).read_text() for m in made]
        assert keys[0] != keys[1]
    finally:
        shutil.rmtree(other.dir, ignore_errors=True)


def test_setup_overwrites_nothing(host):
    assert host.setup().returncode == 0
    files = {p: p.read_bytes() for p in host.conf.parent.rglob("*") if p.is_file()}
    again = host.setup()
    assert again.returncode == 1 and "not overwritten" in again.stderr
    host.conf.rename(host.dir / "moved.conf")
    again = host.setup()
    assert again.returncode == 1 and "not empty" in again.stderr
    host.data = host.dir / "elsewhere"
    again = host.setup()  # the certificate of the first time is there
    assert again.returncode == 1 and "File exists" in again.stderr
    (host.dir / "moved.conf").rename(host.conf)
    assert {p: p.read_bytes() for p in host.conf.parent.rglob("*") if p.is_file()} == files


@pytest.mark.parametrize("domain", ["", "localhost", "a.-b.test", "a..test", "a.test.", "a b.test",
                                    "../../etc.test", 'x".test', "a.test\nfoo = 1", "ä.test",
                                    "x" * 64 + ".test", ".".join(["x" * 60] * 5)])
def test_setup_takes_only_what_can_be_a_domain(host, domain):
    done = host.setup(domain)
    assert done.returncode == 2 and "is no domain" in done.stderr
    assert list(host.dir.iterdir()) == []


def test_a_setup_that_fails_says_why_and_leaves_no_configuration_behind(host):
    host.data = pathlib.Path("/proc/thurn-cannot-be-here")
    done = host.setup()
    assert done.returncode == 1 and "/proc/thurn-cannot-be-here" in done.stderr
    assert [p for p in host.dir.rglob("*") if p.is_file()] == []
    host.data = host.dir / "data"
    assert host.setup().returncode == 0


@pytest.mark.parametrize("reached", ["etc/thurn.conf", "data/mail", "data/mail/store/index/CURRENT"])
def test_ctrl_c_during_a_setup_leaves_all_or_nothing(host, reached):
    process = subprocess.Popen(host.command("setup", "example.test"), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(reached, lambda: (host.dir / reached).exists() or process.poll() is not None)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=DEADLINE)[0]
    files = [p for p in (host.dir / "etc").rglob("*") if p.is_file()]
    if process.returncode == 0:
        assert "password" in said and len(files) == 3
    else:
        assert "password" not in said and files == []


def test_paths_that_the_configuration_would_read_otherwise_are_refused(host):
    for path in ("relative/data", '/tmp/a"b', "/tmp/${HOME}", "/tmp/a\\b", "/tmp/a\nb"):
        host.data = path
        done = host.setup()
        assert done.returncode == 1 and "--data-dir" in done.stderr, path
    assert not host.conf.exists()


# ------------------------------------------------------------------------ what make install puts


@pytest.fixture(scope="module")
def installed():
    build = BINARY.parents[2]
    if not (build / "build.ninja").exists():
        pytest.skip("the program under test is not in its build directory")
    with tempfile.TemporaryDirectory(prefix="thurn-test-") as dest:
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir",
                        dest], check=True, capture_output=True, timeout=120)
        yield pathlib.Path(dest)


def test_everything_is_installed_in_its_place_and_the_program_runs(installed):
    files = [str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()]
    for name in ("sbin/thurn", "lib/systemd/system/thurn.service", "lib/sysusers.d/thurn.conf",
                 "share/man/man1/thurn.1", "share/man/man5/thurn.conf.5",
                 "share/doc/thurn/examples/thurn.conf"):
        assert any(f.endswith("/" + name) for f in files), name
    assert not any(f.startswith("etc/") for f in files)
    program = next(p for p in installed.rglob("thurn") if p.parent.name == "sbin")
    assert subprocess.run([program, "--version"], capture_output=True, text=True,
                          timeout=60).stdout.startswith("thurn ")
    example = next(installed.rglob("examples/thurn.conf"))
    checked = subprocess.run([program, "--config", example, "config", "check"],
                             capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def test_the_system_users_are_those_that_the_roles_become(installed):
    users = re.findall(r"^u (\S+)", next(installed.rglob("sysusers.d/thurn.conf")).read_text(), re.M)
    program = BINARY.read_bytes()
    assert len(users) >= 3 and all(user.encode() + b"\0" in program for user in users)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(installed, tmp_path):
    text = next(installed.rglob("thurn.service")).read_text()
    unit = tmp_path / "thurn.service"
    unit.write_text(re.sub(r"^(Exec\w+)=\S+", rf"\1={BINARY}", text, flags=re.M))
    done = subprocess.run(["systemd-analyze", "--man=no", "verify", unit], capture_output=True,
                          text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "thurn.service" in line]
    assert done.returncode == 0 and said == [], done.stderr


# --------------------------------------------------------------------------- the service manager


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_learns_of_start_reload_and_stop(make_thurn, monkeypatch, abstract):
    t = make_thurn(start=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(DEADLINE)
        address = f"\0{t.dir}" if abstract else str(t.dir / "notify")
        s.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        t.begin()
        assert s.recv(100) == b"READY=1"
        t.cli("reload")
        assert [s.recv(100) for _ in range(2)] == [b"RELOADING=1", b"READY=1"]
        t.stop()
        assert s.recv(100) == b"STOPPING=1"
        s.setblocking(False)
        with pytest.raises(BlockingIOError):  # no role has said anything
            s.recv(100)

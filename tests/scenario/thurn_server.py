"""A Thurn of its own for a test: the real binary with all its roles, on a temporary directory and
free ports."""

import contextlib
import functools
import imaplib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("THURN_BIN", ROOT / "build/debug/src/cli/thurn")).resolve()
PASSWORD = "secret"
DEADLINE = float(os.environ.get("THURN_TEST_DEADLINE", "60"))


class Ports:
    """Ports that are this process's alone, so that no other test gets one between the moment when it
    was found free and the one when the server binds it: a hundredth of those below the range from
    which the kernel gives connections theirs. A socket's name is the lock; it goes with the process.
    Each port is given out again only when all others have been."""
    FIRST, SHARES, EACH = 12000, 100, 200

    def __init__(self):
        shares = list(range(self.SHARES))
        random.Random(os.urandom(8)).shuffle(shares)
        self.lock = next(filter(None, map(self._take, shares)), None)
        assert self.lock, "no ports are left for this process"

    def _take(self, share):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0thurn-test-ports-{share}")
        except OSError:
            lock.close()
            return None
        first = self.FIRST + share * self.EACH
        self.turns = itertools.cycle(range(first, first + self.EACH))
        return lock

    def free(self):
        while True:
            port = next(self.turns)
            with socket.socket() as s, contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port


@functools.cache
def _ports():
    return Ports()


def free_port():
    return _ports().free()


def wait_for(what, check, deadline=DEADLINE):
    """Waits until check() gives something true, and returns it."""
    end = time.monotonic() + deadline
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(0.02)


def peak_memory(pid):
    """Bytes that a process has held at most so far; 0 under a sanitizer, which keeps what was freed."""
    if {"asan", "tsan"} & set(BINARY.parts):
        return 0
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


class Thurn:
    def __init__(self, settings=None, binary=None):
        # Not below pytest's directory: only its owner may enter that, and roles are other users.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="thurn-test-"))
        self.dir.chmod(0o755)
        self.binary = binary or BINARY
        self.settings = dict(settings or {})
        self.env = {}  # of the program, beside what the test has
        self._choose_ports()
        self.conf = self.dir / "thurn.conf"
        self.log = self.dir / "log"
        self.process = None
        self._certificate()
        self.configure()

    def _choose_ports(self):
        self.lmtp_port, self.imap_port, self.imaps_port = free_port(), free_port(), free_port()
        self.smtp_port, self.submission_port = free_port(), free_port()
        self.submissions_port = free_port()

    def _certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", self.dir / "key.pem", "-out", self.dir / "chain.pem"],
                       check=True, capture_output=True)

    def configure(self, extra=""):
        self.extra = extra
        values = {"hostname": '"mail.example.test"', "data_dir": f'"{self.dir}/data"',
                  "run_dir": f'"{self.dir}/run"', "log_level": "info",
                  "cleartext_login_from": '{"127.0.0.0/8"}', "argon2_memory": '"8 MB"',
                  "argon2_passes": "1", **self.settings}
        text = "".join(f"{k} = {v}\n" for k, v in values.items() if v is not None)
        text += (f'listen {{\n lmtp = {{"127.0.0.1:{self.lmtp_port}"}}\n'
                 f' imap = {{"127.0.0.1:{self.imap_port}"}}\n'
                 f' imaps = {{"127.0.0.1:{self.imaps_port}"}}\n'
                 f' smtp = {{"127.0.0.1:{self.smtp_port}"}}\n'
                 f' submission = {{"127.0.0.1:{self.submission_port}"}}\n'
                 f' submissions = {{"127.0.0.1:{self.submissions_port}"}}\n}}\n'
                 f'certificate {{\n chain = "{self.dir}/chain.pem"\n key = "{self.dir}/key.pem"\n}}\n')
        self.conf.write_text(text + extra)

    # -- life --

    def start(self, accounts=True):
        self.begin()
        self.wait_ready()
        if accounts and "example.test" not in self.cli("domain", "list").stdout:
            self.cli("domain", "add", "example.test")
            for name in ("alice", "bob"):
                self.add_account(name)
        return self

    def begin(self):
        env = {**os.environ, **self.env}
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=1")
        env.setdefault("TSAN_OPTIONS", "ignore_noninstrumented_modules=1")
        env.pop("JOURNAL_STREAM", None)
        self.notes = open(self.dir / "notes", "w+b")
        self.process = subprocess.Popen([self.binary, "--config", self.conf, "--note", "run"],
                                        stdout=self.notes, stderr=open(self.log, "ab"), env=env,
                                        start_new_session=True)

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                if self._port_was_taken():
                    return False
                raise AssertionError(f"thurn ended with {self.process.returncode}:\n"
                                     + self.log_text()[-3000:])
            return b"ready" in (self.dir / "notes").read_bytes()
        wait_for("thurn to be ready", ready)

    def _port_was_taken(self):
        """Another program was quicker: begins anew with other ports."""
        if "Address already in use" not in self.log_text()[-1000:]:
            return False
        self.log.rename(self.dir / "log.ports")
        self._choose_ports()
        self.configure(self.extra)
        self.begin()
        return True

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise AssertionError("thurn did not stop:\n" + self.log_text()[-3000:])
        return self.process.returncode if self.process else None

    def kill_all(self):
        """kill -9 of every process at once."""
        pids = [r["pid"] for r in self.status() if r["pid"]] if self.process.poll() is None else []
        for pid in [self.process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        wait_for("processes to be gone",
                 lambda: not any(pathlib.Path(f"/proc/{p}").exists() for p in pids))

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # -- command line --

    def cli(self, *words, input=None, check=True, deadline=DEADLINE):
        done = subprocess.run([self.binary, "--config", self.conf, "--run-dir", self.dir / "run", *words],
                              input=input, env={**os.environ, **self.env},
                              capture_output=True, text=True, timeout=deadline)
        if check and done.returncode:
            raise AssertionError(f"thurn {' '.join(map(str, words))}: {done.stderr}")
        return done

    def add_account(self, name, password=PASSWORD):
        self.cli("account", "add", "--hash", "{PLAIN}" + password, f"{name}@example.test")

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def role(self, role, index=0):
        """The status of a role that has a process; waits until there is one."""
        return wait_for(f"a {role}", lambda: next((r for r in self.status() if r["pid"] and (
            r["role"], r["index"]) == (role, index)), None))

    def pid_of(self, role, index=0):
        return self.role(role, index)["pid"]

    def kill_role(self, role, index=0, signo=signal.SIGKILL):
        """Ends a role the hard way and waits until its successor serves."""
        before = self.role(role, index)
        os.kill(before["pid"], signo)
        self.wait_new(role, before["generation"], index)

    def wait_new(self, role, generation, index=0):
        wait_for(f"a new {role}", lambda: any(
            r["role"] == role and r["index"] == index and r["generation"] > generation and r["ready"]
            for r in self.status()))

    def memory(self):
        """Bytes that the roles hold: their proportional share of what is mapped, and sealed memory,
        which counts even where nobody has mapped it."""
        held, memfds = 0, {}
        for pid in (r["pid"] for r in self.status() if r["pid"]):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                held += int(rollup.split("Pss:")[1].split()[0]) * 1024
                for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(FileNotFoundError):
                        if "memfd:" in os.readlink(fd):
                            stat = fd.stat()
                            memfds[stat.st_ino] = stat.st_blocks * 512
        return held + sum(memfds.values())

    # -- clients --

    def imap(self, user="alice", password=PASSWORD, login=True):
        c = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=DEADLINE)
        if login:
            c.login(f"{user}@example.test", password)
        return c

    def imaps(self, user="alice"):
        context = ssl.create_default_context(cafile=str(self.dir / "chain.pem"))
        c = imaplib.IMAP4_SSL("localhost", self.imaps_port, ssl_context=context, timeout=DEADLINE)
        if user:
            c.login(f"{user}@example.test", PASSWORD)
        return c

    def lmtp(self):
        c = smtplib.LMTP("127.0.0.1", self.lmtp_port, local_hostname="client.example.test")
        c.sock.settimeout(DEADLINE)
        return c

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.smtp_port, local_hostname="client.example.test",
                            timeout=DEADLINE)

    def tls_context(self):
        return ssl.create_default_context(cafile=str(self.dir / "chain.pem"))

    def submission(self, user="alice", password=PASSWORD):
        """Under STARTTLS; logged in, unless user is None."""
        c = smtplib.SMTP("localhost", self.submission_port, local_hostname="client.example.test",
                         timeout=DEADLINE)
        c.starttls(context=self.tls_context())
        if user:
            c.login(f"{user}@example.test", password)
        return c

    def deliver(self, message, to=("alice",), sender="sender@example.org"):
        """Delivers bytes exactly as they are (dots are stuffed; nothing else is touched)."""
        with self.lmtp() as c:
            c.ehlo_or_helo_if_needed()
            assert c.mail(sender)[0] == 250
            for name in to:
                code, text = c.rcpt(f"{name}@example.test")
                assert code == 250, text
            assert c.docmd("DATA")[0] == 354
            stuffed = message.replace(b"\r\n.", b"\r\n..")
            if stuffed.startswith(b"."):
                stuffed = b"." + stuffed
            c.send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            return [c.getreply() for _ in to]

    def raw(self, port=None):
        return Raw(port or self.imap_port)


class Raw:
    """A client by hand: bytes out, lines in."""

    def __init__(self, port, source="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE, source_address=(source, 0))
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        return self.file.readline()

    def until(self, start):
        """Lines up to and including the first that begins so."""
        lines = []
        while True:
            line = self.line()
            if not line:
                raise AssertionError(f"closed while waiting for {start!r}; got {lines[-5:]!r}")
            lines.append(line)
            if line.startswith(start):
                return lines

    def smtp_reply(self):
        """A whole reply of SMTP: its code, and its lines."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return int(lines[-1][:3] or 0), b"".join(lines)

    def smtp(self, text):
        self.send(text + b"\r\n")
        return self.smtp_reply()

    def command(self, text, tag=b"x"):
        self.send(tag + b" " + text + b"\r\n")
        return self.until(tag + b" ")

    def login(self, user="alice", password=PASSWORD):
        self.line()
        return self.command(f"LOGIN {user}@example.test {password}".encode())

    def append(self, message, options=b"", mailbox=b"INBOX"):
        """APPEND of exactly these bytes (imaplib changes line ends)."""
        self.send(b"x APPEND %s %s{%d+}\r\n" % (mailbox, options, len(message)))
        self.send(message + b"\r\n")
        return self.until(b"x ")[-1]

    def close(self):
        self.file.close()
        self.sock.close()

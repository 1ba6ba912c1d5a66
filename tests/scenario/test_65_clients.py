"""Mail programs as people use them, each on a server of its own.

The first way through of mbsync and curl is in test_10_first_letter.py, swaks by SMTP in test_15_smtp.py.
"""

import email
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess

import pytest

from thurn_server import DEADLINE, PASSWORD, wait_for

LETTER = ("From: Carol <carol@example.org>\r\nTo: alice@example.test\r\nSubject: {0}\r\n"
          "Message-ID: <{0}@example.org>\r\nDate: Fri, 20 Nov 2026 10:00:00 +0100\r\n\r\ntext of {0}\r\n")


def letter(name):
    return LETTER.format(name).encode()


def deliver(thurn, *names):
    for name in names:
        assert thurn.deliver(letter(name))[0][0] == 250


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, errors="replace",
                          timeout=DEADLINE * 2, **options)
    return done.returncode, done.stdout + done.stderr


def must(*words, **options):
    status, output = run(*words, **options)
    assert status == 0, output
    return output


def far(thurn, mailbox="INBOX"):
    """Subject to flags, of what stands on the server."""
    c = thurn.imap()
    assert c.select(f'"{mailbox}"', readonly=True)[0] == "OK"
    found = {}
    for row in c.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
        if isinstance(row, tuple):
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", row[0]).group(1).decode().split())
            subject = row[1].decode().split(":", 1)[1].strip()
            assert subject not in found, f"{subject} is there twice"
            found[subject] = flags - {"\\Recent"}
    c.logout()
    return found


def mailboxes(thurn):
    c = thurn.imap()
    names = {row.rsplit(b" ", 1)[1].strip(b'"').decode() for row in c.list()[1]}
    c.logout()
    return names


class Maildir:
    """What a mail program keeps here."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def files(self):
        return [p for sub in ("cur", "new") for p in (self.path / sub).iterdir()]

    def subject(self, path):
        return email.message_from_bytes(path.read_bytes())["Subject"]

    def near(self):
        """Subject to flag letters."""
        found = {}
        for path in self.files():
            subject = self.subject(path)
            assert subject not in found, f"{subject} is there twice"
            found[subject] = set(path.name.partition(":2,")[2])
        return found

    def mark(self, subject, flags):
        path = next(p for p in self.files() if self.subject(p) == subject)
        path.rename(self.path / "cur" / (path.name.partition(":")[0] + ":2," + flags))

    def remove(self, subject):
        next(p for p in self.files() if self.subject(p) == subject).unlink()

    def add(self, name):
        (self.path / "cur" / f"1000000000.{name}.here:2,S").write_bytes(letter(name).replace(b"\r\n", b"\n"))


# -- mbsync and OfflineIMAP: the same day of use --

def mbsync(thurn, home):
    (home / "rc").write_text(f"""
IMAPAccount t
Host localhost
Port {thurn.imaps_port}
User alice@example.test
Pass {PASSWORD}
SSLType IMAPS
CertificateFile {thurn.dir}/chain.pem

IMAPStore far
Account t

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")
    return ["mbsync", "-c", home / "rc", "-a"]


def offlineimap(thurn, home):
    (home / "rc").write_text(f"""
[general]
accounts = t
metadata = {home}/meta
ui = basic
[Account t]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {home}/mail
sep = /
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {thurn.imaps_port}
ssl = yes
usecompression = yes
sslcacertfile = {thurn.dir}/chain.pem
remoteuser = alice@example.test
remotepass = {PASSWORD}
""")
    return ["offlineimap", "-o", "-1", "-c", home / "rc"]


@pytest.mark.heavy
@pytest.mark.parametrize("program", [mbsync, offlineimap])
def test_a_mail_program_that_works_offline_loses_and_doubles_nothing(thurn, tmp_path, program):
    (tmp_path / "mail").mkdir()
    words = program(thurn, tmp_path)
    env = {**os.environ, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    deliver(thurn, *(f"m{n}" for n in range(8)))
    c = thurn.imap()
    c.create("Work/2026")
    c.select("INBOX")
    c.copy("1:3", "Work/2026")
    c.store("2", "+FLAGS", r"(\Seen \Flagged)")
    c.logout()
    must(*words, env=env)
    inbox, work = Maildir(tmp_path / "mail/INBOX"), Maildir(tmp_path / "mail/Work/2026")
    assert set(inbox.near()) == {f"m{n}" for n in range(8)}
    assert inbox.near()["m1"] == {"S", "F"}
    assert set(work.near()) == {"m0", "m1", "m2"}

    # Both sides change, here and there, before they meet again.
    inbox.mark("m3", "RS")
    inbox.remove("m4")
    inbox.add("here")
    work.remove("m0")
    shutil.copytree(work.path, tmp_path / "mail/New", ignore=lambda d, names: [n for n in names if "." in n])
    Maildir(tmp_path / "mail/New").add("first")
    c = thurn.imap()
    c.select("INBOX")
    c.store("6", "+FLAGS", r"(\Flagged)")
    c.store("7", "+FLAGS", r"(\Deleted)")
    c.expunge()
    c.create("There")
    c.copy("1", "There")
    c.logout()
    deliver(thurn, "late")
    must(*words, env=env)
    must(*words, env=env)  # finds nothing to do

    want = {"m0", "m1", "m2", "m3", "m5", "m7", "here", "late"}
    there = far(thurn)
    assert set(there) == set(inbox.near()) == want
    assert there["m3"] == {"\\Seen", "\\Answered"} and there["m1"] == {"\\Seen", "\\Flagged"}
    assert "\\Seen" in there["here"]
    assert inbox.near()["m5"] == {"F"} and inbox.near()["m3"] == {"R", "S"}
    assert set(far(thurn, "Work/2026")) == set(work.near()) == {"m1", "m2"}
    assert set(far(thurn, "New")) == {"first"}
    assert set(Maildir(tmp_path / "mail/There").near()) == {"m0"}


# -- mutt --

class Mutt:
    """Mutt in a terminal of its own, driven by keys."""

    def __init__(self, thurn, home):
        self.socket = home / "tmux"
        (home / "rc").write_text(f"""
set folder = "imap://127.0.0.1:{thurn.imap_port}/"
set spoolfile = "+INBOX"
set imap_user = "alice@example.test"
set imap_pass = "{PASSWORD}"
set ssl_starttls = no
set ssl_force_tls = no
set imap_idle = yes
set imap_keepalive = 300
set timeout = 1
set mail_check = 600
set record = "" postponed = "" mbox_type = Maildir
set move = no confirmappend = no delete = yes quit = yes
set index_format = "[%Z] %s" status_format = "%m messages in %f" sleep_time = 0
set help = no beep = no
""")
        self.tmux("new-session", "-d", "-x", "100", "-y", "40", f"mutt -n -F {home}/rc 2>&1",
                  env={"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LC_ALL": "C.UTF-8"})

    def tmux(self, *words, env=None):
        return must("tmux", "-f", "/dev/null", "-S", self.socket, *words, env=env)

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def shows(self, *texts):
        def look():
            screen = self.tmux("capture-pane", "-p")
            return all(t in screen for t in texts) and screen
        return wait_for(f"mutt to show {texts}", look)

    def close(self):
        run("tmux", "-S", self.socket, "kill-server")


@pytest.fixture
def mutt(thurn, tmp_path):
    deliver(thurn, "one", "two", "three", "four")
    c = thurn.imap()
    c.create("Saved")
    c.logout()
    m = Mutt(thurn, tmp_path)
    yield m
    m.close()


@pytest.mark.heavy
def test_mutt_copies_saves_deletes_and_sees_new_mail_while_it_waits(thurn, mutt):
    mutt.shows("one", "two", "three", "four")
    mutt.keys("1", "Enter", "Enter")
    mutt.shows("text of one")
    mutt.keys("i")
    mutt.shows("two", "four")
    mutt.keys("2", "Enter", "C", "=Saved", "Enter")  # copies
    wait_for("the copy", lambda: set(far(thurn, "Saved")) == {"two"})
    mutt.keys("3", "Enter", "s", "=Saved", "Enter")  # saves: copies and marks as deleted
    wait_for("the second one", lambda: set(far(thurn, "Saved")) == {"two", "three"})
    mutt.keys("4", "Enter", "d", "$")
    wait_for("the expunge", lambda: set(far(thurn)) == {"one", "two"})
    assert "\\Seen" in far(thurn)["one"]
    deliver(thurn, "brand-new")  # nothing is pressed: it comes by IDLE
    mutt.shows("brand-new")
    mutt.keys("q")
    wait_for("mutt to log out", lambda: run("tmux", "-S", mutt.socket, "has-session")[0] != 0)


# -- curl --

def test_curl_lists_searches_appends_fetches_and_deletes(thurn, tmp_path):
    deliver(thurn, "one", "two", "three")
    base = f"imaps://localhost:{thurn.imaps_port}"

    def curl(path, *words):
        return must("curl", "-sS", "--cacert", thurn.dir / "chain.pem", "-u",
                    f"alice@example.test:{PASSWORD}", base + path, *words)

    assert "INBOX" in curl("")
    assert curl("/INBOX?SUBJECT%20two").strip() == "* SEARCH 2"
    assert curl("/INBOX;UID=3") .replace("\r\n", "\n").endswith("text of three\n")
    assert curl("/INBOX;UID=3;SECTION=TEXT").strip() == "text of three"
    (tmp_path / "letter").write_bytes(letter("from-curl"))
    curl("/", "-X", "CREATE Drafts2")
    curl("/Drafts2", "-T", tmp_path / "letter")
    assert far(thurn, "Drafts2").keys() == {"from-curl"}
    curl("/INBOX", "-X", "STORE 1 +FLAGS \\Deleted")
    curl("/INBOX", "-X", "EXPUNGE")
    assert set(far(thurn)) == {"two", "three"}
    assert "MESSAGES 2" in curl("/", "-X", "STATUS INBOX (MESSAGES)")


@pytest.mark.parametrize("how", ["smtp", "submission", "submissions", "smtp with BDAT-sized letter"])
def test_curl_sends(thurn, tmp_path, how):
    (tmp_path / "letter").write_bytes(letter("sent") + (b"0123456789abcdef\r\n" * 40000 if "BDAT" in how else b""))
    port = getattr(thurn, how.split()[0] + "_port")
    words = ["curl", "-sS", "--cacert", thurn.dir / "chain.pem", "--mail-from", "alice@example.test",
             "--mail-rcpt", "alice@example.test", "--mail-rcpt", "bob@example.test", "-T",
             tmp_path / "letter", f"smtp{'s' if how == 'submissions' else ''}://localhost:{port}/me"]
    if how.startswith("submission"):
        words += ["-u", f"alice@example.test:{PASSWORD}"]
    if how == "submission":
        words += ["--ssl-reqd"]
    must(*words)
    assert set(far(thurn)) == {"sent"}


# -- swaks by LMTP --

def test_swaks_delivers_by_lmtp(thurn):
    must("swaks", "--server", "127.0.0.1", "--port", thurn.lmtp_port, "--protocol", "LMTP", "--from",
         "a@example.org", "--to", "alice@example.test,bob@example.test", "--header", "Subject: by-lmtp")
    assert set(far(thurn)) == {"by-lmtp"}
    status, output = run("swaks", "--server", "127.0.0.1", "--port", thurn.lmtp_port, "--protocol", "LMTP",
                         "--from", "a@example.org", "--to", "nobody@example.test")
    assert status != 0 and "550 5.1.1" in output


# -- fetchmail --

class Fetchmail:
    def __init__(self, thurn, home, options, user="alice"):
        self.rc = home / "fetchmailrc"
        self.rc.write_text(f"""
poll localhost service {thurn.imaps_port} protocol IMAP
  user "{user}@example.test" password "{PASSWORD}" ssl sslcertck sslcertfile "{thurn.dir}/chain.pem"
  {options}
""")
        self.rc.chmod(0o600)
        self.words = ["fetchmail", "-f", self.rc, "--nosyslog", "--pidfile", home / "pid",
                      "-i", home / "ids"]
        self.env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "FETCHMAILHOME": str(home), "LC_ALL": "C"}

    def __call__(self, *words):
        return run(*self.words, *words, env=self.env)


def test_fetchmail_takes_mail_away_to_another_account(thurn, tmp_path):
    deliver(thurn, "one", "two")
    to_bob = f'lmtp smtphost "localhost/{thurn.lmtp_port}" smtpname "bob@example.test"'
    keeping = Fetchmail(thurn, tmp_path, to_bob + " keep")
    assert keeping()[0] == 0
    assert far(thurn).keys() == {"one", "two"} and "\\Seen" in far(thurn)["one"]
    assert keeping()[0] == 1  # nothing new
    deliver(thurn, "three")
    taking = Fetchmail(thurn, tmp_path, to_bob + " nokeep fetchall")
    assert taking()[0] == 0
    assert far(thurn) == {}
    c = thurn.imap("bob")
    assert c.select("INBOX") == ("OK", [b"5"])
    c.logout()


def test_fetchmail_hands_to_a_program_and_waits_in_idle(thurn, tmp_path):
    """The program fails once: that letter stays on the server."""
    box = tmp_path / "box"
    deliver(thurn, "one")
    broken = Fetchmail(thurn, tmp_path, 'nokeep mda "cat > /dev/null; exit 75"')
    assert "MDA returned" in broken()[1] and far(thurn).keys() == {"one"}
    f = Fetchmail(thurn, tmp_path, f'nokeep idle mda "cat >> {box}"')
    waiting = subprocess.Popen([str(w) for w in f.words], env=f.env, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for("the letter that waited", lambda: box.exists() and "text of one" in box.read_text())
        deliver(thurn, "two")
        wait_for("the letter that came", lambda: "text of two" in box.read_text())
        wait_for("it to be taken away", lambda: far(thurn) == {})
    finally:
        waiting.terminate()
        waiting.wait()

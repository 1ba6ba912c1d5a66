"""Accounts, aliases and domains, as users and administrators meet them."""

import imaplib
import json
import smtplib

import pytest

from thurn_server import wait_for

LETTER = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"


def listed(client):
    return [line for line in client.list()[1]]


def inbox(thurn, user="alice"):
    c = thurn.imap(user)
    c.select("INBOX")
    n = len(c.search(None, "ALL")[1][0].split())
    letters = [c.fetch(str(i + 1), "(BODY.PEEK[])")[1][0][1] for i in range(n)]
    c.logout()
    return letters


def rcpt(thurn, address):
    with smtplib.SMTP("127.0.0.1", thurn.smtp_port, timeout=60) as c:
        c.ehlo("client.test")
        assert c.mail("sender@example.org")[0] == 250
        return c.rcpt(address)


def send(thurn, *to):
    with smtplib.SMTP("127.0.0.1", thurn.smtp_port, timeout=60) as c:
        assert c.sendmail("sender@example.org", list(to), LETTER) == {}


# ------------------------------------------------------------------------------- special folders

@pytest.mark.parametrize("language, drafts", [("de", "Entw&APw-rfe"), ("ja", "&Tgtm+DBN-"), (None, "Drafts")])
def test_a_new_account_has_its_special_folders_in_the_language_of_the_domain(thurn, language, drafts):
    thurn.cli("domain", "add", "b.test", *(["--language", language] if language else []))
    thurn.cli("account", "add", "--hash", "{PLAIN}secret", "carol@b.test")
    c = thurn.imap(login=False)
    c.login("carol@b.test", "secret")
    uses = {use: line for line in listed(c) for use in
            (b"\\Drafts", b"\\Sent", b"\\Junk", b"\\Trash", b"\\Archive") if use in line}
    assert len(uses) == 5
    assert drafts.encode() in uses[b"\\Drafts"]
    assert len(c.lsub()[1]) == 5
    c.logout()
    done = thurn.cli("domain", "set", "b.test", "--language", "klingon", check=False)
    assert done.returncode == 1 and "language" in done.stderr


def test_special_folders_can_be_left_out(make_thurn):
    t = make_thurn({"special_folders": '"no"'})
    c = t.imap()
    assert [line.split(b'"/" ')[1] for line in listed(c)] == [b"INBOX"]
    c.logout()


# --------------------------------------------------------------------------------------- aliases

def test_mail_to_aliases_reaches_each_account_once(thurn):
    thurn.cli("alias", "add", "sales@example.test", "alice@example.test", "bob@example.test")
    thurn.cli("alias", "add", "--batch", "-", input="info@example.test sales@example.test\n"
              "\nboss@example.test  bob@example.test\n")
    thurn.cli("domain", "alias", "example.net", "example.test")
    rows = json.loads(thurn.cli("alias", "list", "--json").stdout)
    assert [(r["alias"], r["targets"]) for r in rows] == [
        ("boss@example.test", ["bob@example.test"]), ("info@example.test", ["sales@example.test"]),
        ("sales@example.test", ["alice@example.test", "bob@example.test"])]
    send(thurn, "info@example.test", "alice+x@example.net", "boss@example.test", "BOB@example.test")
    for user in ("alice", "bob"):
        letters = inbox(thurn, user)
        assert len(letters) == 1
        head = letters[0].split(b"Received:")[0]
        assert head == (b"Return-Path: <sender@example.org>\r\n"
                        b"Delivered-To: %s@example.test\r\n"
                        b"Delivered-To: info@example.test\r\n" % user.encode())
    # By LMTP each recipient has its own answer.
    assert [code for code, _ in thurn.deliver(LETTER, ("sales", "alice+again", "bob"))] == [250] * 3
    assert [len(inbox(thurn, user)) for user in ("alice", "bob")] == [2, 2]
    thurn.cli("alias", "remove", "sales@example.test", "alice@example.test")
    send(thurn, "sales@example.test")
    assert [len(inbox(thurn, user)) for user in ("alice", "bob")] == [2, 3]
    thurn.cli("alias", "remove", "sales@example.test")
    assert rcpt(thurn, "info@example.test")[0] == 550


def test_what_an_alias_cannot_lead_to_is_said(thurn):
    for words, said in (
            (["x@example.test", "somebody@elsewhere.test"], "other servers"),
            (["x@example.test", "nobody@example.test"], "no account"),
            (["alice@example.test", "bob@example.test"], "account"),
            (["x@elsewhere.test", "bob@example.test"], "no such domain")):
        done = thurn.cli("alias", "add", *words, check=False)
        assert done.returncode == 1 and said in done.stderr, words
    thurn.cli("alias", "add", "x@example.test", "bob@example.test")
    done = thurn.cli("alias", "add", "x@example.test", "x+loop@example.test", check=False)
    assert done.returncode == 1 and "itself" in done.stderr
    assert thurn.cli("alias", "add", "x@example.test", check=False).returncode == 2
    batch = thurn.cli("alias", "add", "--batch", "-", check=False,
                      input="y@example.test nobody@example.test\nz@example.test bob@example.test\n")
    assert batch.returncode == 1 and "line 1 was not taken" in batch.stderr
    assert "z@example.test" in thurn.cli("alias", "list").stdout


def test_a_catch_all_takes_the_rest(thurn):
    assert rcpt(thurn, "anybody@example.test")[0] == 550
    thurn.cli("domain", "set", "example.test", "--catch-all", "bob@example.test")
    send(thurn, "anybody@example.test")
    assert b"Delivered-To: bob@example.test\r\nDelivered-To: anybody@example.test\r\n" in inbox(thurn, "bob")[0]
    assert json.loads(thurn.cli("domain", "list", "--json").stdout)[0]["catch_all"] == "bob@example.test"
    thurn.cli("domain", "set", "example.test", "--catch-all", "none")
    assert rcpt(thurn, "anybody@example.test")[0] == 550


# ------------------------------------------------------------------------- lock, unlock, log out

def ended(client):
    try:
        client.noop()
        return False
    except imaplib.IMAP4.abort:
        return True


def test_a_locked_account_logs_nobody_in_but_gets_its_mail(thurn):
    session, other = thurn.imap(), thurn.imap("bob")
    thurn.cli("account", "lock", "alice@example.test", "--reason", "sent spam")
    wait_for("the session's end", lambda: ended(session))
    assert other.noop()[0] == "OK"
    c = thurn.imap(login=False)
    with pytest.raises(c.error, match="AUTHENTICATIONFAILED"):
        c.login("alice@example.test", "secret")
    assert thurn.deliver(LETTER)[0][0] == 250
    shown = json.loads(thurn.cli("account", "show", "alice@example.test", "--json").stdout)
    assert shown["locked"] and shown["lock_reason"] == "sent spam" and shown["messages"] == 1
    assert "sent spam" in thurn.cli("account", "show", "alice@example.test").stdout
    thurn.cli("account", "unlock", "alice@example.test")
    assert len(inbox(thurn)) == 1


@pytest.mark.parametrize("how, code", [("temporary", b"450 4.2.1"), ("permanent", b"550 5.2.1")])
def test_a_locked_account_can_refuse_mail(thurn, how, code):
    thurn.cli("alias", "add", "both@example.test", "alice@example.test", "bob@example.test")
    thurn.cli("account", "lock", "alice@example.test", "--refuse-mail", how)
    said = rcpt(thurn, "alice@example.test")
    assert (b"%d " % said[0] + said[1]).startswith(code)
    send(thurn, "both@example.test")  # the other one takes it
    thurn.cli("account", "unlock", "alice@example.test")
    assert [len(inbox(thurn, user)) for user in ("alice", "bob")] == [0, 1]
    assert thurn.cli("account", "lock", "bob@example.test", "--refuse-mail", "x", check=False).returncode == 2


def test_log_out_everywhere_ends_sessions_and_submissions(thurn):
    session, bystander = thurn.imap(), thurn.imap("bob")
    with smtplib.SMTP("127.0.0.1", thurn.submission_port, timeout=60) as mail:
        mail.ehlo("client.test")
        mail.login("alice@example.test", "secret")
        thurn.cli("account", "logout", "alice@example.test")
        wait_for("the session's end", lambda: ended(session))
        assert mail.mail("alice@example.test")[0] != 250 or mail.rcpt("bob@example.test")[0] != 250
    assert bystander.noop()[0] == "OK"
    thurn.imap().logout()  # the password is the same


def test_a_new_password_ends_what_was_logged_in_with_the_old_one(thurn):
    session = thurn.imap()
    thurn.cli("account", "password", "--hash", "{PLAIN}other", "alice@example.test")
    wait_for("the session's end", lambda: ended(session))


# ------------------------------------------------------------------------------------- passwords

def test_an_imported_hash_lets_in_and_is_replaced(thurn):
    scheme = lambda: json.loads(thurn.cli(
        "account", "show", "carol@example.test", "--json").stdout)["password"]
    thurn.cli("account", "add", "carol@example.test", "--hash",
              "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", check=False)
    thurn.cli("account", "add", "carol@example.test", "--hash", "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNt"
              "Muq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1")
    assert scheme() == "SHA512-CRYPT"
    c = thurn.imap(login=False)
    c.login("carol@example.test", "Hello world!")
    c.logout()
    assert scheme() == "ARGON2ID"
    c = thurn.imap(login=False)
    c.login("carol@example.test", "Hello world!")
    c.logout()


# ----------------------------------------------------------------------------------------- quota

def test_mail_for_a_full_account_is_refused_at_rcpt_until_there_is_room(thurn):
    thurn.cli("domain", "set", "example.test", "--quota-messages", "2")
    assert [thurn.deliver(LETTER)[0][0] for _ in range(2)] == [250, 250]
    code, text = rcpt(thurn, "alice@example.test")
    assert code == 452 and text.startswith(b"4.2.2")
    with thurn.lmtp() as c:
        c.ehlo_or_helo_if_needed()
        c.mail("sender@example.org")
        assert c.rcpt("alice@example.test")[0] == 452
    assert rcpt(thurn, "bob@example.test")[0] == 250
    c = thurn.imap()
    c.select("INBOX")
    c.store("1", "+FLAGS", "(\\Deleted)")
    c.expunge()
    c.logout()
    assert rcpt(thurn, "alice@example.test")[0] == 250
    thurn.cli("account", "set", "alice@example.test", "--quota", "1")
    assert rcpt(thurn, "alice@example.test")[0] == 452
    shown = json.loads(thurn.cli("account", "show", "alice@example.test", "--json").stdout)
    assert (shown["limit"], shown["limit_messages"], shown["messages"]) == (1, 2, 1)
    # The message to several is not kept from the others because one is full.
    thurn.cli("alias", "add", "both@example.test", "alice@example.test", "bob@example.test")
    send(thurn, "both@example.test")
    assert len(inbox(thurn, "bob")) == 1
    thurn.cli("account", "set", "alice@example.test", "--quota", "none", "--quota-messages", "none")
    assert rcpt(thurn, "alice@example.test")[0] == 250


def test_a_quota_that_makes_no_sense_is_refused(thurn):
    for value in ("much", "0", "-1", "10 parsecs"):
        assert thurn.cli("account", "set", "alice@example.test", "--quota", value, check=False).returncode == 2
    assert thurn.cli("account", "set", "alice@example.test", check=False).returncode == 2


def test_what_does_not_fit_is_refused_before_the_message_is_sent(thurn):
    c = thurn.raw()
    c.login()
    # There is no limit, and so no quota root.
    assert c.command(b"GETQUOTAROOT INBOX")[:-1] == [b"* QUOTAROOT INBOX\r\n"]
    assert c.command(b'GETQUOTA ""')[-1].startswith(b"x NO [NONEXISTENT]")
    thurn.cli("account", "set", "alice@example.test", "--quota", "4 KB", "--quota-messages", "3")
    letter = b"Subject: x\r\n\r\n" + b"y" * 1500
    assert c.append(letter).startswith(b"x OK")
    assert c.command(b'GETQUOTAROOT INBOX')[:-1] == [
        b'* QUOTAROOT INBOX ""\r\n', b'* QUOTA "" (STORAGE 2 4 MESSAGE 1 3)\r\n']
    # The client waits: it never sends the message.
    assert c.command(b"APPEND INBOX {3000}")[-1].startswith(b"x NO [OVERQUOTA]")
    # It does not wait: the message is read, and refused.
    assert c.append(b"z" * 3000).startswith(b"x NO [OVERQUOTA]")
    c.command(b"SELECT INBOX")
    assert c.command(b"COPY 1 Trash")[-1].startswith(b"x OK")
    assert c.command(b"COPY 1 Trash")[-1].startswith(b"x NO [OVERQUOTA]")
    assert c.command(b"STATUS Trash (MESSAGES)")[0].endswith(b"(MESSAGES 1)\r\n")
    c.command(b"STORE 1 +FLAGS (\\Deleted)")
    assert c.command(b"STATUS INBOX (DELETED DELETED-STORAGE)")[0] == \
        b"* STATUS INBOX (DELETED 1 DELETED-STORAGE %d)\r\n" % len(letter)
    c.command(b"EXPUNGE")  # dead messages do not count
    assert c.command(b'GETQUOTA ""')[0] == b'* QUOTA "" (STORAGE 2 4 MESSAGE 1 3)\r\n'
    assert c.append(letter).startswith(b"x OK")
    assert c.command(b"MOVE 1 Archive")[-1].startswith(b"x OK")  # adds nothing
    assert c.command(b'SETQUOTA "" (STORAGE 1000)')[-1].startswith(b"x NO [NOPERM]")
    c.close()


def test_messages_in_one_append_count_together(thurn):
    thurn.cli("account", "set", "alice@example.test", "--quota-messages", "2")
    c = thurn.raw()
    c.login()
    c.send(b"x APPEND INBOX {3+}\r\nabc {3+}\r\ndef {3+}\r\nghi\r\n")
    assert c.until(b"x ")[-1].startswith(b"x NO [OVERQUOTA]")
    c.send(b"x APPEND INBOX {3+}\r\nabc {3+}\r\ndef\r\n")
    assert c.until(b"x ")[-1].startswith(b"x OK")
    assert c.command(b"STATUS INBOX (MESSAGES)")[0].endswith(b"(MESSAGES 2)\r\n")
    c.close()

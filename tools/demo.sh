#!/bin/sh
# A mail server on loopback to try: demo.sh BINARY. Ctrl-C ends it; the mail stays.
set -eu
binary=$(realpath "$1")
if [ "$(id -u)" = 0 ]; then
    # The roles' users must be able to reach it, which a directory below /root is not.
    dir=${THURN_DEMO:-/var/tmp/thurn-demo}
else
    dir=${THURN_DEMO:-${XDG_DATA_HOME:-$HOME/.local/share}/thurn-demo}
fi
mkdir -p "$dir"
chmod 755 "$dir"
conf=$dir/thurn.conf

if [ ! -e "$dir/key.pem" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
fi
cat > "$conf" <<END
hostname = "mail.example.test"
data_dir = "$dir/data"
run_dir = "$dir/run"
log_level = warn
cleartext_login_from = {"127.0.0.0/8", "::1"}
listen {
    smtp = {"127.0.0.1:2525"}
    submission = {"127.0.0.1:2587"}
    lmtp = {"127.0.0.1:2424"}
    imap = {"127.0.0.1:2143"}
    imaps = {"127.0.0.1:2993"}
}
certificate {
    chain = "$dir/chain.pem"
    key = "$dir/key.pem"
}
END

"$binary" --config "$conf" --note run > "$dir/notes" &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server; exit 0' INT TERM
ready=
for _ in $(seq 300); do
    if grep -q ready "$dir/notes"; then ready=yes; break; fi
    kill -0 $server 2>/dev/null || break
    sleep 0.1
done
[ -n "$ready" ] || { wait $server || exit $?; exit 1; }

thurn() { "$binary" --config "$conf" "$@"; }
if ! thurn domain list | grep -qx example.test; then
    thurn domain add example.test >/dev/null
    for name in alice bob; do
        echo secret | thurn account add --password-stdin $name@example.test >/dev/null
    done
    for name in alice bob; do
        sed "s/@NAME@/$name/g; s/\$/\r/" <<'END' |
From: Thurn <postmaster@example.test>
To: @NAME@@example.test
Subject: Welcome
Message-ID: <welcome.@NAME@@example.test>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

This message came in by SMTP, was parsed in a sandbox, committed to the log,
and is served from there.
END
            curl -sS smtp://127.0.0.1:2525 --mail-from postmaster@example.test \
                --mail-rcpt "$name@example.test" -T -
    done
fi
cat <<END
Thurn is running. Mail is kept in $dir; Ctrl-C ends it.

  accounts   alice@example.test and bob@example.test, password "secret"
  IMAP       127.0.0.1:2143 (STARTTLS or plain), 127.0.0.1:2993 (TLS, self-signed)
  SMTP       127.0.0.1:2525; submission, with a login, 127.0.0.1:2587; LMTP 127.0.0.1:2424

Try:
  printf 'Subject: Hello\\r\\n\\r\\nHello\\r\\n' | curl -s smtp://127.0.0.1:2525 --mail-from me@example.net --mail-rcpt alice@example.test -T -
  curl -s imap://127.0.0.1:2143/INBOX -u alice@example.test:secret -X 'FETCH 1:* (FLAGS ENVELOPE)'
  curl -s 'imap://127.0.0.1:2143/INBOX;MAILINDEX=1' -u alice@example.test:secret
  $binary --config $conf status
  $binary --config $conf account list
END
wait $server

#!/bin/bash
# Thurn as a peer of the benchmarks: thurn.sh start [--keep]|stop|pids
#
# Starts the release build on loopback, on PEER_BASE plus: IMAP 143, IMAPS 993, LMTP 24, SMTP 25,
# submission 587 (STARTTLS) and 465 (TLS). Accounts user1 to userN of the domain "localhost",
# password "secret".
#
#   PEER_BASE       the port base                       (30000)
#   PEER_USERS      number of accounts                  (1000)
#   PEER_ROOT       where the data directory is made    (${TMPDIR:-/tmp}/mailbench-peers)
#   PEER_FRONTENDS  frontend processes                  (1)
#   THURN_BIN       the binary                          (build/release of this checkout)
set -eu
users=${PEER_USERS:-1000}
root=${PEER_ROOT:-${TMPDIR:-/tmp}/mailbench-peers}
frontends=${PEER_FRONTENDS:-1}
here=$(cd "$(dirname "$0")/.." && pwd)
thurn=${THURN_BIN:-$here/build/release/src/cli/thurn}
D=$root/thurn
base=${PEER_BASE:-30000}

configure() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
        -keyout "$D/key.pem" -out "$D/cert.pem" 2>/dev/null
    cat > "$D/thurn.conf" <<END
hostname = "localhost"
data_dir = "$D/data"
run_dir = "$D/run"
log_level = warn
frontends = $frontends
cleartext_login_from = {"127.0.0.0/8"}
listen {
    lmtp = {"127.0.0.1:$((base + 24))"}
    imap = {"127.0.0.1:$((base + 143))"}
    imaps = {"127.0.0.1:$((base + 993))"}
    smtp = {"127.0.0.1:$((base + 25))"}
    submission = {"127.0.0.1:$((base + 587))"}
    submissions = {"127.0.0.1:$((base + 465))"}
}
certificate {
    chain = "$D/cert.pem"
    key = "$D/key.pem"
}
END
}

start() {
    local keep=${1:-}
    if [ "$keep" = --keep ]; then
        [ -d "$D/data" ] || { echo "thurn: nothing to keep in $D" >&2; exit 1; }
    else
        rm -rf "$D"
    fi
    mkdir -p "$D"
    chmod 755 "$root" "$D"
    configure
    : > "$D/notes"
    "$thurn" --config "$D/thurn.conf" --note run > "$D/notes" 2> "$D/log" &
    echo $! > "$D/main.pid"
    for _ in $(seq 600); do
        grep -q ready "$D/notes" && break
        kill -0 "$(cat "$D/main.pid")" 2>/dev/null || { cat "$D/log" >&2; exit 1; }
        sleep 0.1
    done
    if [ "$keep" != --keep ]; then
        "$thurn" --config "$D/thurn.conf" domain add localhost >/dev/null
        for i in $(seq "$users"); do echo "user$i@localhost {PLAIN}secret"; done |
            "$thurn" --config "$D/thurn.conf" account add --batch - >/dev/null
    fi
}

stop() {
    local pid
    pid=$(cat "$D/main.pid" 2>/dev/null) || { echo "thurn: not running"; return 0; }
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 200); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$D/main.pid"
}

case ${1:-} in
start) start "${2:-}" ;;
stop) stop ;;
pids) cat "$D/main.pid" ;;
*) echo "usage: $0 start [--keep]|stop|pids" >&2; exit 2 ;;
esac

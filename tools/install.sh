#!/bin/sh
# Installs the release build: install.sh PREFIX [DESTDIR]. A configuration is never touched.
set -eu
cd "$(dirname "$0")/.."
prefix=$1
destdir=${2:-}
meson install -C build/release --no-rebuild --quiet ${destdir:+--destdir "$destdir"}
[ -z "$destdir" ] || exit 0
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers "$prefix/lib/sysusers.d/thurn.conf"
else
    echo "Make these system users yourself: thurn-frontend, thurn-backend, thurn-scanner" >&2
fi
install -d -m 755 /etc/thurn
[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo "Thurn is installed below $prefix. Set it up with: thurn setup example.org"

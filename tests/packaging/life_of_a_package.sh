#!/bin/bash
# Installs, uses, installs again, removes and purges the package given, on a copy of this machine's
# files that vanishes at the end. Needs root, and namespaces of its own:
#   unshare -m -n -p -f --mount-proc life_of_a_package.sh PACKAGE DIRECTORY
set -eu
work=$2/overlay
mkdir -p "$work"
mount -t tmpfs none "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
cd "$work/root"
mount -t proc proc proc
mount --bind /dev dev
mount -t tmpfs none run
mount -t tmpfs none tmp
rm -rf etc/thurn var/lib/thurn
cp "$1" tmp/thurn.deb
ip link set lo up 2>/dev/null || ifconfig lo up
chroot . /bin/bash -eu <<'END'
fail() { echo "failed: $*"; exit 1; }
dpkg -i /tmp/thurn.deb
for role in frontend backend scanner; do
    getent passwd thurn-$role >/dev/null || fail "no user thurn-$role"
done
[ -z "$(ls /etc/thurn)" ] || fail "a configuration nobody asked for"

thurn setup example.org
[ "$(stat -c %U /var/lib/thurn)" = root ] || fail "StateDirectory= wants root as its owner"
[ "$(stat -c %U /var/lib/thurn/mail)" = thurn-backend ] || fail "owner of the mail"
before=$(cat /etc/thurn/thurn.conf)

# With the capabilities that the unit leaves, and no more.
unit=/usr/lib/systemd/system/thurn.service
bounds=-all$(sed -n 's/^CapabilityBoundingSet=//p' $unit | tr ' ' '\n' | sed 's/CAP_/,+/' | tr -d '\n' | tr A-Z a-z)
setpriv --no-new-privs --bounding-set=$bounds --inh-caps=-all thurn --note run >/tmp/notes 2>/tmp/log &
server=$!
timeout 60 bash -c 'until grep -q ready /tmp/notes; do kill -0 '$server' || exit 1; sleep 0.1; done' || {
    cat /tmp/log; fail "it does not start"; }
for role in frontend backend scanner; do
    ps -o user:32=,args= -e | grep -q "^thurn-$role .*role $role" || fail "role $role runs as another user"
done
thurn reload
thurn account list | grep -q '^postmaster@example.org ' || fail "no account"
kill -TERM $server
wait $server || fail "it does not stop cleanly"

dpkg -i /tmp/thurn.deb
[ "$(cat /etc/thurn/thurn.conf)" = "$before" ] || fail "an upgrade changed the configuration"
dpkg -r thurn
[ "$(cat /etc/thurn/thurn.conf)" = "$before" ] || fail "removing the program removed its configuration"
dpkg -P thurn
[ ! -e /etc/thurn ] || fail "purged, but its configuration is there"
[ -e /var/lib/thurn/mail/store ] || fail "purged, and the mail is gone"
for file in /usr/sbin/thurn $unit /usr/lib/sysusers.d/thurn.conf /usr/share/doc/thurn; do
    [ ! -e $file ] || fail "$file is left behind"
done
echo "the whole life of the package"
END

#!/bin/sh
# Packs build/deb/thurn_VERSION_ARCH.deb from the release build, which is configured for /usr.
set -eu
cd "$(dirname "$0")/.."
build=$PWD/build/release
work=$PWD/build/deb
root=$work/root

rm -rf "$work"
mkdir -p "$root/DEBIAN" "$work/debian"
meson install -C "$build" --no-rebuild --strip --quiet --destdir "$root"
install -d -m 755 "$root/etc/thurn"
gzip -9n "$root"/usr/share/man/man*/* "$root/usr/share/doc/thurn/CHANGELOG.md"

arch=$(dpkg --print-architecture)
version=$("$root/usr/sbin/thurn" --version | cut -d' ' -f2)
# It reads the names of the packages from a file of this name.
printf 'Source: thurn\n\nPackage: thurn\nArchitecture: any\n' > "$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O "$root/usr/sbin/thurn" 2>/dev/null)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$(du -sk "$root" | cut -f1)/" \
    -e "s/@SHLIBS@/${libraries#shlibs:Depends=}/" packaging/debian/control.in > "$root/DEBIAN/control"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"

package=$work/thurn_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"

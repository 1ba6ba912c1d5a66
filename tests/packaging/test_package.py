"""The Debian package, made from the release build (which must be there)."""

import os
import pathlib
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*words, **kw):
    return subprocess.run(words, capture_output=True, text=True, timeout=600, **kw)


@pytest.fixture(scope="module")
def package():
    made = run("make", "-s", "deb", cwd=ROOT)
    assert made.returncode == 0, made.stdout + made.stderr
    return pathlib.Path(made.stdout.split()[-1])


def test_the_package_names_what_it_needs_and_holds_what_it_promises(package):
    control = run("dpkg-deb", "-f", package, "Package", "Depends").stdout
    assert "Package: thurn" in control
    assert "libssl3" in control and "librocksdb" in control and "systemd-sysusers" in control
    listing = run("dpkg-deb", "-c", package).stdout
    for path in ("./usr/sbin/thurn", "./usr/lib/systemd/system/thurn.service",
                 "./usr/lib/sysusers.d/thurn.conf", "./usr/share/man/man1/thurn.1.gz",
                 "./usr/share/man/man5/thurn.conf.5.gz",
                 "./usr/share/doc/thurn/examples/thurn.conf"):
        assert f" {path}\n" in listing, path
    # What dpkg would put there it would also overwrite and remove.
    assert [line for line in listing.splitlines() if "./etc/" in line and line[0] != "d"] == []
    assert all(" root/root " in line for line in listing.splitlines())


def overlay_works():
    words = ("unshare", "-m", "-n", "-p", "-f", "--mount-proc", "bash", "-c",
             "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
             "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r")
    return os.geteuid() == 0 and run(*words).returncode == 0


@pytest.mark.skipif(not overlay_works(), reason="needs root and overlay file systems")
def test_it_installs_serves_upgrades_and_goes_without_touching_configuration_or_mail(package):
    with tempfile.TemporaryDirectory() as work:
        script = pathlib.Path(__file__).with_name("life_of_a_package.sh")
        done = run("unshare", "-m", "-n", "-p", "-f", "--mount-proc", script, package, work)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "the whole life" in done.stdout

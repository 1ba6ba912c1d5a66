"""The house as docs/architecture.md describes it, held against the includes and the link lists."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

# What each part may use. A folder with two halves is two parts.
MAY_USE = {
    "base": set(),
    "net": {"base"},
    "rpc": {"base", "net"},
    "mime": {"base"},
    "store": {"base"},
    "directory": {"base", "store"},
    "smtp wire": {"base", "net", "rpc"},
    "smtp service": {"base", "net", "rpc", "store", "directory"},
    "imap wire": {"base", "net", "rpc", "mime"},
    "imap service": {"base", "net", "rpc", "store", "directory"},
    "roles": {"base", "net", "rpc"},
    # Scanner and frontend hold no store; backend and supervisor parse neither wire nor MIME.
    "roles/scanner": {"base", "net", "rpc", "mime", "roles"},
    "roles/frontend": {"base", "net", "rpc", "mime", "smtp wire", "imap wire", "roles"},
    "roles/backend": {"base", "net", "rpc", "store", "directory", "smtp service", "imap service",
                      "roles"},
    "roles/supervisor": {"base", "net", "rpc", "roles"},
    "cli": {"base", "net", "rpc", "store", "roles", "roles/supervisor"},
}

# The only headers that other folders may include.
PUBLIC = {
    "base/base.h": "base", "net/net.h": "net", "rpc/rpc.h": "rpc", "mime/mime.h": "mime",
    "store/store.h": "store", "directory/directory.h": "directory",
    "smtp/smtp_wire.h": "smtp wire", "smtp/lmtp_service.h": "smtp service",
    "imap/imap_wire.h": "imap wire", "imap/imap_service.h": "imap service",
    "roles/role.h": "roles", "roles/supervisor/config.h": "roles/supervisor",
    "roles/supervisor/supervisor.h": "roles/supervisor",
}
SERVICE_FILES = {"smtp": ("lmtp_service", "lmtp_head")}


def folder_of(path):
    parts = pathlib.PurePath(path).parts
    return "/".join(parts[:2]) if parts[0] == "roles" and len(parts) > 2 else parts[0]


def part_of(path):
    """The part that a file below src belongs to."""
    if path in PUBLIC:
        return PUBLIC[path]
    folder = folder_of(path)
    if folder == "imap":
        return "imap service" if "/service/" in path else "imap wire"
    if folder == "smtp":
        return "smtp service" if pathlib.PurePath(path).name.startswith(SERVICE_FILES["smtp"]) \
            else "smtp wire"
    return folder


def sources():
    return sorted(str(p.relative_to(SRC)) for p in SRC.rglob("*.[ch]"))


def includes(path):
    text = (SRC / path).read_text()
    return [m for m in re.findall(r'^#include "([^"]+)"', text, re.M) if (SRC / m).exists()
            or "/" in m]


def test_no_arrow_goes_up():
    wrong = [f"{path} ({part_of(path)}) includes {inc} ({part_of(inc)})"
             for path in sources() for inc in includes(path)
             if part_of(inc) != part_of(path) and part_of(inc) not in MAY_USE[part_of(path)]]
    assert not wrong, "\n".join(wrong)


def test_nobody_reaches_into_another_folders_private_parts():
    wrong = [f"{path} includes {inc}" for path in sources() for inc in includes(path)
             if folder_of(inc) != folder_of(path) and inc not in PUBLIC
             and not (folder_of(path).startswith("roles/") and inc == "roles/probe.h")]
    assert not wrong, "\n".join(wrong)


def test_what_a_role_may_not_hold_is_not_reached_through_others_either():
    def reached(part, seen):
        for below in MAY_USE[part]:
            if below not in seen:
                seen.add(below)
                reached(below, seen)
        return seen

    assert not reached("roles/scanner", set()) & {"store", "directory", "smtp wire", "imap wire"}
    assert not reached("roles/frontend", set()) & {"store", "directory"}
    assert not reached("roles/backend", set()) & {"mime", "smtp wire", "imap wire"}
    assert not reached("roles/supervisor", set()) & {"mime", "store", "smtp wire", "imap wire"}


LIBRARY_PART = {"base": "base", "net": "net", "rpc": "rpc", "mime": "mime", "store": "store",
                "directory": "directory", "smtp_wire": "smtp wire", "lmtp_service": "smtp service",
                "imap_wire": "imap wire", "imap_service": "imap service"}


def test_link_lists_follow_the_same_order():
    wrong = []
    for build in SRC.rglob("meson.build"):
        for name, body in re.findall(r"static_library\('(\w+)'(.*?)\)\n", build.read_text(), re.S):
            if name not in LIBRARY_PART:
                continue
            for dep in re.findall(r"dep_(\w+)", body):
                if dep in LIBRARY_PART and LIBRARY_PART[dep] not in MAY_USE[LIBRARY_PART[name]]:
                    wrong.append(f"{build.relative_to(ROOT)}: {name} links {dep}")
    assert not wrong, "\n".join(wrong)


def test_every_source_begins_with_base():
    """Poisoned functions are poisoned only behind it."""
    def begins(path, depth=0):
        first = re.search(r'^#\s*include\s+([<"])([^>"]+)', (SRC / path).read_text(), re.M)
        if not first:
            return True
        if first.group(2) == "base/base.h":
            return True
        return first.group(1) == '"' and depth < 4 and (SRC / first.group(2)).exists() and \
            begins(first.group(2), depth + 1)

    wrong = [p for p in sources() if p.endswith(".c") and not begins(p)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library, allowed", [
    ("rocksdb", {"store"}), ("seccomp", {"net"}), ("openssl/ssl", {"net"}), ("ev.h", {"net"}),
    ("argon2", {"directory"}), ("confuse", {"roles/supervisor"}), ("jansson", {"cli"}),
])
def test_a_library_is_used_in_its_place_only(library, allowed):
    users = {folder_of(p) for p in sources()
             if re.search(rf"#include <[^>]*{re.escape(library)}", (SRC / p).read_text())}
    assert users <= allowed


def test_files_stay_readable():
    long = [f"{p}: {n} lines" for p in sources()
            if (n := len((SRC / p).read_text().splitlines())) > 800]
    assert not long, "\n".join(long)


def test_no_marks_of_unfinished_work():
    wrong = [f"{p}: {m}" for p in sources()
             for m in re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", (SRC / p).read_text())]
    assert not wrong, "\n".join(wrong)

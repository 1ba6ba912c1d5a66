"""A disk that fails under a running Thurn: see fault_disk.c, which has to be built."""

import errno
import mmap
import os
import struct

from thurn_server import BINARY

RULES, SIZE = 16, 136
DEATH = -1
CALLS = {"sync": 1, "read": 2, "write": 3, "cut": 4, "create": 5, "link": 6}
LIBRARY = BINARY.parents[2] / "tests/scenario/libfault_disk.so"


class Rule:
    def __init__(self, disk, at):
        self.disk, self.at = disk, at

    def hits(self):
        """How often it has made a call fail."""
        return struct.unpack_from("<q", self.disk.map, self.at + 16)[0]

    def heal(self):
        struct.pack_into("<q", self.disk.map, self.at + 8, 0)


class FaultDisk:
    def __init__(self, thurn):
        path = thurn.dir / "faults"
        path.write_bytes(bytes(RULES * SIZE))
        path.chmod(0o666)  # every role is another user
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        self.used = 0
        thurn.env.update({"LD_PRELOAD": str(LIBRARY), "THURN_FAULTS": str(path)})

    def fail(self, call, path, error=errno.EIO, times=-1, first=0, last=1 << 62):
        """From now on this call fails, on files whose names contain `path`: so many times, or until it
        is healed. Reads only where they touch the bytes from first to last. With error 0 it does not
        fail, but stands still until it is healed; with DEATH it kills the process."""
        at = self.used % RULES * SIZE
        self.used += 1
        struct.pack_into("<i", self.map, at, 0)
        struct.pack_into("<iqqqq96s", self.map, at + 4, error, times, 0, first, last, os.fsencode(path))
        struct.pack_into("<i", self.map, at, CALLS[call])
        return Rule(self, at)

    def heal(self):
        for i in range(min(self.used, RULES)):
            Rule(self, i * SIZE).heal()


def place_of(t, text):
    """Where a message lies: the name of the file of the log, its first byte and the one behind it."""
    for path in sorted((t.dir / "data/store/log").iterdir()):
        at = path.read_bytes().find(text)
        if at >= 0:
            return path.name, at, at + len(text)
    raise AssertionError("the message is not in the log")

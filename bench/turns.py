#!/usr/bin/python3
"""How long the turns of event loops are: what one connection's request may have to wait for another's.

A turn is what a thread does between two waits for events; its length is the processor time that it took,
so that other work on the machine does not count. Needs root and perf.

    bench/turns.py SECONDS PID...      the main thread of each process
"""

import collections
import re
import subprocess
import sys
import tempfile

WAITS = (232, 281, 441)  # epoll_wait, epoll_pwait, epoll_pwait2 of x86-64
LINE = re.compile(r"^\s*(\d+)\s+([\d.]+):\s+(\S+)")


def record(pids, seconds, path):
    waits = "||".join(f"id=={n}" for n in WAITS)
    events = [w for e in ("sys_enter", "sys_exit") for w in ("-e", f"raw_syscalls:{e}", "--filter", waits)]
    subprocess.run(["perf", "record", "-q", "-o", path, "--switch-events", *events,
                    "-t", ",".join(map(str, pids)), "--", "sleep", str(seconds)],
                   check=True, capture_output=True)


def events(path):
    """(thread, time, event) in order; switches are "in" and "out"."""
    text = subprocess.run(["perf", "script", "-i", path, "--show-switch-events", "--ns", "-F", "tid,time,event"],
                          check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        thread, at, event = int(found[1]), float(found[2]), found[3]
        if event == "PERF_RECORD_SWITCH":
            yield thread, at, "out" if " OUT" in line else "in"
        else:
            yield thread, at, event.rstrip(":").rsplit("_", 1)[-1]


def turns(path):
    """For each thread the processor seconds of its turns."""
    out, since, spent = collections.defaultdict(list), {}, {}
    for thread, at, event in events(path):
        if event == "exit":  # the wait is over
            since[thread], spent[thread] = at, 0.0
        elif thread not in spent:
            continue
        elif event == "in":
            since[thread] = at
        elif event == "out":
            spent[thread] += at - since.pop(thread, at)
        elif event == "enter":
            out[thread].append(spent.pop(thread) + at - since.pop(thread, at))
    return out


def measure(pids, seconds):
    with tempfile.NamedTemporaryFile(suffix=".perf") as f:
        record(pids, seconds, f.name)
        return turns(f.name)


def describe(lengths):
    lengths = sorted(lengths)
    if not lengths:
        return "no turns"
    return (f"{len(lengths):7} turns, {sum(lengths):6.2f} s; p50 {lengths[len(lengths) // 2] * 1e6:6.0f}"
            f" p99 {lengths[len(lengths) * 99 // 100] * 1e6:6.0f} longest {lengths[-1] * 1e6:7.0f} us")


if __name__ == "__main__":
    for one, lengths in measure([int(p) for p in sys.argv[2:]], float(sys.argv[1])).items():
        print(one, describe(lengths))

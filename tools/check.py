#!/usr/bin/python3
"""Runs all tests and adds them up; the last line is "N passed, N failed".

    check.py [STEP...]    only these steps, see --list
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
STEPS = {}


def step(name):
    def add(function):
        STEPS[name] = function
        return function
    return add


def run(words, env=None, timeout=1500):
    """Output and exit status; a command that hangs has failed."""
    try:
        done = subprocess.run(words, cwd=ROOT, env={**os.environ, **(env or {})}, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace")
        return done.stdout, done.returncode
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b"").decode(errors="replace") + "\ntimed out\n", 124


def failed(name, output, lines=60):
    print(f"---- {name} failed\n" + "\n".join(output.splitlines()[-lines:]), flush=True)
    return 0, 1


def build(kind):
    output, status = run(["tools/build.sh", kind])
    if status:
        print(output, flush=True)
    return status == 0


def unit(kind, suite=None, env=None):
    """All cmocka programs of a build: their tests are counted one by one."""
    words = ["meson", "test", "-C", f"build/{kind}", "--no-rebuild", "--print-errorlogs",
             "--num-processes", "2", "--timeout-multiplier", "4"]
    output, status = run(words + (["--suite", suite] if suite else []), env)
    passed = wrong = 0
    log = ROOT / f"build/{kind}/meson-logs/testlog.json"
    for line in log.read_text(errors="replace").splitlines():
        p, f = program(json.loads(line))
        passed, wrong = passed + p, wrong + f
    if status:
        failed(f"unit tests of {kind}", output, 120)
        wrong = max(wrong, 1)
    return passed, wrong


def program(result):
    """The tests of one cmocka program; one that is to fail counts as one."""
    if result["result"] == "EXPECTEDFAIL":
        return 1, 0
    said = (result.get("stdout") or "") + "\n" + (result.get("stderr") or "")
    passed = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", said, re.M))
    wrong = sum(int(n) for n in re.findall(r"^\[  FAILED  \] (\d+) test", said, re.M))
    return passed, wrong if result["result"] == "OK" else max(wrong, 1)


def pytest(name, words, env=None, workers=2):
    parallel = ["-n", str(workers)] if workers > 1 else []
    output, status = run(PYTEST + parallel + words, env)
    last = output.strip().splitlines()[-1] if output.strip() else ""
    count = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", last)}
    wrong = count.get("failed", 0) + count.get("error", 0)
    if status:
        failed(name, output, 150)
    return count.get("passed", 0), max(wrong, 1 if status else 0)


@step("architecture")
def architecture():
    return pytest("architecture", ["tests/architecture"], workers=1)


@step("debug")
def debug():
    if not build("debug"):
        return 0, 1
    p, f = unit("debug")
    p2, f2 = pytest("scenarios", ["tests/scenario"],
                    {"THURN_BIN": str(ROOT / "build/debug/src/cli/thurn")})
    return p + p2, f + f2


@step("release")
def release():
    """The release build must build: not_written() in it does not."""
    return (1, 0) if build("release") else (0, 1)


@step("package")
def package():
    """The Debian package: made, installed, used and purged on a copy of this machine's files."""
    if not build("release"):
        return 0, 1
    return pytest("package", ["tests/packaging"], workers=1)


@step("asan")
def asan():
    env = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
           "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1", "THURN_TEST_DEADLINE": "120"}
    if not build("asan"):
        return 0, 1
    p, f = unit("asan", env=env)
    p2, f2 = pytest("scenarios under AddressSanitizer", ["tests/scenario", "-m", "not heavy"],
                    {**env, "THURN_BIN": str(ROOT / "build/asan/src/cli/thurn")})
    return p + p2, f + f2


@step("tsan")
def tsan():
    env = {"TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=1",
           "THURN_TEST_DEADLINE": "120"}
    if not build("tsan"):
        return 0, 1
    p, f = unit("tsan", "threads", env)
    p2, f2 = pytest("a scenario under ThreadSanitizer", ["tests/scenario", "-m", "short"],
                    {**env, "THURN_BIN": str(ROOT / "build/tsan/src/cli/thurn")}, workers=1)
    return p + p2, f + f2


@step("fuzz")
def fuzz():
    if not build("fuzz"):
        return 0, 1
    output, _ = run(["/usr/bin/python3", "tools/fuzz.py", "--seconds", "20"])
    count = re.search(r"^(\d+) passed, (\d+) failed", output, re.M)
    if not count or count.group(2) != "0":
        failed("fuzzing", output, 100)
    return (int(count.group(1)), int(count.group(2))) if count else (0, 1)


def own_sources():
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "src").rglob("*.c"))


@step("clang-tidy")
def clang_tidy():
    if not build("debug"):
        return 0, 1

    def one(source):
        output, status = run(["clang-tidy-14", "--quiet", "-p", "build/debug", source])
        if status:
            failed(f"clang-tidy {source}", output)
        return status == 0

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        good = list(pool.map(one, own_sources()))
    return good.count(True), good.count(False)


@step("cppcheck")
def cppcheck():
    if not build("debug"):
        return 0, 1
    output, status = run(
        ["cppcheck", "-q", "-j2", "--enable=warning,portability", "--inline-suppr",
         "--error-exitcode=1", "--std=c11", "-Isrc", "-Ibuild/debug/proto", "--suppress=*:*.pb-c.*",
         "--suppressions-list=tools/cppcheck.txt", "src"])
    return failed("cppcheck", output) if status else (1, 0)


@step("crash")
def crash():
    if not build("debug"):
        return 0, 1
    output, status = run(["/usr/bin/python3", "tests/crash/crash.py", "--rounds", "16"],
                         {"THURN_BIN": str(ROOT / "build/debug/src/cli/thurn")})
    count = re.search(r"^(\d+) passed, (\d+) failed", output, re.M)
    if status:
        failed("crash rounds", output)
    return (int(count.group(1)), int(count.group(2))) if count else (0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--list", action="store_true", help="name the steps")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(STEPS))
        return 0
    unknown = set(asked.steps) - set(STEPS)
    if unknown:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    passed = wrong = 0
    for name in asked.steps or STEPS:
        begin = time.monotonic()
        p, f = STEPS[name]()
        passed, wrong = passed + p, wrong + f
        print(f"{name:14} {p:5} passed {f:4} failed  {time.monotonic() - begin:5.0f} s", flush=True)
    print(f"{passed} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Runs every fuzz target of build/fuzz for a time; new findings are left in build/fuzz/findings."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/fuzz/tests/fuzz"


def targets():
    return sorted(p for p in BUILD.glob("*/fuzz_*") if p.is_file() and os.access(p, os.X_OK))


def run(target, seconds):
    folder = target.parent.name
    known = ROOT / "tests/fuzz" / folder / ("corpus_" + target.name.removeprefix("fuzz_"))
    grown = ROOT / "build/fuzz/corpus" / target.name
    findings = ROOT / "build/fuzz/findings"
    grown.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    words = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
             "-print_final_stats=1", f"-artifact_prefix={findings}/{target.name}-", grown]
    done = subprocess.run(words + ([known] if known.is_dir() else []), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace",
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"})
    return target.name, done.returncode, done.stdout


def figures(output):
    """Number of runs; covered edges of what was known, and at the end."""
    runs = re.search(r"^stat::number_of_executed_units: *(\d+)", output, re.M)
    begin = re.search(r"INITED cov: (\d+)", output)
    covered = re.findall(r" cov: (\d+)", output)
    return (runs.group(1) if runs else "?", begin.group(1) if begin else "?",
            covered[-1] if covered else "?")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="so many targets at once")
    parser.add_argument("names", nargs="*", help="only these targets")
    asked = parser.parse_args()
    chosen = [t for t in targets() if not asked.names or t.name in asked.names]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        for name, status, output in pool.map(lambda t: run(t, asked.seconds), chosen):
            runs, before, after = figures(output)
            print(f"{name:28} {'failed' if status else 'passed'}  {runs} runs, "
                  f"coverage {before} to {after}", flush=True)
            if status:
                print("\n".join(output.splitlines()[-60:]), flush=True)
            passed, failed = passed + (status == 0), failed + (status != 0)
    if not chosen:
        print("there are no fuzz targets; build them with tools/build.sh fuzz")
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

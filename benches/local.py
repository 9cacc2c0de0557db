#!/usr/bin/env python3
"""Figures of the `local` target on this machine: medians, and ratios to the same programs started by hand.

usage: python3 benches/local.py [path/to/monstack] [--rounds N]

Programs are fetched before anything is timed. Rounds are interleaved. Nothing is compared with a fixed number.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DEADLINE = 120


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


class Stack:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def run(self, *args):
        done = subprocess.run([self.program, "-q", "-o", "json", *args], cwd=self.folder, capture_output=True, text=True)
        document = json.loads(done.stdout)
        if not document["ok"]:
            raise SystemExit(f"monstack {' '.join(args)} failed: {done.stdout}{done.stderr}")
        return document["result"]

    def down(self, *more):
        return self.run("down", "--yes", "--confirm", "monstack", *more)

    def specs(self):
        return json.loads((self.folder / ".monstack/monstack/run/desired.json").read_text())["services"]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_healthy(specs):
    """Seconds until each health path answered."""
    start, waiting, taken = time.perf_counter(), {spec["name"]: spec["health"] for spec in specs}, {}
    while waiting:
        for name in [name for name, url in waiting.items() if answers(url)]:
            taken[name] = time.perf_counter() - start
            del waiting[name]
        if time.perf_counter() - start > DEADLINE:
            raise SystemExit(f"no healthy answer from {', '.join(waiting)}")
        time.sleep(0.01)
    return taken


def by_hand(specs):
    """Starts the same programs with the same arguments, waits until all answer, stops them by their pids."""
    children = []
    start = time.perf_counter()
    for spec in specs:
        for folder in spec["folders"]:
            os.makedirs(folder, exist_ok=True)
        log = open(spec["log"], "ab")
        environment = {**os.environ, **dict(spec["env"])}
        children.append(subprocess.Popen([spec["program"], *spec["args"]], cwd=spec["dir"], env=environment,
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
    try:
        taken = wait_healthy(specs)
        return time.perf_counter() - start, taken
    finally:
        for child in children:
            os.killpg(child.pid, signal.SIGTERM)
        for child in children:
            child.wait(timeout=30)


def rounds(stack, count, tell):
    """Makes the rounds; gives the components that could not be had."""
    note, services = tell
    missing = stack.run("up", "--no-verify")["missing"]
    stack.down("--keep-data")
    root, kept = stack.folder / ".monstack/monstack", stack.folder / "kept"
    for _ in range(count):
        note("warm up, all health paths answer", timed(lambda: stack.run("up", "--no-verify"))[0])
        note("up with no change", timed(lambda: stack.run("up", "--no-verify"))[0])
        note("status", timed(lambda: stack.run("status"))[0])
        specs = stack.specs()
        note("verify", timed(lambda: stack.run("verify"))[0])
        # `down` removes the rendered files, which the programs started by hand need once more.
        shutil.copytree(root / "rendered", kept / "rendered")
        shutil.copytree(root / "secrets", kept / "secrets")
        note("down", timed(lambda: stack.down("--keep-data"))[0])
        for name in ("rendered", "secrets"):
            shutil.rmtree(root / name, ignore_errors=True)
            os.rename(kept / name, root / name)
        seconds, taken = by_hand(specs)
        note("the same programs by hand", seconds)
        for name, value in taken.items():
            services.setdefault(name, []).append(value)
        shutil.rmtree(root / "rendered")
    return missing


def figures(values):
    return f"{statistics.median(values):8.3f}   {min(values):.3f} to {max(values):.3f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default=str(HERE / "target/release/monstack"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    results, services = {}, {}

    def note(name, seconds):
        results.setdefault(name, []).append(seconds)

    for _ in range(20):
        note("monstack --version", timed(lambda: subprocess.run([program, "--version"], capture_output=True, check=True))[0])
    with tempfile.TemporaryDirectory(prefix="monstack-bench-") as folder:
        stack = Stack(program, Path(folder))
        try:
            missing = rounds(stack, options.rounds, (note, services))
        finally:
            subprocess.run([program, "-q", "down", "--yes", "--confirm", "monstack"], cwd=folder, capture_output=True)

    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"date: {time.strftime('%Y-%m-%d')}; rounds: {options.rounds}; missing: "
          f"{', '.join(entry['component'] for entry in missing) or 'nothing'}")
    print(f"\n{'what':34} {'median s':>8}   range")
    for name, values in results.items():
        print(f"{name:34} {figures(values)}")
    ratio = statistics.median(results["warm up, all health paths answer"]) / statistics.median(results["the same programs by hand"])
    print(f"\nwarm up against the same programs by hand: {ratio:.2f} times")
    print("\nown start of each program, by hand, all at once:")
    for name, values in sorted(services.items(), key=lambda item: statistics.median(item[1])):
        print(f"  {name:32} {figures(values)}")


if __name__ == "__main__":
    main()

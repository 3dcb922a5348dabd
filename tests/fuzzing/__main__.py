"""Fuzz one target, or all: `python -m tests.fuzzing TARGET --seconds N`, `python -m tests.fuzzing --all`.

Needs atheris (`pip install .[fuzz]`). The corpus, the findings and the log of a target are kept in `.fuzzing/TARGET`, so
that another run goes on with them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzzing.targets import NAMES

WORK = Path(".fuzzing")
MOST_STARTS = 50
"""Processes of one run. Each crash, hang or excess of memory ends one."""
LONGEST_REPLAY = 300
"""Seconds of real time after which a replayed input counts as a hang."""
SHORTEST = 5
"""Seconds that must be left to start another process."""
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")
EXECUTED = re.compile(r"stat::number_of_executed_units: +(\d+)")
PULSE = re.compile(r"^#(\d+)\s", re.MULTILINE)


@dataclass
class Outcome:
    """Figures of one run."""

    seconds: float = 0.0
    executions: int = 0
    edges: int = 0
    corpus: int = 0
    findings: int = 0

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s, {self.executions:,} executions, {self.edges:,} edges, {self.corpus:,} inputs in the "
            f"corpus, {self.findings} findings"
        )


def fuzz(name: str, work: Path, seconds: float) -> Outcome:
    """Fuzz a target; start it again after each crash until the time is over."""
    work.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    start = time.monotonic()
    for _ in range(MOST_STARTS):
        left = seconds - (time.monotonic() - start)
        if left < SHORTEST and outcome.executions:
            break
        command = [sys.executable, "-m", "tests.fuzzing.child", name, str(work), str(max(1, int(left)))]
        with (work / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
            done = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            log.seek(0)
            text = log.read()
        _add(outcome, text)
        if done.returncode and not EXECUTED.search(text) and not PULSE.search(text):
            sys.exit(f"{name}: cannot be fuzzed:\n{text[-2000:]}")
    outcome.seconds = time.monotonic() - start
    _forget_passing(name, work / "crashes")
    outcome.findings = len(list((work / "findings").glob("*.txt"))) + len(list((work / "crashes").iterdir()))
    return outcome


def _forget_passing(name: str, crashes: Path) -> None:
    """Remove the inputs that ended a process, but pass in a fresh one."""
    for path in sorted(crashes.iterdir()):
        command = [sys.executable, "-m", "tests.fuzzing.replay", name, str(path)]
        try:
            passes = (
                subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=LONGEST_REPLAY).returncode == 0
            )
        except subprocess.TimeoutExpired:
            passes = False
        if passes:
            path.unlink()


def _add(outcome: Outcome, log: str) -> None:
    executed = EXECUTED.findall(log) or PULSE.findall(log)
    outcome.executions += int(executed[-1]) if executed else 0
    for edges, _, corpus in COVERAGE.findall(log)[-1:]:
        outcome.edges = max(outcome.edges, int(edges))
        outcome.corpus = int(corpus)


def main() -> None:
    """Parse the arguments and fuzz."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("target", nargs="?", choices=NAMES)
    parser.add_argument("--all", action="store_true", help="fuzz all targets, one after the other")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of corpora and findings")
    given = parser.parse_args()
    if bool(given.target) == given.all:
        parser.error("give a target or --all")
    failed = False
    for name in NAMES if given.all else [given.target]:
        outcome = fuzz(name, given.work / name, given.seconds)
        sys.stdout.write(f"{name}: {outcome}\n")
        for path in sorted((given.work / name / "findings").glob("*.txt")):
            where, kind, *detail = path.read_text(encoding="utf-8").strip().splitlines()
            sys.stdout.write(f"  {kind} {where}: {detail[-1] if detail else ''}\n    {path.with_suffix('.bin')}\n")
        for path in sorted((given.work / name / "crashes").iterdir()):
            sys.stdout.write(f"  the process ended: {path}\n")
        failed = failed or outcome.findings > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()

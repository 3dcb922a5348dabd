"""Disturb one system call of a command and judge the end: `python -m tests.faults.injection FOLDER STAGE KIND MOMENTS`.

The process runs with `shim.c` loaded by LD_PRELOAD. It imports the stages once and forks a child for every disturbed
call. A child runs one command in a copy of a small project, with its n-th call on the project's files disturbed. Two
ends are right:

- exit status 1 (or 2, see `REFUSED`) with one message that names the file or the output, and no file of the project
  changed. The same command must then work;
- exit status 0, with the bytes of an undisturbed run in all files.

MOMENTS are numbers of calls separated by commas, or `COUNT~SEED` for a random sample, or `sites` for one call of every
function on every file, or `all`. The answer on standard output is JSON: the number of calls of an undisturbed run, the
number of runs, the number of those in which a call was disturbed, and the wrong ends. The number of calls varies a
little with the order of threads.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from stages import evaluate, predict
from tests.faults.forked import in_child
from tests.faults.kinds import IDS, MEMO, Observation, furnish, mask, observe, picture, snapshot

IMPORTED = (evaluate, predict)
"""The stages that no other module here imports, so that no child spends time on it."""

SOURCE = Path(__file__).with_name("shim.c")

OPEN, CREATE, READ, WRITE, SYNC, RESIZE, RENAME, REMOVE, MAKE, LOOK, LIST, CLOSE, MAP, LOCK, MODE, RELEASE = (
    1 << bit for bit in range(16)
)
"""Classes of system calls, as in `shim.c`."""
SHORT = -1
"""In place of an error: the call transfers only half of the bytes."""

HANGS_AFTER = 600
"""Seconds after which a child counts as hanging. A run takes a second, so a busy machine does not come near."""

REPEATED = 4
"""After a failure that left nothing behind, every fourth command is run again. After the others, every one is."""

NAMED = 4
"""Most files that are named as different."""

PYTHON = re.compile(r"Traceback|Errno|\w+Error\b|Exception ignored|<class|object at 0x|\bNone\b")
"""Traces of Python that must not appear in a message to users."""


@dataclass(frozen=True)
class Disturbance:
    """Describe one kind of disturbance."""

    classes: int
    """The classes of calls that are disturbed."""
    error: int
    """The number of the system error, or `SHORT`."""
    stays: bool = False
    """All later calls are disturbed too: the disk is gone."""
    must_work: bool = False
    """The command must succeed all the same."""


KINDS = {
    "EIO": Disturbance((1 << 16) - 1, errno.EIO),
    "EIO-stays": Disturbance((1 << 16) - 1, errno.EIO, stays=True),
    "ENOSPC": Disturbance(CREATE | WRITE | SYNC | RESIZE | RENAME | MAKE | CLOSE, errno.ENOSPC),
    "EINTR": Disturbance(OPEN | CREATE | READ | WRITE | SYNC | RESIZE | LOCK | CLOSE, errno.EINTR),
    "short": Disturbance(READ | WRITE, SHORT, must_work=True),
}
STAGES = {
    "extract": "extract --model tiny.safetensors",
    "train": "train --val 0.3 --epochs 2",
    "pretrain": "pretrain",
    "evaluate": "evaluate --run other --masks masks",
    "predict": "predict --run other --weights tiny.safetensors --overlay --contours --table --uncertainty "
    "--probabilities --instances watershed",
}
"""Every command replaces an older output that differs from its own."""
ONE_BY_ONE = ("predict", "pretrain")
"""Stages whose output files are replaced one by one: after a failure some of them may be new."""
WORK = re.compile(r"\.\w+(\.safetensors)?\.(training|pretraining)(/.*)?$|\.[\w.]+\.lock$")
"""What a failed training may leave for --resume, and lock files, which lock nothing without their process."""
LEFT = re.compile(rf"(\S+/)?\.[^/]+\.partial|{WORK.pattern}")
"""What a run may leave if the system refuses to remove it."""
HIDDEN = re.compile(r"^\.+(.+?)\.(partial.*|lock|training(\.lock)?|pretraining(\.lock)?)$")
"""The hidden name of a file or folder that becomes, or locks, the output `\\1`."""

REFUSED = re.compile(r"Invalid value for '--\w+': path '\w+' (is not readable|does not exist)")
"""The one exception from exit status 1: the library that reads the command line looks at paths and hides the reason."""


def compile_shim(folder: Path) -> Path | None:
    """Compile `shim.c` into a folder. Return the library; None on a system other than Linux or without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


def build(house: Path) -> None:
    """Make the project that every run copies: six images, two of them new, and older outputs of every stage."""
    furnish(house)
    commands = (
        "pretrain --steps 1",
        "pretrain --steps 1 --out tiny.safetensors",
        "extract --model tiny.safetensors",
        "train",
        "train --out other --seed 3",
    )
    for command in commands:
        observed = observe(command, house)
        assert observed.status == 0, observed.err
    for number, name in enumerate(IDS[:2], start=7):  # their maps are not in the memo
        picture(number).save(house / "images" / f"{name}.png", "JPEG" if number % 2 else "TIFF")  # read by other code
        mask(number).save(house / "masks" / f"{name}_segmentation.png")


@dataclass(frozen=True)
class End:
    """Hold the end of one run."""

    moment: int
    count: int
    hit: str
    """The function and the path of the disturbed call, relative to the project; "" if there was none."""
    status: int
    out: str
    err: str
    wrong: str = ""
    """What is wrong with this end."""

    @property
    def path(self) -> str:
        """Return the path of the disturbed call, relative to the project."""
        return self.hit.partition(" ")[2]


class Trial:
    """Run one command again and again, with one kind of disturbance."""

    def __init__(self, folder: Path, stage: str, kind: str) -> None:
        """Run the command undisturbed, and count its calls.

        Args:
            folder: contains the project `house`; everything else is made there.
            stage: name in `STAGES`.
            kind: name in `KINDS`.
        """
        self.command, self.disturbance = STAGES[stage], KINDS[kind]
        self._one_by_one = stage in ONE_BY_ONE
        self.house = folder / "house"
        self._room = folder / "room" / "project"  # its folder is its own, so that strays beside it would be found
        self._room.parent.mkdir(exist_ok=True)
        self._log = folder / "calls"
        self.before = snapshot(self.house)
        end = self._run(0)
        assert end.status == 0, end.err
        self.calls = self._log.read_text().splitlines()
        """Function and path of every call of the undisturbed run."""
        self.out = Observation(0, end.out, "").message
        self.after = snapshot(self._room)
        assert self.after != self.before

    def try_at(self, moment: int) -> End:
        """Disturb the call with this number, counted from 1, and judge the end."""
        end = self._run(moment)
        return End(**{**asdict(end), "wrong": self._judge(end)})

    def _run(self, moment: int) -> End:
        """Run the command in a child, in a fresh copy of the project."""
        shutil.rmtree(self._room, ignore_errors=True)
        shutil.copytree(self.house, self._room)
        report = self._room.parent / "end.json"
        report.unlink(missing_ok=True)
        status = in_child(lambda: self._disturbed(moment, report))
        if status != 0:
            return End(moment, -1, "", status, "", "the process ended or hung")
        return End(**json.loads(report.read_text()))

    def _disturbed(self, moment: int, report: Path) -> None:
        tempfile.tempdir = str(self._room.parent)
        signal.alarm(HANGS_AFTER)
        shim = ctypes.CDLL(None)
        shim.inject_count.restype, shim.inject_hit.restype = ctypes.c_long, ctypes.c_char_p
        one = self.disturbance
        if moment == 0:
            shim.inject_log(os.fsencode(self._log))
        shim.inject_arm(os.fsencode(self._room), one.classes, one.error, ctypes.c_long(moment), one.stays)
        try:
            observed = observe(self.command, self._room)
        finally:
            shim.inject_disarm()
        hit = os.fsdecode(shim.inject_hit()).replace(str(self._room), "").replace(" /", " ")
        end = End(moment, shim.inject_count(), hit, observed.status, observed.out, observed.err)
        report.write_text(json.dumps(asdict(end)))

    def _judge(self, end: End) -> str:
        """Return what is wrong with an end, or ""."""
        found = snapshot(self._room)
        if end.status == 0:
            return self._wrong_success(end, found)
        if end.status == 2 and REFUSED.search(end.err):
            return self._wrong_failure(end, found)
        if end.status != 1:
            return "the exit status is neither 0 nor 1"
        if self.disturbance.must_work:
            return "it fails, and it should work"
        return self._wrong_message(end) or self._wrong_failure(end, found)

    def _wrong_success(self, end: End, found: dict[str, str]) -> str:
        """Return what is wrong after exit status 0."""
        left = {path for path in found if LEFT.match(path) and path not in self.after}
        wrong = self._different({path: one for path, one in found.items() if path not in left}, self.after)
        if wrong:
            return wrong
        if self.out != Observation(0, end.out, "").message:
            return "another result is printed"
        if not left:
            return ""
        # The system may refuse to remove what is no longer needed. Then the next run must do it.
        tops = {path.partition("/")[0] for path in left}
        if self.disturbance.stays:
            return ""
        if end.path.partition("/")[0] not in tops:
            return f"files are left over: {', '.join(sorted(left))}"
        return self._wrong_when_repeated()

    def _wrong_failure(self, end: End, found: dict[str, str]) -> str:
        """Return what is wrong with the files after exit status 1."""
        # A temporary file that cannot be locked or removed stays; the next run must reuse it.
        kept = {
            path: digest for path, digest in found.items() if not WORK.match(path) and not self._is_stuck(path, end)
        }
        if self.disturbance.stays:  # what was half written cannot be removed, nor an exchange undone
            kept = {path: digest for path, digest in kept.items() if not LEFT.match(path)}
            if not self._different(kept, self.after):
                return ""
        if self._one_by_one:
            for path in kept.keys() & self.after.keys():
                if kept[path] == self.after[path] and path in self.before:
                    kept[path] = self.before[path]
            kept = {path: one for path, one in kept.items() if path in self.before or path not in self.after}
        wrong = self._different(kept, self.before)
        if wrong or self.disturbance.stays:
            return wrong
        state = Path(end.path).parts[:1] == (MEMO,) or len(kept) != len(found)
        return self._wrong_when_repeated() if state or end.moment % REPEATED == 0 else ""

    @staticmethod
    def _is_stuck(path: str, end: End) -> bool:
        return bool(LEFT.search(path)) and path == end.path

    def _wrong_message(self, end: End) -> str:
        said = end.err
        if PYTHON.search(said) or said.count("error: ") != 1:
            return "the message is not one of this program"
        if self.disturbance.stays:  # one of many failing calls is reported
            return "" if any(name.partition("/")[0] in said for name in self.before) else "the message names no file"
        names = {re.sub(HIDDEN, r"\1", part) for part in Path(end.path).parts}
        if not names:  # a call on the project's folder itself: the message names the output that lies in it
            names = {self._room.name, *(name.partition("/")[0] for name in self.before)}
        if not any(name in "".join(said.split()) for name in names):
            return "the message does not name the file"
        return ""

    def _wrong_when_repeated(self) -> str:
        """Run the same command again, undisturbed and without a fresh copy. It must give the right result."""

        def again() -> None:
            assert observe(self.command, self._room).status == 0

        if in_child(again) != 0:
            return "the same command fails later"
        found = snapshot(self._room)
        return self._different(found, self.after)

    @staticmethod
    def _different(found: dict[str, str], expected: dict[str, str]) -> str:
        differing = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
        return f"other bytes, missing or new: {', '.join(differing[:NAMED])}{more}" if differing else ""


def chosen(moments: str, calls: Sequence[str]) -> list[int]:
    """Return the numbers of the calls, counted from 1, that a text of MOMENTS means."""
    if moments == "all":
        return list(range(1, len(calls) + 1))
    if moments == "sites":
        named = {re.sub(r"partial-\w+", "partial-", call): number for number, call in enumerate(calls, start=1)}
        return sorted(named.values())
    if "~" in moments:
        count, seed = map(int, moments.split("~"))
        random = np.random.default_rng(seed)
        return sorted(int(at) + 1 for at in random.choice(len(calls), min(count, len(calls)), replace=False))
    return [int(moment) for moment in moments.split(",")]


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    for name in ("folder", "stage", "kind", "moments"):
        parser.add_argument(name)
    given = parser.parse_args()
    folder = Path(given.folder)
    if not (folder / "house").exists():
        assert in_child(lambda: build(folder / "house")) == 0
    os.environ["COLUMNS"] = "200"
    trial = Trial(folder, given.stage, given.kind)
    moments = chosen(given.moments, trial.calls)
    wrong, hit = [], 0
    for moment in moments:
        end = trial.try_at(moment)
        hit += bool(end.hit)
        if end.wrong:
            wrong.append(end)
            sys.stderr.write(f"{given.stage} {given.kind} {moment}: {end.hit}: {end.wrong} | {end.status} {end.err}\n")
            sys.stderr.flush()
    answer = {"calls": len(trial.calls), "disturbed": len(moments), "hit": hit, "wrong": [asdict(end) for end in wrong]}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    gc.freeze()  # so that a collection in a child does not copy the memory of all modules
    main()
    sys.stdout.flush()
    os._exit(0)  # a normal exit takes seconds to clean up all modules

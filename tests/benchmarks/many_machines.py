"""Time two processes against one with as many threads, and `pipeline merge` against copying the parts' files.

On processors two processes with half of the threads each gain nothing over one process. So the ratios of extraction and
of training show what dividing the work costs: starting processes, sending samples, exchanging gradients. A machine with
several GPUs gains by it; that cannot be measured here. Seconds of waiting say little on a machine that does other
things too, so seconds of processor time (CPU) are measured beside them.

Merging reads the parts and compares all checksums. Full shards are linked then. Where the disk refuses links, it writes
the store and reads it once more; `cp` reads and writes once, and does not wait for the disk.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from stages import extract, merge, phantom
from stages.settings import ExtractSettings, PhantomSettings
from store.reader import AttentionStore
from store.records import Sample
from store.writer import new_store
from tests.benchmarks.measure import Measurement, side_by_side

IMAGES = 100
SIZE = 112
"""Rows and columns of images and of what the transformer sees: a fifth of the time of 224."""
COPIES = 4096
"""Samples of each part that is merged: eight full shards, so that every part begins with a new one."""
PARTS = 4


def measure() -> Iterator[Measurement]:
    """Yield all ratios."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        phantom.run(PhantomSettings(out=root / "set", samples=IMAGES))
        yield _devices(root)
        yield _tasks(root)
        yield _training(root)
        yield from _merging(root)


def _settings(root: Path, store: str, **changes: object) -> ExtractSettings:
    given: dict[str, object] = {
        "images": root / "set" / "images",
        "masks": root / "set" / "masks",
        "store": root / store,
        "model": "dino_phantom_tiny8",
        "image_size": (SIZE, SIZE),
        "attention_size": (SIZE, SIZE),
    }
    return ExtractSettings(**{**given, **changes})  # type: ignore[arg-type]


def _devices(root: Path) -> Measurement:
    runs = iter(range(1000))

    def timed(devices: str | None) -> Callable[[], object]:
        return lambda: extract.run(_settings(root, "s.zarr", memo=root / f"memo{next(runs)}", devices=devices))

    seconds = _measured({"one process": timed(None), "cpu,cpu": timed("cpu,cpu")}, rounds=1)
    return Measurement(
        name="extraction: --devices cpu,cpu / one process",
        ratio=seconds["cpu,cpu"] / seconds["one process"],
        target=None,
        claim="seconds with two processes / with one process, the same number of threads",
        details={**seconds, "images": IMAGES},
    )


def _tasks(root: Path) -> Measurement:
    """Time the two tasks of a job array at the same time, and the merge, as commands."""
    size = ["--image-size", SIZE, "--attention-size", SIZE]
    given = ["--images", root / "set/images", "--masks", root / "set/masks", "--model", "dino_phantom_tiny8", *size]
    runs = iter(range(1000))

    def extraction(name: str, threads: int, *more: object) -> subprocess.Popen[bytes]:
        memo = root / f"tasks{next(runs)}"
        return _started(["pipeline", "extract", *given, "--store", root / name, "--memo", memo, *more], threads)

    def array() -> None:
        parts = [f"task{number}.zarr" for number in (1, 2)]
        _wait([extraction(part, 1, "--shard", f"{number}/2") for number, part in enumerate(parts, 1)])
        whole = ["--store", root / "array.zarr"]
        _wait([_started(["pipeline", "merge", *(root / part for part in parts), *whole], 1)])

    seconds = _measured(
        {"one process": lambda: _wait([extraction("alone.zarr", 2)]), "two tasks and merge": array}, rounds=1, warm_up=0
    )
    return Measurement(
        name="extraction: two tasks of a job array and merge / one process",
        ratio=seconds["two tasks and merge"] / seconds["one process"],
        target=None,
        claim="seconds of --shard 1/2 and 2/2 at the same time and pipeline merge / of one command, the same threads",
        details={**seconds, "images": IMAGES},
    )


def _training(root: Path) -> Measurement:
    """Time an epoch in two processes that exchange their gradients, and in one. The start does not count."""
    program = ["tests.benchmarks.epochs_together", root / "s.zarr"]
    together = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *program]
    seconds = {
        "one process": float(_said(_started([*program, root / "alone"], 2))),
        "two processes": float(_said(_started([*together, root / "together"], 1))),
    }
    return Measurement(
        name="training: two processes (gloo) / one process",
        ratio=seconds["two processes"] / seconds["one process"],
        target=None,
        claim="median seconds of an epoch under torchrun with two processes / with one, the same number of threads",
        details={**seconds, "images": IMAGES},
    )


def _started(command: list[object], threads: int) -> subprocess.Popen[bytes]:
    """Start a module of Python with so many threads. What it writes to standard output is kept.

    Threads that wait for others sleep: by default they spin, and on a machine that does other things too an epoch then
    takes twenty times as long.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen([sys.executable, "-m", *map(str, command)], env=environment, stdout=subprocess.PIPE)


def _said(process: subprocess.Popen[bytes]) -> bytes:
    """Return what a process wrote, after waiting for it.

    Raises:
        CalledProcessError: it failed.
    """
    said = process.communicate()[0]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return said


def _wait(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _said(process)


def _merging(root: Path) -> Iterator[Measurement]:
    """Merge parts of many samples: those of a small part, repeated under other ids."""
    paths = [root / f"part{number}.zarr" for number in range(1, PARTS + 1)]
    for number, path in enumerate(paths, 1):
        extract.run(_settings(root, path.name, memo=root / "memo", shard=f"{number}/{PARTS}"))
        _enlarge(path)
    size = sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file())

    def copy() -> None:
        for path in paths:
            shutil.rmtree(root / f"copy_{path.name}", ignore_errors=True)
            shutil.copytree(path, root / f"copy_{path.name}")

    def merge_to(name: str) -> None:
        shutil.rmtree(root / name, ignore_errors=True)
        merge.run(paths, root / name)

    def merge_without_links() -> None:
        with patch.object(Path, "hardlink_to", side_effect=OSError(errno.EXDEV, "refused")):
            merge_to("written.zarr")

    seconds = _measured(
        {"merge": lambda: merge_to("linked.zarr"), "without links": merge_without_links, "cp": copy}, rounds=2
    )
    for name, what in (("merge", "pipeline merge"), ("without links", "pipeline merge where the disk refuses links")):
        yield Measurement(
            name=f"{name} / cp",
            ratio=seconds[name] / seconds["cp"],
            target=None,
            claim=f"seconds of {what} / of copying the files of the parts",
            details={**seconds, "GB": size / 1e9, "GB/s": size / 1e9 / seconds[name]},
        )


def _measured(alternatives: dict[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Return the median seconds of every alternative, and as `NAME, CPU` the least processor time of all processes."""
    used: dict[str, float] = {}

    def counted(name: str, alternative: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            before = sum(os.times()[:4])
            alternative()
            used[f"{name}, CPU"] = min(sum(os.times()[:4]) - before, used.get(f"{name}, CPU", math.inf))

        return call

    seconds = side_by_side(
        {name: counted(name, one) for name, one in alternatives.items()}, rounds=rounds, warm_up=warm_up
    )
    return {**seconds, **used}


def _enlarge(path: Path) -> None:
    """Repeat the samples of a part."""
    from store.upgrade import layout_of

    old = AttentionStore.open(path)
    samples: list[Sample] = list(old)
    part = dict(old.description.part or {})
    with new_store(path, layout=layout_of(old), recipe=old.recipe) as writer:
        for index in np.arange(COPIES):
            sample = samples[index % len(samples)]
            writer.append(Sample(**{**vars(sample), "id": f"{sample.id}-{index}"}))
        part["counts"] = {**part["counts"], "samples": COPIES}
        writer.part = part

"""Time `extract --devices` against one process, and `pipeline merge` against copying the parts' files.

On processors two processes with half of the threads each gain nothing over one process, so the first ratio shows what
starting the processes and sending the samples costs. Merging reads the parts, compares all checksums, writes the store,
and reads it once more to verify it; `cp` reads and writes once.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages import extract, merge, phantom
from stages.settings import ExtractSettings, PhantomSettings
from store.reader import AttentionStore
from store.records import Sample
from store.writer import new_store
from tests.benchmarks.measure import Measurement, side_by_side

IMAGES = 200
COPIES = 1500
"""Samples of each part that is merged: enough for seconds."""
PARTS = 4


def measure() -> Iterator[Measurement]:
    """Yield both ratios."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        phantom.run(PhantomSettings(out=root / "set", samples=IMAGES))
        yield _devices(root)
        yield _merging(root)


def _settings(root: Path, store: str, **changes: object) -> ExtractSettings:
    given: dict[str, object] = {
        "images": root / "set" / "images",
        "masks": root / "set" / "masks",
        "store": root / store,
        "model": "dino_phantom_tiny8",
        "attention_size": (224, 224),
    }
    return ExtractSettings(**{**given, **changes})  # type: ignore[arg-type]


def _devices(root: Path) -> Measurement:
    runs = iter(range(1000))

    def timed(devices: str | None) -> Callable[[], object]:
        return lambda: extract.run(_settings(root, "s.zarr", memo=root / f"memo{next(runs)}", devices=devices))

    seconds = side_by_side({"one process": timed(None), "cpu,cpu": timed("cpu,cpu")}, rounds=1)
    return Measurement(
        name="extraction: --devices cpu,cpu / one process",
        ratio=seconds["cpu,cpu"] / seconds["one process"],
        target=None,
        claim="seconds with two processes / with one process, the same number of threads",
        details={**seconds, "images": IMAGES},
    )


def _merging(root: Path) -> Measurement:
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

    began = time.monotonic()
    seconds = side_by_side({"merge": lambda: merge.run(paths, root / "whole.zarr"), "cp": copy}, rounds=2)
    return Measurement(
        name="merge / cp",
        ratio=seconds["merge"] / seconds["cp"],
        target=None,
        claim="seconds of pipeline merge / of copying the files of the parts",
        details={**seconds, "GB": size / 1e9, "GB/s": size / 1e9 / seconds["merge"], "all": time.monotonic() - began},
    )


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

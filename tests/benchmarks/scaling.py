"""Measure costs that may grow with the number of samples: opening, a random sample, splits, memory, files, the memo.

The real writer writes stores of small samples. Each is read in its own process, so that the measured memory belongs to
one store. `STORES` are the numbers of samples. The result is the cost of the largest store / the smallest, or bytes and
seconds per sample. `COSTS.md` beside this module calculates from them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from store import AttentionStore
from store.writer import Layout, new_store
from tests.benchmarks.measure import Measurement, Skipped
from tests.conftest import RECIPE, random_sample

STORES = (1_000, 10_000, 100_000, 1_000_000)
MEMO_ENTRIES = (1_000, 10_000, 50_000)
READS = 2_000
LAYOUT = Layout(size=(16, 16), grid=(8, 8), heads=["L1H0"], keys=65, classes=["skin", "lesion"])


def measure() -> Iterator[Measurement]:
    """Yield a line for every cost. Each store is deleted before the next is written."""
    if not Path("/proc/self/status").exists():
        raise Skipped("memory of a process is read from /proc, which only Linux has")
    probes = {}
    with tempfile.TemporaryDirectory() as folder:
        for samples in STORES:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                path = Path(place) / "made.zarr"
                seconds = write(path, samples)
                program = "import sys; from tests.benchmarks.scaling import probe; probe(sys.argv[1])"
                command = [sys.executable, "-c", program, str(path)]
                answer = subprocess.run(command, check=True, capture_output=True, text=True)
                probes[samples] = {"write": seconds, **json.loads(answer.stdout), **on_disk(path)}
        memos = {entries: memo(Path(folder) / str(entries), entries) for entries in MEMO_ENTRIES}
    yield from lines(probes)
    few, many = min(memos), max(memos)
    yield Measurement(
        name="scaling: memo",
        ratio=memos[many]["bytes an entry"] / memos[few]["bytes an entry"],
        target=1.5,
        at_most=True,
        claim=f"bytes an entry of {many} / of {few}, maps of 128 bytes",
        details=memos[many],
    )


def lines(probes: dict[int, dict[str, float]]) -> Iterator[Measurement]:
    """Yield the lines of the stores: the cost of the largest / smallest store, for linear costs per sample."""
    few, many = min(probes), max(probes)
    flat = {
        "open": "seconds to open",
        "sample": "seconds of a random sample",
        "first": "seconds of the first sample by its position",
        "view": "seconds until `pipeline view` has its first sample, without imports",
    }
    for key, claim in flat.items():
        yield Measurement(
            name=f"scaling: {key}",
            ratio=probes[many][key] / probes[few][key],
            target=None if key in {"first", "view"} else 2.0,
            at_most=True,
            claim=f"{claim}, {many} samples / {few}",
            details={str(samples): costs[key] for samples, costs in probes.items()},
        )
    for key in ("write", "split"):
        yield Measurement(
            name=f"scaling: {key}",
            ratio=(probes[many][key] / many) / (probes[few][key] / few),
            target=1.5,
            at_most=True,
            claim=f"seconds a sample to {key}, {many} samples / {few}",
            details={str(samples): costs[key] / samples for samples, costs in probes.items()},
        )
    middle = sorted(probes)[-2]
    for key, unit in (("memory", "bytes of memory"), ("files", "files"), ("bytes", "bytes on disk")):
        yield Measurement(
            name=f"scaling: {key}",
            ratio=(probes[many][key] - probes[middle][key]) / (many - middle),
            target=None,
            claim=f"{unit} per additional sample, from {middle} to {many}",
            details={str(samples): costs[key] for samples, costs in probes.items()},
        )


def write(path: Path, samples: int) -> float:
    """Write a store and return the seconds, including the writer's check and without drawing the samples."""
    drawn = [random_sample(index, LAYOUT) for index in range(64)]
    began = time.perf_counter()
    with new_store(path, layout=LAYOUT, recipe=RECIPE) as writer:
        for index in range(samples):
            columns = {"id": f"sample-{index:07d}", "group": f"patient-{index:07d}", "digest": f"{index:064x}"}
            writer.append(replace(drawn[index % len(drawn)], **columns))  # type: ignore[arg-type]
    return time.perf_counter() - began


def probe(path: str) -> None:
    """Print, as JSON, the seconds and the memory that one process needs for a store. Run it in its own process."""
    from stages.segmentation.splits import split_by_hash
    from stages.viewing import sample_json  # noqa: F401 - so that the import is not measured
    from stages.viewing.api import Api
    from stages.viewing.catalogue import Catalogue

    before = _memory()
    began = time.perf_counter()
    store = AttentionStore.open(path)
    opened = time.perf_counter()
    store[len(store) - 1]
    first = time.perf_counter()
    chosen = np.random.default_rng(0).integers(0, len(store), READS)
    store.read(chosen)  # every shard mapped, every sample checked
    warm = time.perf_counter()
    for index in chosen.tolist():
        store.read([index])
    read = time.perf_counter()
    split_by_hash(store, seed=0, val=0.15, test=0.2)
    split = time.perf_counter()
    memory = _memory() - before
    viewer = Api(Catalogue(Path(path)))
    assert viewer.answer("api/sample", {"at": str(len(store) // 2)}).status == 200
    viewed = time.perf_counter()
    seconds = {"open": opened - began, "first": first - opened, "sample": (read - warm) / READS, "split": split - read}
    seconds["view"] = viewed - split
    sys.stdout.write(json.dumps({**seconds, "memory": memory}))


def memo(folder: Path, entries: int) -> dict[str, float]:
    """Return the bytes and seconds of an entry in a memo of `entries`, written and read sixteen at a time."""
    from stages.attention.extractor import AttentionExtractor, ExtractorConfig
    from stages.attention.memo import AttentionMemo

    config = ExtractorConfig(
        model="untrained_tiny8", weights=None, input_size=(64, 64), layers=(-1,), precision="float32"
    )
    recipe = AttentionExtractor.load(config, device="cpu", batch_size=1).recipe
    recipe = replace(recipe, heads=recipe.heads[:1])
    maps = np.ones((1, *recipe.grid), np.float16)
    groups = [[f"{index:064x}" for index in range(start, start + 16)] for start in range(0, entries, 16)]
    with AttentionMemo(folder, recipe) as opened:
        began = time.perf_counter()
        for group in groups:
            opened.put_many(dict.fromkeys(group, maps))
        put = time.perf_counter()
        for group in groups[:: max(1, len(groups) // 50)]:
            opened.get_many(group)
        got = time.perf_counter()
        path = opened.path
    asked = 16 * len(groups[:: max(1, len(groups) // 50)])
    return {
        "bytes an entry": path.stat().st_size / entries,
        "put": (put - began) / entries,
        "get": (got - put) / asked,
    }


def on_disk(path: Path) -> dict[str, float]:
    """Return the number of files of a store and their bytes."""
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _memory() -> int:
    """Return the bytes of this process's own memory, without mapped files, which the system can reclaim."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))

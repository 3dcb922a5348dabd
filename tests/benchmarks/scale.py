"""Measure a store of millions of samples: `python -m tests.benchmarks.scale --samples 10000000 --folder /fast/disk`.

It writes a store of small synthetic samples (`tests.benchmarks.large_store`) and one of 10,000 samples beside it,
prints a table, and removes both. A run beside the large store has untrained weights and the splits of all samples.
Ten million samples take 10 GB. Each row runs in a process of its own, so memory is that of the row. COSTS.md explains
the rows and has the figures of one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from store import AttentionStore
from tests.benchmarks.large_store import write_large_store
from tests.benchmarks.scale_runs import evaluation_start, inspecting, write_run
from tests.benchmarks.scale_starts import (
    comparing,
    folding,
    table_of,
    training,
    training_by_table,
    training_unlabelled,
    write_table,
)

SMALL = 10_000
READS = 20_000
BLOCK = 20
"""Reads that are timed together."""
READERS = 1000
PROCESSES = 4


def show(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def memory() -> float:
    """Return the resident memory of this process in MB, files that are mapped included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Return the seconds and the processor's seconds of some work, and the MB that it adds to the process."""
    before, began, used = memory(), time.perf_counter(), time.process_time()
    kept = work()
    found = {"s": time.perf_counter() - began, "cpu s": time.process_time() - used, "MB": memory() - before}
    del kept
    return found


def opening(path: Path) -> dict[str, float]:
    """Open the store."""
    return measured(lambda: AttentionStore.open(path))


def splitting(path: Path) -> dict[str, float]:
    """Split the store by the hash of the groups."""
    from stages.segmentation.splits import split_by_rule

    store = AttentionStore.open(path)
    return measured(lambda: split_by_rule(store, rule="auto", seed=0, val=0.15, test=0.15))


def reading(path: Path) -> dict[str, float]:
    """Read random samples, one by one, for the second time.

    Other programs take the processor away for milliseconds. So the time of waiting is also given as the median of
    blocks of a few reads, most of which are not interrupted.
    """
    store = AttentionStore.open(path)
    positions = np.random.default_rng(0).integers(0, len(store), READS)
    for position in positions:
        store.read([position])
    blocks: list[float] = []

    def read_again() -> None:
        for block in positions.reshape(-1, BLOCK):
            began = time.perf_counter()
            for position in block:
                store.read([position])
            blocks.append(time.perf_counter() - began)

    found = measured(read_again)
    return {
        "us a sample": found["s"] / READS * 1e6,
        "cpu us a sample": found["cpu s"] / READS * 1e6,
        "us a sample, median of blocks": float(np.median(blocks)) / BLOCK * 1e6,
    }


def many_readers(path: Path) -> dict[str, float]:
    """Open the store many times in one process, and read a sample each time."""
    from store import AttentionStore

    def read(number: int) -> AttentionStore:
        store = AttentionStore.open(path)
        store.read([number * 7919 % len(store)])
        return store

    return measured(lambda: [read(number) for number in range(READERS // PROCESSES)])


def reading_files(path: Path) -> dict[str, float]:
    """Read all files as they are: the speed that verifying is compared with."""
    size, block = 0, bytearray(1 << 20)

    def read_all() -> None:
        nonlocal size
        for file in sorted(path.rglob("*")):
            if file.is_file():
                with file.open("rb", buffering=0) as opened:
                    while count := opened.readinto(block):
                        size += count

    found = measured(read_all)
    return {"s": found["s"], "cpu s": found["cpu s"], "MB/s": size / 1e6 / found["s"]}


def verifying(path: Path) -> dict[str, float]:
    """Check every byte and every value."""
    from store.check import verify_store

    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    found = measured(lambda: verify_store(path))
    return {
        "s": found["s"],
        "cpu s": found["cpu s"],
        "MB/s": size / 1e6 / found["s"],
        "MB/cpu s": size / 1e6 / found["cpu s"],
    }


def verifying_alone(path: Path) -> dict[str, float]:
    """Check every byte and every value in one process."""
    from store.check import check_store

    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    found = measured(lambda: check_store(path, processes=1))
    return {"s": found["s"], "cpu s": found["cpu s"], "MB/cpu s": size / 1e6 / found["cpu s"]}


def run_of(path: Path) -> Path:
    """Return the path of the run that belongs to a store."""
    return path.with_suffix(".run")


def evaluating(path: Path) -> dict[str, float]:
    """Begin to evaluate a run."""
    return evaluation_start(path, run_of(path))


def inspecting_run(path: Path) -> dict[str, float]:
    """Describe the store and the splits of a run."""
    return inspecting(path, run_of(path))


ROWS = {
    row.__name__: row
    for row in (
        opening,
        splitting,
        reading,
        many_readers,
        inspecting,
        inspecting_run,
        evaluating,
        training,
        training_by_table,
        training_unlabelled,
        comparing,
        folding,
        reading_files,
        verifying,
        verifying_alone,
    )
}


def run_row(name: str, path: Path, processes: int = 1) -> list[dict[str, float]]:
    """Return what a row measures, in fresh processes that run at the same time."""
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--row", name, "--store", str(path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    outputs = [process.communicate()[0] for process in started]
    return [json.loads(output) for output in outputs]


def measure(path: Path, small: Path) -> None:
    """Print the table of a large store, with a small one to compare with."""
    files = [file for file in path.rglob("*") if file.is_file()]
    show(f"files: {len(files)}, {sum(file.stat().st_size for file in files) / 1e9:.2f} GB")
    for name, where, processes in (
        ("opening", path, 1),
        ("splitting", path, 1),
        ("reading", small, 1),
        ("reading", path, 1),
        ("many_readers", path, PROCESSES),
        ("inspecting", path, 1),
        ("inspecting_run", path, 1),
        ("evaluating", path, 1),
        ("training", path, 1),
        ("training_by_table", path, 1),
        ("training_unlabelled", path, 1),
        ("comparing", path, 1),
        ("folding", path, 1),
        ("reading_files", path, 1),
        ("verifying", path, 1),
        ("verifying_alone", path, 1),
    ):
        for row in run_row(name, where, processes):
            cells = ", ".join(f"{value:.3f} {unit}" for unit, value in row.items())
            show(f"{name} {where.name}: {cells}")


def main() -> None:
    """Run the benchmark, or one row of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="where the stores are written")
    parser.add_argument("--store", type=Path, help="a large store that is there already; it is kept")
    parser.add_argument("--row", choices=ROWS, help="print this row of --store as JSON")
    asked = parser.parse_args()
    if asked.row:
        show(json.dumps(ROWS[asked.row](asked.store)))
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    large, small = asked.store or asked.folder / "large.zarr", asked.folder / "small.zarr"
    write_large_store(small, SMALL)
    try:
        if asked.store is None:
            began = time.perf_counter()
            write_large_store(large, asked.samples)
            show(f"writing and verifying: {asked.samples / (time.perf_counter() - began):.0f} samples/s")
        write_run(AttentionStore.open(large), run_of(large))
        write_table(large)
        measure(large, small)
    finally:
        shutil.rmtree(small)
        shutil.rmtree(run_of(large), ignore_errors=True)
        table_of(large).unlink(missing_ok=True)
        if asked.store is None:
            shutil.rmtree(large)


if __name__ == "__main__":
    main()

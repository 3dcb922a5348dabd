"""Compare reading a store in a bucket with what its link allows, and with a store on this machine.

The bucket is a folder behind a link of a given speed and delay (`link`). The speed of the link is measured in the same
run: the same files are downloaded whole by `STREAMS` connections, and thrown away. Every reading is a process of its
own with the helper process that any reader has; its time begins when the store is opened, and includes the start of the
helper.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from stages.segmentation.batches import BEGUN
from store import AttentionStore, Sample
from store.disk.regular import MIB
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings
from store.writer import Layout, new_store
from tests.benchmarks.link import linked
from tests.benchmarks.machine import load
from tests.benchmarks.measure import Measurement

SAMPLES, BATCH, ROUNDS = 4000, 32, 9
STREAMS = 16
FIRST = 4
"""Batches that need nearly every shard of this store: the rest of the epoch reads what is here."""
LAYOUT = Layout(
    size=(224, 224), grid=(28, 28), heads=[f"L11H{head}" for head in range(18)], keys=785, classes=["skin", "lesion"]
)
LINKS = ((50e6, 0.0), (50e6, 0.03), (200e6, 0.0), (200e6, 0.03))
"""(bytes a second, seconds of delay)."""
COLD, WARM = 0.8, 1.05
"""Targets: share of the link's speed in the first epoch, and an epoch from the cache compared with a local store."""
EPOCHS = {"first": True, "later": True, "in order": False}
"""Epochs of a reader that finds all shards in the cache, and whether they are shuffled."""


def measure() -> Iterator[Measurement]:
    """Yield the time of epochs from the cache, then for each link the share of its speed, with and without room."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        store = _write(root / "served" / "bucket" / "x.zarr")
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        with linked(root / "served") as address:
            task = {"store": str(store), "cache": str(root / "kept"), "size": 10 * size, "rounds": ROUNDS}
            warm = _read(address, **task)  # first, while the files that were just written are in memory
            for which in EPOCHS:
                yield Measurement(
                    name=f"remote: {which} epoch, all kept",
                    ratio=warm[f"{which}, CPU to same"],
                    target=WARM,
                    at_most=True,
                    claim="epoch of a store in the cache / of the same files opened as a folder, CPU seconds",
                    details={"elapsed": warm[f"{which}, elapsed to same"],
                             "to the store as written, CPU": warm[f"{which}, CPU to near"],
                             "to the store as written, elapsed": warm[f"{which}, elapsed to near"],
                             "MB/s": size / warm[f"{which}, seconds"] / 1e6, "load": load()},
                )  # fmt: skip
        for rate, delay in LINKS:
            with linked(root / "served", rate=rate, delay=delay) as address:
                where = f"{rate / 1e6:.0f} MB/s, {delay * 1e3:.0f} ms"
                plain = _downloaded(store, address)
                whole = {"store": str(store), "cache": str(root / f"{rate}-{delay}"), "size": 10 * size, "rounds": 0}
                cold = _read(address, **whole)
                yield Measurement(
                    name=f"remote: first epoch, {where}",
                    ratio=plain / cold["seconds"],
                    target=COLD,
                    claim="plain download of all files / first epoch in shuffled batches, seconds",
                    details={"download, MB/s": size / plain / 1e6, "epoch, MB/s": size / cold["seconds"] / 1e6,
                             "opening, s": cold["opening"], "first batches, s": cold["first"],
                             "reader, CPU s": cold["cpu"], "helper, CPU s": cold["helper"], "load": load()},
                )  # fmt: skip
                part = {**whole, "cache": str(root / f"part-{rate}-{delay}"), "size": size // 2}
                streamed = _read(address, **part)
                again = _read(address, **part)
                yield Measurement(
                    name=f"remote: cache of half the size, {where}",
                    ratio=plain / streamed["seconds"],
                    target=None,
                    claim="plain download of all files / first epoch with half of the store kept, seconds",
                    details={"first, s": streamed["seconds"], "second, s": again["seconds"],
                             "second / half a download": again["seconds"] / (plain * 0.55), "download, s": plain},
                )  # fmt: skip


def _write(path: Path) -> Path:
    """Write a store whose images repeat: what is measured does not look into them."""
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (16, *LAYOUT.size, 3), np.uint8)
    masks = (images[..., 0] > 250).astype(np.uint8)
    maps = random.random((16, len(LAYOUT.heads), *LAYOUT.grid))
    maps = (700 * maps / maps.sum((2, 3), keepdims=True)).astype(np.float16)
    with new_store(path, layout=LAYOUT, recipe={"model": "none"}) as writer:
        for index in range(SAMPLES):
            kind = index % len(images)
            writer.append(
                Sample(
                    id=f"{index:05d}", digest=f"{index:064x}", height=224, width=224, group="one", labelled=True,
                    image=images[kind], mask=masks[kind], attention=maps[kind],
                )
            )  # fmt: skip
    return path


def _downloaded(store: Path, address: str) -> float:
    """Return the seconds in which all files are downloaded."""
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for file in sorted(store.rglob("*")):
        if file.is_file():
            waiting.put(file)

    def work() -> None:
        connection = http.client.HTTPConnection(address.partition("://")[2])
        buffer = bytearray(MIB)
        while True:
            try:
                file = waiting.get_nowait()
            except queue.Empty:
                return connection.close()
            connection.request("GET", f"/bucket/x.zarr/{file.relative_to(store).as_posix()}")
            with connection.getresponse() as answer:
                while answer.readinto(buffer):
                    pass

    threads = [threading.Thread(target=work) for _ in range(STREAMS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _read(address: str, **task: object) -> dict[str, float]:
    """Read in a process of its own; see `reader`."""
    environment = {
        **os.environ, "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.benchmarks.remote_store", json.dumps(task)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def reader(task: dict[str, object]) -> dict[str, float]:
    """Read one epoch; with `rounds`, compare epochs with those of the local store.

    Args:
        task: `store` is the path of the same store on this machine, `cache` the folder of the cache, `size` its size,
            `rounds` the number of comparisons.

    Returns:
        Seconds of the epoch, and those in which a processor worked for the reader and for its helper.
    """
    settings = CacheSettings(folder=Path(str(task["cache"])), size=int(str(task["size"])))
    place = RemoteAddress("s3", "bucket/x.zarr", settings)
    if not task["rounds"]:
        began, working = time.perf_counter(), time.process_time()
        store = AttentionStore.open(place)
        opened = time.perf_counter()
        first = _epoch(store, 0)
        seconds, cpu = time.perf_counter() - opened, time.process_time() - working
        return {"seconds": seconds, "opening": opened - began, "first": first, "cpu": cpu, "helper": _helpers_seconds()}
    return _compared({"far": place, "near": Path(str(task["store"]))}, int(str(task["rounds"])))


def _compared(places: Mapping[str, RemoteAddress | Path], rounds: int) -> dict[str, float]:
    """Return the medians of the rounds' ratios by epoch. In each round the stores are opened anew.

    Opening belongs to the first epoch. Nothing is fetched but `zarr.json`: a reading before fills the cache. `far` is
    compared with `near`, the store as it was written, and with `same`, the files of the cache opened as a folder. Both
    hold the same bytes, but Linux may keep them in memory in pieces of other sizes, which changes the speed a little.
    """
    taken: dict[str, list[dict[str, tuple[float, float]]]] = {which: [] for which in EPOCHS}
    far = AttentionStore.open(places["far"])
    _epoch(far, 0)
    places = {**places, "same": far.files.folder}
    names = sorted(places)
    for turn in range(rounds):
        stores: dict[str, AttentionStore] = {}
        for which, is_shuffled in EPOCHS.items():
            used = {}
            for name in names[turn % 3 :] + names[: turn % 3]:  # take turns in who is first
                began, working = time.perf_counter(), time.process_time()
                if name not in stores:
                    stores[name] = AttentionStore.open(places[name])
                _epoch(stores[name], turn if is_shuffled else None)
                used[name] = time.perf_counter() - began, time.process_time() - working
            taken[which].append(used)
    found = {}
    for which, all_used in taken.items():
        for at, kind in enumerate(("elapsed", "CPU")):
            for name in ("near", "same"):
                ratios = [used["far"][at] / used[name][at] for used in all_used]
                found[f"{which}, {kind} to {name}"] = float(np.median(ratios))
        found[f"{which}, seconds"] = float(np.median([used["far"][0] for used in all_used]))
    return found


def _epoch(store: AttentionStore, seed: int | None) -> float:
    """Read all samples with the look ahead of training, shuffled unless there is no seed.

    Returns:
        The seconds of the first batches.
    """
    order = np.arange(len(store)) if seed is None else np.random.default_rng(seed).permutation(len(store))
    batches = [order[begin : begin + BATCH] for begin in range(0, len(store), BATCH)]
    began, first = time.perf_counter(), 0.0
    for number, batch in enumerate(batches):
        for later in batches[number + BEGUN : number + BEGUN + 1] if number else batches[:BEGUN]:
            store.begin(later)
        store.read(batch)
        if number == FIRST - 1:
            first = time.perf_counter() - began
    return first


def _helpers_seconds() -> float:
    """Return the seconds in which a processor worked for the helper, by /proc; 0 on systems without it."""
    from store.remote.connection import connection

    process = connection()._process
    try:
        fields = Path(f"/proc/{process.pid if process else 0}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(reader(json.loads(sys.argv[1]))))

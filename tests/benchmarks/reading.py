"""Compare random batches from a store with `np.memmap` on the same bytes and with zarr-python on the same store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from store import AttentionStore, Sample
from store.writer import Layout, new_store
from tests.benchmarks.measure import Measurement, Skipped, side_by_side

SAMPLES, BATCH, BATCHES = 512, 32, 8
ARRAYS = ("image", "mask", "attention")
UNMASKED = ("image", "attention")


def measure() -> Iterator[Measurement]:
    """Yield the reading rates of an uncompressed and a compressed store, and the memory growth over a long read."""
    with tempfile.TemporaryDirectory() as name:
        yield from _rates(Path(name), compress=False)
        yield from _rates(Path(name), compress=True)
        yield _growth(Path(name) / "raw.zarr")


def _rates(folder: Path, *, compress: bool) -> Iterator[Measurement]:
    kind = "compressed" if compress else "raw"
    store = AttentionStore.open(_write(folder / f"{kind}.zarr", compress=compress))
    plain = zarr.open_group(store.path, mode="r")
    files = _memmaps(store, folder / f"{kind}-memmap")
    random = np.random.default_rng(0)
    batches = [random.permutation(SAMPLES)[:BATCH] for _ in range(BATCHES)]
    for array in ARRAYS:  # also the first read, which checks every sample
        np.testing.assert_array_equal(store.read_array(array, range(SAMPLES)), files[array])
        np.testing.assert_array_equal(_with_zarr(plain[array], batches[0]), files[array][batches[0]])
    seconds = side_by_side(
        {
            "ours": lambda: _one_at_a_time(store.read, batches),
            "memmap": lambda: _one_at_a_time(lambda batch: [files[array][batch] for array in ARRAYS], batches),
            # Masks are always compressed. Reading without masks shows what decompression costs.
            "ours, no masks": lambda: _one_at_a_time(
                lambda batch: [store.read_array(array, batch) for array in UNMASKED], batches
            ),
            "memmap, no masks": lambda: _one_at_a_time(
                lambda batch: [files[array][batch] for array in UNMASKED], batches
            ),
            # Both are slow, so one batch is enough.
            "zarr one by one": lambda: [_with_zarr(plain[array], batches[0]) for array in ARRAYS],
            "zarr oindex": lambda: [plain[array].oindex[batches[0]] for array in ARRAYS],
        },
        rounds=15,
    )
    rates = {way: BATCH * (1 if way.startswith("zarr") else BATCHES) / took for way, took in seconds.items()}
    pairs = [
        ("ours", "memmap", 0.5),
        ("ours, no masks", "memmap, no masks", None),
        ("ours", "zarr one by one", 30),
        ("ours", "zarr oindex", 30),
    ]
    for ours, other, target in pairs:
        yield Measurement(
            name=f"reading: {kind}, ours / {other}",
            ratio=rates[ours] / rates[other],
            target=None if compress else target,
            claim=f"samples a second in shuffled batches of {BATCH}, ours / {other}; equal byte for byte",
            details={f"{way}, samples/s": rate for way, rate in rates.items()},
        )


def _one_at_a_time(read: Callable[[NDArray[np.int64]], object], batches: Iterable[NDArray[np.int64]]) -> None:
    """Read the batches as training does: release each one before the next is read, so that its memory is reused."""
    for batch in batches:
        read(batch)


def _write(path: Path, *, compress: bool) -> Path:
    """Write a store of 224² samples: noisy images, masks of one ellipse, attention maps in the shape of a ViT-S/8."""
    layout = Layout(
        size=(224, 224), grid=(28, 28), heads=[f"L11H{head}" for head in range(6)], keys=785,
        classes=["skin", "lesion"], compress=compress,
    )  # fmt: skip
    row, column = np.mgrid[:224, :224] / 112 - 1
    with new_store(path, layout=layout, recipe={"model": "none"}) as writer:
        for index in range(SAMPLES):
            random = np.random.default_rng(index)
            attention = random.random((6, 28, 28))
            writer.append(
                Sample(
                    id=f"{index:05d}", digest=f"{index:064x}", height=224, width=224, group="one",
                    labelled=True, image=random.integers(100, 164, (224, 224, 3), dtype=np.uint8),
                    mask=((row**2 + column**2) < random.random()).astype(np.uint8),
                    attention=(attention * 700 / attention.sum(axis=(1, 2), keepdims=True)).astype(np.float16),
                )
            )  # fmt: skip
    return path


def _memmaps(store: AttentionStore, folder: Path) -> dict[str, NDArray[np.generic]]:
    folder.mkdir()
    for array in ARRAYS:
        np.save(folder / f"{array}.npy", store.read_array(array, range(SAMPLES)))
    return {array: np.load(folder / f"{array}.npy", mmap_mode="r") for array in ARRAYS}


def _with_zarr(array: zarr.Array, batch: NDArray[np.int64]) -> NDArray[np.generic]:
    return np.stack([array[int(index)] for index in batch])


def _growth(path: Path) -> Measurement:
    """Measure the growth of the process's own memory (without page cache) over four passes, after one to warm up."""
    store = AttentionStore.open(path)
    read, sizes = 0, []
    for turn in range(5):
        order = np.random.default_rng(turn).permutation(SAMPLES)
        for start in range(0, SAMPLES, BATCH):
            batch = store.read(order[start : start + BATCH])
            read += (batch.image.nbytes + batch.mask.nbytes + batch.attention.nbytes) * (turn > 0)
        sizes.append(_own_memory())
    return Measurement(
        name="reading: memory that grows",
        ratio=(sizes[-1] - sizes[0]) / read,
        target=0.01,
        at_most=True,
        claim="growth of the process's own memory / bytes read",
        details={"read, MiB": read / 2**20, "growth, MiB": (sizes[-1] - sizes[0]) / 2**20},
    )


def _own_memory() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        raise Skipped("memory without page cache is read from /proc, which this system does not have")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024

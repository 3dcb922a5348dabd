"""Compare the store with plain caching: the same arrays in `.npy` files, mapped by `np.memmap`.

Extraction costs the same in both ways, so there is no break-even. These rows say what the store's format costs or
saves: checksums, compressed masks, an atomic and verified write. Plain files check nothing: a flipped bit in them is
read as data, and a write that was cut off leaves zeros.

Training reads a store in two ways: once into memory if it fits (`resident`), else batch by batch (`streamed`). The
first read of a sample checks its checksum, later ones do not.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.segmentation.batches import ResidentSamples, StreamedSamples
from store import AttentionStore, Sample
from store.writer import new_store
from tests.benchmarks.file_sources import ARRAYS, MappedArrays, bytes_in, write_arrays, write_files
from tests.benchmarks.files import BATCH, LAYOUT, ROUNDS, details_of, trainer_of
from tests.benchmarks.measure import Measurement, NotMeasured, Rounds, in_turn, without_gpu
from tests.benchmarks.training_step import epoch
from tests.benchmarks.usual_setup import write_both
from tests.conftest import RECIPE

SAMPLES = 64
READ, READINGS = 256, 10
"""Samples that are read and written without training, so many that opening the files counts little, and rounds."""


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of training on the CPU and the GPU, of reading, of writing and of the size on disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_files(folder, SAMPLES, LAYOUT)
        yield from epochs(torch.device("cpu"), store, folder)
        if torch.cuda.is_available():
            yield from epochs(torch.device("cuda"), store, folder)
        else:
            yield from (without_gpu(f"plain cache: epoch, {way}, cuda") for way in ("resident", "streamed"))
        (folder / "larger").mkdir()
        store = write_both(folder / "larger", READ, LAYOUT)
        write_arrays(folder / "larger" / "arrays", store)
        yield from reading(store, folder / "larger")
        yield writing(store, folder / "larger")
        yield size(store, folder / "larger")


def epochs(device: torch.device, store: AttentionStore, folder: Path) -> Iterator[Measurement]:
    """Yield the lines of an epoch of the default network on one device."""
    trainer = trainer_of("dual", store, device)
    sources = {
        "np.memmap": MappedArrays(folder, device),
        "resident": ResidentSamples(store, trainer.indices["train"], device),
        "streamed": StreamedSamples(store, device),
    }
    rounds = in_turn(
        {name: lambda source=source: epoch(trainer, source) for name, source in sources.items()}, rounds=ROUNDS
    )
    for way in ("resident", "streamed"):
        yield _line(
            f"epoch, {way}, {device.type}", f"seconds an epoch, np.memmap / store {way}", rounds, way, len(store)
        )


def reading(store: AttentionStore, folder: Path) -> Iterator[Measurement]:
    """Yield the lines of reading alone: for the first time since the files were opened, and later.

    Arrays are compared, not sources of the trainer: in training a thread reads the next batch during the step.
    """
    everything = np.arange(len(store))
    steps = np.array_split(np.random.default_rng(0).permutation(everything), max(1, len(store) // BATCH))
    store.read(everything)  # from here on its checksums are known to be right
    mapped = _mapped(folder)
    ways = {
        "first": (
            lambda: map(AttentionStore.open(store.path).read, steps),
            lambda: _rows(_mapped(folder), steps),
            "open and read every sample once, in batches",
        ),
        "later": (
            lambda: map(store.read, steps),
            lambda: _rows(mapped, steps),
            "read every sample again, in batches",
        ),
        "into memory": (
            lambda: [AttentionStore.open(store.path).read(everything)],
            lambda: (np.load(folder / "arrays" / f"{name}.npy") for name in ARRAYS),
            "open and read all samples into memory, as training does once",
        ),
    }
    rounds = in_turn(
        {
            f"{way}{kind}": lambda read=read: deque(read(), maxlen=0)
            for way, reads in ways.items()
            for kind, read in zip((", store", ", np.memmap"), reads[:2], strict=True)
        },
        rounds=READINGS,
    )
    for way, (_, _, what) in ways.items():
        plain = "np.load" if way == "into memory" else "np.memmap"
        yield Measurement(
            name=f"plain cache: reading, {way}",
            ratio=rounds.ratio(f"{way}, np.memmap", f"{way}, store"),
            target=None,
            claim=f"seconds to {what}, {plain} / store",
            details=details_of(rounds, f"{way}, np.memmap", f"{way}, store", samples=len(store)),
        )


def writing(store: AttentionStore, folder: Path) -> Measurement:
    """Return the line of writing all samples from memory. The store is read back and verified before it appears."""
    samples = list(store)
    turn = count()
    rounds = in_turn(
        {
            "np.memmap": lambda: _write_arrays(samples, folder / f"written-{next(turn)}"),
            "store": lambda: _write_store(samples, folder / f"written-{next(turn)}.zarr"),
        },
        rounds=ROUNDS,
    )
    return _line("writing", "seconds to write all samples, np.memmap / store", rounds, "store", len(store))


def size(store: AttentionStore, folder: Path) -> Measurement:
    """Return the line of the bytes on disk. The store compresses masks, and adds ids, digests and checksums."""
    plain, ours = bytes_in(folder / "arrays"), bytes_in(store.path)
    return Measurement(
        name="plain cache: bytes",
        ratio=plain / ours,
        target=None,
        claim="bytes on disk, np.memmap / store",
        details={"np.memmap, bytes an image": plain / len(store), "store, bytes an image": ours / len(store)},
    )


def _line(name: str, claim: str, rounds: Rounds, way: str, samples: int) -> Measurement:
    return Measurement(
        name=f"plain cache: {name}",
        ratio=rounds.ratio("np.memmap", way),
        target=None,
        claim=claim,
        details=details_of(rounds, "np.memmap", way, samples=samples),
    )


def _mapped(folder: Path) -> list[NDArray[np.generic]]:
    return [np.load(folder / "arrays" / f"{name}.npy", mmap_mode="r") for name in ARRAYS]


def _rows(arrays: list[NDArray[np.generic]], steps: list[NDArray[np.int64]]) -> Iterator[list[NDArray[np.generic]]]:
    """Yield copies of the chosen rows of all arrays, batch by batch."""
    return ([array[step] for array in arrays] for step in steps)


def _write_arrays(samples: list[Sample], folder: Path) -> None:
    """Write the three arrays sample by sample, without ids, digests and checks."""
    folder.mkdir()
    for name in ARRAYS:
        first = getattr(samples[0], name)
        array = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=first.dtype, shape=(len(samples), *first.shape)
        )
        for index, sample in enumerate(samples):
            array[index] = getattr(sample, name)
        array.flush()


def _write_store(samples: list[Sample], path: Path) -> None:
    with new_store(path, layout=LAYOUT, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)

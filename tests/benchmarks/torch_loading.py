"""Compare the loader for other training code with `store.read`, which reads the same batches as arrays.

Samples are of the size of ViT-S/8 at 224². Everything runs in one process, so the ratios are those of its own work. The
conversion to float32 is timed apart: whoever trains on a store needs it with any loader.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from stages.segmentation.data_loader import data_loader
from stages.segmentation.normalisation import normalise_attention
from stages.segmentation.torch_dataset import SegmentationDataset
from store import AttentionStore
from tests.benchmarks.measure import Measurement, in_turn
from tests.benchmarks.training_step import write_store

SAMPLES, BATCH = 128, 16


def measure() -> Iterator[Measurement]:
    """Yield the time of reading through the loader, of whole batches, and of torch's own loader, against the store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.zarr"
        write_store(path, SAMPLES)
        yield from compared(AttentionStore.open(path), rounds=11)


def compared(store: AttentionStore, *, rounds: int) -> Iterator[Measurement]:
    """Yield the lines for one store; the batches are the same in all ways."""
    plain = data_loader(store, indices=range(len(store)), batch_size=BATCH)
    augmented = data_loader(store, indices=range(len(store)), batch_size=BATCH, augment=True)
    samples = SegmentationDataset(store)
    batches = np.split(samples.indices, range(BATCH, len(store), BATCH))

    def last_of(loader: DataLoader[object]) -> None:
        for _ in loader:
            pass

    def by_hand() -> None:
        for indices in batches:
            read = store.read(indices)
            torch.from_numpy(read.image).movedim(-1, 1).float() / 255
            normalise_attention(torch.from_numpy(read.attention).float(), "log")
            torch.from_numpy(read.mask).long()

    timed = in_turn(
        {
            "store.read": lambda: [store.read(indices) for indices in batches],
            "read by the loader": lambda: [samples.source.read(indices) for indices in batches],
            "store.read and conversion": by_hand,
            "loader": lambda: last_of(plain),
            "loader with augmentation": lambda: last_of(augmented),
            "torch's loader of the data set": lambda: last_of(DataLoader(samples, batch_size=BATCH)),
        },
        rounds=rounds,
    )
    lines = (
        ("read by the loader", "store.read", 1.1),
        ("loader", "store.read and conversion", 1.2),
        ("torch's loader of the data set", "store.read and conversion", None),
        ("loader with augmentation", "store.read and conversion", None),
    )
    for one, other, target in lines:
        yield Measurement(
            name=f"torch: {one}",
            ratio=timed.cpu_ratio(one, other),
            target=target,
            at_most=True,
            claim=f"processor time, {one} / {other}, batches of {BATCH}",
            details={f"{way}, ms a sample": 1000 * took / len(store) for way, took in timed.cpu_seconds.items()},
        )

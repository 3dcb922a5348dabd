"""Compare an epoch from the store with an epoch of the same network from PNG files.

Network, augmentation, loss, optimiser and order are those of the trainer in both ways, so the ratio is what the store
saves and nothing else. The files are read by a `DataLoader` with 0, 1 and 2 workers. The network with both branches
reads its maps from a `.npy` file per image; the one with the image branch alone reads no maps.

In one row more the workers also augment, as tutorials do it: sample by sample, with `torchvision.transforms.v2`. It
says what it saves or costs to augment whole batches in the training process. Another row compares reading alone: this
is what a device that trains faster has to wait for.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stages.comparison.one_run import new_trainer
from stages.segmentation.batches import ResidentSamples, StreamedSamples
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from stages.settings.fields import Branches
from store import AttentionStore
from store.writer import Layout
from tests.benchmarks.file_sources import LoadedSamples, PngSamples, write_files
from tests.benchmarks.measure import Measurement, NotMeasured, Rounds, in_turn, without_gpu
from tests.benchmarks.training_step import epoch
from tests.benchmarks.usual_setup import usual_warps

LAYOUT = Layout(
    size=(128, 128), grid=(24, 24), heads=[f"L{layer}H{head}" for layer in (9, 10, 11) for head in range(6)], keys=577,
    classes=["skin", "lesion"],
)  # fmt: skip
"""Images of 128², and three blocks of a transformer with patches of 8 at 192²: the sizes of our results."""

SAMPLES, BATCH, ROUNDS = 64, 8, 7
WORKERS = (0, 1, 2)
BRANCHES: tuple[Branches, ...] = ("dual", "image")
NAMES = [
    *(f"files: {branches}, {workers} workers" for branches in BRANCHES for workers in WORKERS),
    "files: image, workers augment",
    "files: reading alone",
]


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of the CPU and of the GPU."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_files(folder, SAMPLES, LAYOUT)
        yield from on(torch.device("cpu"), store, folder)
        if torch.cuda.is_available():
            yield from on(torch.device("cuda"), store, folder)
        else:
            yield from (without_gpu(f"{name}, cuda") for name in NAMES)


def on(device: torch.device, store: AttentionStore, folder: Path) -> Iterator[Measurement]:
    """Yield the lines of one device."""
    for branches in BRANCHES:
        yield from _epochs(branches, device, store, folder)
    yield _reading(device, store, folder)


def trainer_of(branches: Branches, store: AttentionStore, device: torch.device) -> SegmentationTrainer:
    """Return a trainer of the default network with these branches, on all samples of the store."""
    settings = replace(TrainSettings(batch_size=BATCH, epochs=1000), branches=branches)
    return new_trainer(settings, store, ["train"] * len(store), device)


def _epochs(branches: Branches, device: torch.device, store: AttentionStore, folder: Path) -> Iterator[Measurement]:
    trainer = trainer_of(branches, store, device)
    plain = trainer_of(branches, store, device)
    plain.settings = replace(plain.settings, augment="none")
    ids, maps = tuple(store.ids.tolist()), branches == "dual"
    resident = ResidentSamples(store, trainer.indices["train"], device)
    ways: dict[str, Callable[[], object]] = {"store": lambda: epoch(trainer, resident)}
    for workers in WORKERS:
        source = LoadedSamples(PngSamples(folder, ids, maps), workers, device)
        ways[f"{workers} workers"] = lambda source=source: epoch(trainer, source)
    if not maps:
        source = LoadedSamples(PngSamples(folder, ids, maps, usual_warps()), max(WORKERS), device)
        ways["workers augment"] = lambda source=source: epoch(plain, source)
    rounds = in_turn(ways, rounds=ROUNDS)
    for way in list(ways)[1:]:
        what = f"PNG files, {max(WORKERS)} workers that augment" if way == "workers augment" else f"PNG files, {way}"
        yield Measurement(
            name=f"files: {branches}, {way}, {device.type}",
            ratio=rounds.ratio(way, "store"),
            target=None,
            claim=f"seconds an epoch of the same network ({branches}), {what} / store",
            details=details_of(rounds, way, "store", samples=len(store)),
        )


def _reading(device: torch.device, store: AttentionStore, folder: Path) -> Measurement:
    steps = np.array_split(np.arange(len(store)), max(1, len(store) // BATCH))
    files = LoadedSamples(PngSamples(folder, tuple(store.ids.tolist()), maps=True), 0, device)
    streamed = StreamedSamples(store, device)
    rounds = in_turn(
        {
            "PNG files": lambda: deque(files.batches(steps), maxlen=0),
            "store": lambda: deque(streamed.batches(steps), maxlen=0),
        },
        rounds=ROUNDS,
    )
    return Measurement(
        name=f"files: reading alone, {device.type}",
        ratio=rounds.ratio("PNG files", "store"),
        target=None,
        claim="seconds to read batches of images, masks and maps, files in one process / store",
        details=details_of(rounds, "PNG files", "store", samples=len(store)),
    )


def details_of(rounds: Rounds, above: str, below: str, *, samples: int) -> dict[str, float | str]:
    """Return the milliseconds an image of both ways, the extreme ratios of a round, and the same by processor time."""
    times = {f"{name}, ms an image": 1000 * rounds.seconds[name] / samples for name in (above, below)}
    own = {f"{name}, processor ms": 1000 * rounds.cpu_seconds[name] / samples for name in (above, below)}
    return {**times, **own, "rounds": rounds.extent(above, below), "processor time": rounds.cpu_ratio(above, below)}

"""Separate what the lighter network saves from what the store saves, against a U-Net over ResNet-34 from PNG files.

All ways run the trainer's own loop with the same augmentation, loss and optimiser; only the network and the source of
the batches differ. The U-Net sees images alone, so it reads no maps from its files. Two factors give the whole:

    U-Net from PNG files / ours from the store  =  (U-Net from PNG files / U-Net from the store)   owed to the store
                                                 × (U-Net from the store / ours from the store)    owed to the network
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from stages.comparison.one_run import new_trainer
from stages.segmentation.batches import ResidentSamples
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from store import AttentionStore
from tests.benchmarks import usual_setup
from tests.benchmarks.file_sources import LoadedSamples, PngSamples, write_files
from tests.benchmarks.files import BATCH, LAYOUT, details_of, trainer_of
from tests.benchmarks.measure import Measurement, NotMeasured, Skipped, in_turn, without_gpu
from tests.benchmarks.training_step import epoch

SAMPLES, ROUNDS = 32, 3
WORKERS = 2
FACTORS = {
    "store": ("usual, PNG files", "usual, store", f"U-Net of ResNet-34, PNG files with {WORKERS} workers / store"),
    "network": ("usual, store", "dual, store", "from the store, U-Net of ResNet-34 / ours with both branches"),
    "network, image alone": ("usual, store", "image, store", "from the store, U-Net of ResNet-34 / ours, image alone"),
    "both": ("usual, PNG files", "dual, store", f"U-Net of ResNet-34 from PNG files with {WORKERS} workers / ours"),
}
"""By the end of the line's name: two ways, and their ratio in words."""


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of the CPU and of the GPU."""
    if importlib.util.find_spec(usual_setup.LIBRARY) is None:
        raise Skipped(f"{usual_setup.LIBRARY} is not installed: `uv sync --extra bench`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_files(folder, SAMPLES, LAYOUT)
        yield from on(torch.device("cpu"), store, folder)
        if torch.cuda.is_available():
            yield from on(torch.device("cuda"), store, folder)
        else:
            yield from (without_gpu(f"lighter network: {factor}, cuda") for factor in FACTORS)


def on(device: torch.device, store: AttentionStore, folder: Path) -> Iterator[Measurement]:
    """Yield the lines of one device."""
    trainers = {"usual": usual_trainer(store, device)} | {
        branches: trainer_of(branches, store, device) for branches in ("dual", "image")
    }
    resident = ResidentSamples(store, trainers["usual"].indices["train"], device)
    files = LoadedSamples(PngSamples(folder, tuple(store.ids.tolist()), maps=False), WORKERS, device)
    ways: dict[str, Callable[[], object]] = {
        f"{name}, store": lambda trainer=trainer: epoch(trainer, resident) for name, trainer in trainers.items()
    }
    ways["usual, PNG files"] = lambda: epoch(trainers["usual"], files)
    rounds = in_turn(ways, rounds=ROUNDS)
    for factor, (above, below, what) in FACTORS.items():
        yield Measurement(
            name=f"lighter network: {factor}, {device.type}",
            ratio=rounds.ratio(above, below),
            target=None,
            claim=f"seconds an epoch, {what}",
            details=details_of(rounds, above, below, samples=len(store)),
        )


def usual_trainer(store: AttentionStore, device: torch.device) -> SegmentationTrainer:
    """Return a trainer of the U-Net over ResNet-34, on all samples of the store."""
    settings = TrainSettings(batch_size=BATCH, epochs=1000, branches="image")
    return new_trainer(settings, store, ["train"] * len(store), device, usual_setup.usual_network)

"""Compare choices of the trainer that change no result: memory layout, optimiser, compilation, threads.

Each line is the time of a step with another choice, divided by the time with the choice that training makes. Above one,
training's choice is faster. The tensors are in memory already, and the network is the default one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.optim import AdamW

from stages.segmentation.batches import ResidentSamples
from stages.segmentation.trainer import SegmentationTrainer
from store import AttentionStore
from tests.benchmarks.measure import Measurement, NotMeasured, side_by_side
from tests.benchmarks.training_step import BATCH, InMemory, epoch, new_trainer, on_every_device


def contiguous(trainer: SegmentationTrainer) -> None:
    """Put the network's weights in torch's default memory layout, channels first."""
    trainer.model.to(memory_format=torch.contiguous_format)


def fused(trainer: SegmentationTrainer) -> None:
    """Use the fused AdamW, which updates the weights in one kernel."""
    trainer.optimizer = AdamW(
        trainer.model.parameters(), lr=trainer.settings.lr, weight_decay=trainer.settings.weight_decay, fused=True
    )


def compiled(trainer: SegmentationTrainer) -> None:
    """Compile the network with torch.compile. The compilation itself is not timed."""
    trainer.model.compile()


VARIANTS: dict[str, Callable[[SegmentationTrainer], None]] = {
    "contiguous": contiguous,
    "fused AdamW": fused,
    "compiled": compiled,
}


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield a line for each choice and device."""
    yield from on_every_device(on, [f"choice: {name}" for name in VARIANTS])


def on(device: torch.device, path: Path) -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of one device."""
    store = AttentionStore.open(path)
    variants = dict(VARIANTS)
    if device.type == "cpu" and shutil.which("g++") is None:
        variants.pop("compiled")
        yield NotMeasured(name="choice: compiled, cpu", reason="torch.compile needs g++ on a CPU")
    trainers = {"ours": new_trainer(store, device)}
    for name, change in variants.items():
        trainers[name] = new_trainer(store, device)
        change(trainers[name])
    indices = trainers["ours"].indices["train"]
    steps = np.array_split(indices, len(indices) // BATCH)
    source = InMemory(list(ResidentSamples(store, indices, device).batches(steps)))
    ways: dict[str, Callable[[], object]] = {
        name: lambda trainer=trainer: epoch(trainer, source) for name, trainer in trainers.items()
    }
    if device.type == "cpu" and (threads := torch.get_num_threads()) > 1:
        ways["one thread"] = lambda: _with_threads(1, threads, ways["ours"])
    seconds = {name: took / len(steps) for name, took in side_by_side(ways, rounds=5, warm_up=2).items()}
    for name in list(ways)[1:]:
        yield Measurement(
            name=f"choice: {name}, {device.type}",
            ratio=seconds[name] / seconds["ours"],
            target=None,
            claim=f"seconds a step, {name} / as training does it, batch of {BATCH}",
            details={"seconds": seconds[name], "ours": seconds["ours"]},
        )


def _with_threads(count: int, before: int, work: Callable[[], object]) -> None:
    torch.set_num_threads(count)
    try:
        work()
    finally:
        torch.set_num_threads(before)

"""Compare a training step that reads from the store with a step on tensors that are in memory already.

Both run the same augmentation, forward and backward pass and optimiser, in the trainer's own code. `resident` and
`streamed` are the two ways to read a store in training (`stages.segmentation.batches`). Reading is also timed alone:
this is the time that `streamed` has to hide behind the step. On a GPU, `resident` holds the whole store in GPU memory,
and the time that Python takes to launch a step is reported as well.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from stages.runtime.progress import SILENT
from stages.segmentation.batches import ResidentSamples, StreamedSamples, TensorBatch
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from store import AttentionStore
from store.writer import Layout, new_store
from tests.benchmarks.measure import Measurement, NotMeasured, side_by_side, without_gpu
from tests.conftest import RECIPE, random_sample

LAYOUT = Layout(
    size=(224, 224), grid=(28, 28), heads=[f"L11H{head}" for head in range(6)], keys=785, classes=["skin", "lesion"]
)
"""ViT-S/8 at 224²."""

SAMPLES = 32
BATCH = 16


class InMemory:
    """Feed batches of tensors that are on the device already."""

    def __init__(self, batches: list[TensorBatch]) -> None:
        self._batches = batches

    def batches(self, _: object) -> Iterator[TensorBatch]:
        """Return the same batches in the same order every time."""
        return iter(self._batches)


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield a line for each way to read and each device, and on a GPU one for Python's share of a step."""
    yield from on_every_device(on, [f"step: {what}" for what in ("resident", "streamed", "reading", "Python")])


def on_every_device(
    lines: Callable[[torch.device, Path], Iterator[Measurement | NotMeasured]], names: Iterable[str]
) -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of the CPU and the GPU for a store of `SAMPLES`.

    `names` are the names of the GPU's lines. Without a GPU the table shows them as not measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.zarr"
        write_store(path, SAMPLES)
        yield from lines(torch.device("cpu"), path)
        if torch.cuda.is_available():
            yield from lines(torch.device("cuda"), path)
        else:
            yield from (without_gpu(f"{name}, cuda") for name in names)


def on(device: torch.device, path: Path) -> Iterator[Measurement]:
    """Yield the lines of one device."""
    store = AttentionStore.open(path)
    trainer = new_trainer(store, device)
    indices = trainer.indices["train"]
    resident = ResidentSamples(store, indices, device)
    steps = np.array_split(indices, len(indices) // BATCH)
    sources = {
        "in memory": InMemory(list(resident.batches(steps))),
        "resident": resident,
        "streamed": StreamedSamples(store, device),
    }
    streamed = sources["streamed"]
    seconds = side_by_side(
        {
            **{name: lambda source=source: epoch(trainer, source) for name, source in sources.items()},
            "reading alone": lambda: deque(streamed.batches(steps), maxlen=0),
        },
        rounds=20 if device.type == "cuda" else 5,
    )
    per_step = {name: value / len(steps) for name, value in seconds.items()}
    for name in ("resident", "streamed"):
        yield Measurement(
            name=f"step: {name}, {device.type}",
            ratio=per_step[name] / per_step["in memory"],
            target=1.03,
            at_most=True,
            claim=f"seconds a step, store {name} / tensors in memory, batch of {BATCH}",
            details=per_step,
        )
    yield Measurement(
        name=f"step: reading, {device.type}",
        ratio=per_step["reading alone"] / per_step["in memory"],
        target=None,
        at_most=True,
        claim="seconds to read a batch from the store, nothing else running / seconds a step on tensors in memory",
        details=per_step,
    )
    if device.type == "cuda":
        launched = launching(trainer, sources["resident"]) / len(steps)
        yield Measurement(
            name="step: Python, cuda",
            ratio=launched / per_step["resident"],
            target=None,
            claim="seconds until a step is launched / seconds a step",
            details={"seconds": launched},
        )


def epoch(trainer: SegmentationTrainer, source: object) -> None:
    """Run one epoch of the trainer's own loop on `source` and wait until the device has finished."""
    trainer._samples["train"] = source  # type: ignore[assignment]
    with SILENT.task("measuring", 0) as task:
        trainer._train(1, task)  # ends by fetching the mean loss, which waits for the device


def launching(trainer: SegmentationTrainer, source: object) -> float:
    """Return the seconds that Python takes to launch an epoch on a GPU, without the time of the GPU itself."""
    original: Callable[..., torch.Tensor] = torch.stack
    launched: list[float] = []

    def noted(losses: list[torch.Tensor], *, dim: int = 0) -> torch.Tensor:
        launched.append(time.perf_counter())
        return original(losses, dim=dim)

    taken = []
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        torch.stack = noted  # type: ignore[assignment]
        try:
            epoch(trainer, source)
        finally:
            torch.stack = original  # type: ignore[assignment]
        taken.append(launched[-1] - began)  # the last stack is that of the epoch's losses
    return float(np.median(taken))


def write_store(path: Path, samples: int, layout: Layout = LAYOUT) -> None:
    """Write a store of random samples. A step takes as long on noise as on real images."""
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index in range(samples):
            writer.append(random_sample(index, layout))


def new_trainer(store: AttentionStore, device: torch.device) -> SegmentationTrainer:
    """Return a trainer with the default settings, on all samples."""
    return SegmentationTrainer(TrainSettings(batch_size=BATCH, epochs=1000), store, ["train"] * len(store), device)

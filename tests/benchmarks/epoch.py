"""Compare an epoch from the store with an epoch that runs DINO in the loop.

Both train the same segmenter with the default settings on the same images. In the loop, our own fast extraction runs
DINO on every batch before the segmenter. Its weights are random: time does not depend on them. A few steps are timed,
not a whole epoch: both ways have the same number of steps in an epoch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch

from stages.attention.cls_attention import cls_attention
from stages.segmentation.batches import ResidentSamples, TensorBatch
from stages.segmentation.normalisation import normalise_image
from store import AttentionStore
from tests.benchmarks.measure import Measurement, NotMeasured, side_by_side, without_gpu
from tests.benchmarks.training_step import LAYOUT, epoch, new_trainer, write_store

MODEL = "vit_small_patch8_224.dino"
PATCH = 8
SIZES = {"cpu": ((224, 16, 3), (480, 2, 2)), "cuda": ((224, 64, 10), (480, 64, 5))}
"""By device: side of DINO's input, number of images, number of rounds."""


class DinoInTheLoop:
    """Feed batches whose attention is computed when the batch is requested."""

    def __init__(self, batches: list[TensorBatch], side: int, device: torch.device) -> None:
        self._batches = batches
        self._side = side
        # Attention is computed with the extractor's own fast function, so that the comparison is fair.
        self._model = timm.create_model(MODEL, pretrained=False, img_size=side).eval().to(device)

    def batches(self, _: object) -> Iterator[TensorBatch]:
        """Yield the same images and masks every time, with newly computed attention."""
        for batch in self._batches:
            images = torch.nn.functional.interpolate(batch.image.float(), size=(self._side, self._side))
            with torch.inference_mode():
                maps = torch.cat([cls_attention(self._model, part, (11,)) for part in normalise_image(images).split(8)])
            keys = (self._side // PATCH) ** 2 + 1
            yield TensorBatch(batch.image, batch.mask, (maps * keys).half().clone())


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield a line for each device and size of DINO's input."""
    for kind, sizes in SIZES.items():
        for side, samples, rounds in sizes:
            if kind == "cuda" and not torch.cuda.is_available():
                yield without_gpu(_name(side, kind))
            else:
                yield compared(torch.device(kind), side, samples, rounds)


def compared(device: torch.device, side: int, samples: int, rounds: int) -> Measurement:
    """Measure the time of the same steps: DINO in the loop / from the store."""
    grid = (side // PATCH, side // PATCH)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.zarr"
        write_store(path, samples, replace(LAYOUT, grid=grid, keys=grid[0] * grid[1] + 1))
        store = AttentionStore.open(path)
        trainer = new_trainer(store, device)
        resident = ResidentSamples(store, np.arange(samples), device)
        order = np.array_split(np.arange(samples), max(1, samples // trainer.settings.batch_size))
        loop = DinoInTheLoop(list(resident.batches(order)), side, device)
        seconds = side_by_side(
            {"store": lambda: epoch(trainer, resident), "in the loop": lambda: epoch(trainer, loop)}, rounds=rounds
        )
    per_image = {f"{name}, ms an image": 1000 * value / samples for name, value in seconds.items()}
    return Measurement(
        name=_name(side, device.type),
        ratio=seconds["in the loop"] / seconds["store"],
        target=8.0 if (side, device.type) == (224, "cpu") else None,
        claim="seconds of the same steps, DINO in the loop / from the store",
        details=per_image,
    )


def _name(side: int, kind: str) -> str:
    return f"epoch: {side}², {kind}"

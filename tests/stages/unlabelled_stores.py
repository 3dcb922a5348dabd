"""Write tiny stores in which some samples have no mask, and train on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.runtime.progress import Task
from stages.segmentation.trainer import SegmentationTrainer
from store import AttentionStore
from store.records import IGNORE, Sample
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample, train_settings

LAYOUT = Layout(size=(16, 24), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])
Change = Callable[[int, Sample], Sample]


def mixed_store(
    path: Path, *, masks: int, others: int, layout: Layout = LAYOUT, change: Change = lambda _, sample: sample
) -> AttentionStore:
    """Write a store whose last `others` samples have no mask. Every sample is a group of its own.

    Args:
        path: of the store.
        masks: number of samples with a mask.
        others: number of samples without one.
        layout: of the store.
        change: gets the position and the sample, and returns the sample that is written.
    """
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index in range(masks + others):
            sample = replace(random_sample(index, layout), group=f"group-{index}")
            if index >= masks:
                sample = without_mask(sample)
            writer.append(change(index, sample))
    return AttentionStore.open(path)


def without_mask(sample: Sample) -> Sample:
    """Return a sample as it is stored without a mask."""
    return replace(sample, labelled=False, mask=np.full_like(sample.mask, IGNORE))


def inverted_images(positions: Sequence[int]) -> Change:
    """Return a change of the images at some positions."""
    return lambda index, sample: replace(sample, image=255 - sample.image) if index in positions else sample


def trainer_of(store: AttentionStore, splits: Sequence[str], **changes: Any) -> SegmentationTrainer:
    """Return a trainer of three epochs on the CPU, which learns from unlabelled samples and counts every pixel."""
    values = {"unlabelled": True, "confidence": 0.0, "precision": "float32", "lr": 0.01, "batch_size": 2} | changes
    settings = train_settings(store.path, store.path.parent / "run", **values)
    return SegmentationTrainer(settings, store, list(splits), torch.device("cpu"))


def trained(store: AttentionStore, splits: Sequence[str], **changes: Any) -> SegmentationTrainer:
    """Return the trainer after all of its epochs."""
    trainer = trainer_of(store, splits, **changes)
    for epoch in range(1, trainer.budget.epochs + 1):
        trainer.run_epoch(epoch, Task())
    return trainer


def weights_of(trainer: SegmentationTrainer) -> dict[str, torch.Tensor]:
    """Return copies of the weights that are trained, and of their average if there is one."""
    weights = {f"model.{name}": tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    return weights | {f"saved.{name}": tensor.clone() for name, tensor in trainer.evaluated.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Return True if all tensors are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())

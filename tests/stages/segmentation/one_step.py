"""Take one training step without the optimiser, and save its loss, its gradients and the running statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from stages.runtime.collectives import sum_gradients
from stages.runtime.processes import ALONE, Processes
from stages.segmentation.trainer import SegmentationTrainer
from stages.segmentation.views import training_views
from stages.settings import TrainSettings
from store import AttentionStore

__all__ = ["save_step"]

STEP = 3
"""Number of the step: unlabelled samples have a weight above zero in it."""


def save_step(path: Path, out: Path, changes: dict[str, Any], processes: Processes = ALONE) -> None:
    """Compute the loss and the gradients of one batch; the first process saves them at `out`.

    Args:
        path: of the store; its samples without a mask are unlabelled, all others are training samples.
        out: file to write.
        changes: settings of the training; the batch is the first `batch_size` training samples.
        processes: this process, and how many there are.
    """
    store = AttentionStore.open(path)
    splits = ["train" if labelled else "unlabelled" for labelled in store.labelled]
    settings = TrainSettings(store=path, epochs=8, width=4, precision="float32", **changes)
    trainer = SegmentationTrainer(settings, store, splits, torch.device("cpu"), processes)
    trainer.model.train()
    order = [trainer.indices["train"][: settings.batch_size]]
    views = training_views(trainer._open("train"), order, trainer.model.config, settings, 1, processes)
    (_, view), unlabelled = next(zip(views, trainer._views(1, STEP, 1), strict=True))
    loss, own = trainer._losses(view, unlabelled, STEP)
    loss.backward()
    sum_gradients(trainer.model.parameters())
    saved = {name: one.grad.contiguous() for name, one in trainer.model.named_parameters()}
    saved |= {name: one for name, one in trainer.model.named_buffers() if one.is_floating_point()}
    if processes.leads:
        save_file({**saved, "loss": loss.detach(), "own": own.detach().clone()}, out)

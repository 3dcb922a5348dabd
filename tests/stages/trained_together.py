"""Train in one process or in several, with an optimiser that does not enlarge rounding errors."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from stages import train
from stages.segmentation import trainer as training
from stages.segmentation.training_report import TrainingReport
from tests.conftest import train_settings

__all__ = ["CALM", "calm_training"]

CALM = partial(torch.optim.AdamW, eps=1e-2)
"""AdamW divides a gradient by its size. With the usual eps of 1e-8, a gradient that is zero up to rounding would move a
weight as far as any other, in a direction that depends on the order of a sum."""


def calm_training(store: Path, out: Path, changes: dict[str, Any]) -> TrainingReport | train.CrossValidationReport:
    """Train on a CPU with few steps; `changes` replace single settings.

    With the variable STOP_AFTER, the process ends without any clean-up after so many epochs, if its rank is that of
    STOP_RANK, or whatever its rank is without that.
    """
    last, rank = os.environ.get("STOP_AFTER"), os.environ.get("STOP_RANK", os.environ.get("RANK", "0"))
    run_epoch = training.SegmentationTrainer.run_epoch

    def until_stopped(trainer: Any, epoch: int, task: Any) -> Any:
        row = run_epoch(trainer, epoch, task)
        if last is not None and epoch == int(last) and os.environ.get("RANK", "0") == rank:
            if trainer.processes.leads:
                trainer._save_state(trainer.settings.out.with_name(f".{trainer.settings.out.name}.training"))
            os._exit(9)
        return row

    settings = train_settings(store, out, **{"device": "cpu", "batch_size": 8, "epochs": 3, "test": 0.1, **changes})
    with (
        patch.object(training, "AdamW", CALM),
        patch.object(training.SegmentationTrainer, "run_epoch", until_stopped),
    ):
        return train.run(settings)

"""Interrupt a training run, and compare two: their weights and their history."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.segmentation.checkpoint import load_state
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from stages.train import run


def interrupt(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Start a run and interrupt it when its `at`-th epoch begins, counted over all folds; the others were saved."""
    original, begun = SegmentationTrainer.run_epoch, []

    def stopping(self: SegmentationTrainer, epoch: int, task: Any) -> Any:
        begun.append(epoch)
        if len(begun) == at:
            raise KeyboardInterrupt
        return original(self, epoch, task)

    with monkeypatch.context() as patch:
        patch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 0.0)
        patch.setattr(SegmentationTrainer, "run_epoch", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(settings)


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the last epoch."""
    return dict(load_state(run_folder / "state.safetensors").tensors["model"])


def same_weights(one: Path, other: Path) -> bool:
    """Return whether two runs ended with the same weights, bit for bit."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def history(run_folder: Path) -> list[dict[str, str]]:
    """Return the rows of `history.csv`."""
    with (run_folder / "history.csv").open() as file:
        return list(csv.DictReader(file))

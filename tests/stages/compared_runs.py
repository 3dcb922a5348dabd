"""Compare two training runs: their weights and their history."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from stages.segmentation.checkpoint import load_state


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

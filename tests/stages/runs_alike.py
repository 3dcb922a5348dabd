"""Compare two runs that should be the same up to rounding."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

__all__ = ["assert_same_run"]


def assert_same_run(one: Path, several: Path) -> None:
    """Make sure that two runs have the same splits, and the same weights and history up to rounding."""
    assert (one / "splits.csv").read_text() == (several / "splits.csv").read_text()
    histories = [list(csv.DictReader((run / "history.csv").read_text().splitlines())) for run in (one, several)]
    assert len(histories[0]) == len(histories[1]) > 0
    for before, after in zip(*histories, strict=True):
        for name, value in before.items():
            assert float(after[name] or -1) == pytest.approx(float(value or -1), rel=1e-3, abs=1e-6), name
    for file in ("model.safetensors", "state.safetensors"):
        expected, found = load_file(one / file), load_file(several / file)
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            largest = max(float(tensor.abs().max()), 1e-3)
            share = 0.02 if name.startswith("optimizer") else 1e-3  # rounding decides some ReLUs, and so gradients
            np.testing.assert_allclose(found[name], tensor, atol=share * largest, err_msg=f"{file} {name}")

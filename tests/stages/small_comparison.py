"""Make and run tiny comparisons for tests."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from stages import compare
from stages.comparison import one_run
from stages.comparison.results import RunResult
from stages.segmentation.checkpoint import SPLITS_FILE
from stages.settings import CompareSettings, TrainSettings

BASE = TrainSettings(width=4, batch_size=2, val=0.2, test=0.3, precision="float32")
"""Settings of `train` that all arms share."""


def compare_settings(store: Path, out: Path, **changes: Any) -> CompareSettings:
    """Return the settings of four short runs: two arms and two numbers of labels."""
    settings: dict[str, Any] = {
        "store": store,
        "out": out,
        "arms": ("dual", "image"),
        "labels": ("2", "4"),
        "seeds": ("0",),
        "steps": 2,
        "device": "cpu",
    }
    return CompareSettings(**{**settings, **changes})


def compared(store: Path, out: Path, base: TrainSettings = BASE, **changes: Any) -> compare.ComparisonReport:
    """Run a tiny comparison."""
    return compare.run(compare.plan(compare_settings(store, out, **changes), base))


def trained_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets an entry `arm-labels-seed` for every run that is trained from now on."""
    trained: list[str] = []
    original = one_run.train_and_score

    def counted(*args: Any, **named: Any) -> RunResult:
        result = original(*args, **named)
        trained.append(f"{result.arm}-{result.labels}-{result.seed}")
        return result

    monkeypatch.setattr("stages.comparison.execution.train_and_score", counted)
    return trained


def ids_by_split(run: Path) -> dict[str, set[str]]:
    """Return the ids of a run's samples by their split."""
    with (run / SPLITS_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {split: {row["id"] for row in rows if row["split"] == split} for split in ("train", "val", "test", "")}

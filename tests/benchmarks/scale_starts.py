"""Measure how trainings on millions of samples begin, up to their first step; rows of `tests.benchmarks.scale`.

The trainings have 1,000 labels. Their labelled samples are read into memory before the first step, which is not the
cost that is measured here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from store import AttentionStore
from tests.benchmarks.scale_runs import peak

LABELS = 1_000


class FirstStepError(Exception):
    """The first step has begun."""


def table_of(path: Path) -> Path:
    """Return the path of the table of splits that belongs to a store."""
    return path.with_suffix(".csv")


def write_table(path: Path) -> None:
    """Write a table `id,split` with all samples of a store, in its order, beside the store."""
    from stages.segmentation.splits import split_by_rule

    store = AttentionStore.open(path)
    splits = split_by_rule(store, rule="hash", seed=1, val=0.15, test=0.15)
    start = 0
    with table_of(path).open("w", newline="") as file:
        file.write("id,split\n")
        for texts in store.columns.texts("sample"):
            some = splits[start : start + len(texts)]
            file.writelines(f"{one.decode()},{split}\n" for one, split in zip(texts.to_list(), some, strict=True))
            start += len(texts)


def training(path: Path, **changes: Any) -> dict[str, float]:
    """Begin to train, as `train` does before its first step, with some settings changed."""
    import stages.train
    from stages.settings import TrainSettings

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings(store=path, out=Path(folder) / "run", steps=3, labels=LABELS, **changes)
        return peak(lambda: _until_first_step(lambda: stages.train.run(settings)))


def training_by_table(path: Path) -> dict[str, float]:
    """Begin to train with `--split-csv`; the table lies beside the store."""
    return training(path, split_csv=table_of(path))


def training_unlabelled(path: Path) -> dict[str, float]:
    """Begin to train with `--unlabelled`."""
    return training(path, unlabelled=True)


def comparing(path: Path) -> dict[str, float]:
    """Begin to compare two arms, as `compare` does before its first step."""
    import stages.compare
    from stages.settings import CompareSettings, TrainSettings

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "comparison"
        settings = CompareSettings(store=path, out=out, labels=(str(LABELS),), seeds=("0",), steps=3)
        base = TrainSettings(store=path, out=out)
        return peak(lambda: _until_first_step(lambda: stages.compare.run(stages.compare.plan(settings, base))))


def folding(path: Path) -> dict[str, float]:
    """Divide the samples into two folds: read all masks and deal out all groups three times."""
    from stages.segmentation.folds import fold_splits

    store = AttentionStore.open(path)
    return peak(lambda: np.array(fold_splits(store, folds=2, seed=0, val=0.15)[0], object))


def _until_first_step(work: Any) -> None:
    """Run some work until a trainer is to compute the loss of its first step."""
    target = "stages.segmentation.trainer.SegmentationTrainer._losses"
    with mock.patch(target, side_effect=FirstStepError):
        try:
            work()
        except FirstStepError:
            return
    raise ValueError("the training ended without a step")

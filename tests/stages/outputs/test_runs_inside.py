"""A folder of several runs, given where one run is asked for, is named with a run in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.inspection import describe_store
from stages.errors import CheckpointError
from stages.outputs.runs_inside import several_runs
from stages.segmentation.checkpoint import load_model
from stages.segmentation.run_splits import read_run_splits
from tests.stages.outputs.made import make_comparison, make_cross_validation, make_report, make_run, make_store

Make = Callable[[Path], Path]
SEVERAL = [
    (make_cross_validation, "a cross-validation: give the run of one fold, such as {}/fold1."),
    (make_comparison, "a comparison: give one of its runs, such as {}/runs/dual-16-seed0."),
]


@pytest.mark.parametrize(("make", "message"), SEVERAL)
def test_a_folder_of_several_runs_is_no_run_with_missing_files(
    make: Make, message: str, make_store: Callable[..., Path], tmp_path: Path
):
    """`load_model` is what `predict`, `evaluate`, `export`, `report`, `view` and the Python API read a run with."""
    folder = make(tmp_path / "several")
    store = make_store(2)
    for read in (
        lambda: describe_store(store, stats=False, run=folder),
        lambda: read_run_splits(folder / "splits.csv"),
        lambda: load_model(folder, torch.device("cpu")),
    ):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert message.format(folder) in str(caught.value)


def test_the_first_fold_that_is_there_is_named(tmp_path: Path):
    folder = make_cross_validation(tmp_path / "cv")
    shutil.rmtree(folder / "fold1")
    assert several_runs(folder).endswith(f"{folder / 'fold2'}")


@pytest.mark.parametrize("make", [make_run, make_report, make_store])
def test_other_folders_do_not_hold_runs(make: Make, tmp_path: Path):
    assert several_runs(make(tmp_path / "other")) == ""
    assert several_runs(tmp_path / "missing") == ""


def test_a_comparison_that_kept_no_run_names_none(tmp_path: Path):
    folder = make_comparison(tmp_path / "compare")
    shutil.rmtree(folder / "runs")
    assert several_runs(folder) == ""

"""Training with few labels and for an exact number of steps."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from stages.errors import UsageError
from stages.train import run
from tests.conftest import train_settings
from tests.stages.compared_runs import history, weights


def _splits(run_folder: Path) -> dict[str, str]:
    with (run_folder / "splits.csv").open() as file:
        return {row["id"]: row["split"] for row in csv.DictReader(file)}


def test_a_run_with_few_labels_trains_on_these_and_keeps_the_test_set(phantom_store: Path, tmp_path: Path):
    whole = run(train_settings(phantom_store, tmp_path / "all", steps=2))
    report = run(train_settings(phantom_store, tmp_path / "few", steps=2, labels=3))
    assert report.samples == {**whole.samples, "train": 3}
    before, after = _splits(tmp_path / "all"), _splits(tmp_path / "few")
    assert {split for split in after.values() if split == "train"} == {"train"}
    for id_, split in before.items():
        assert after[id_] == split or (split, after[id_]) == ("train", "")


def test_a_number_of_steps_is_exact_and_ends_the_learning_rate_at_zero(phantom_store: Path, tmp_path: Path):
    """Seven samples in batches of three are three steps an epoch: seven steps end within the third."""
    report = run(train_settings(phantom_store, tmp_path / "run", steps=7, labels=7, batch_size=3))
    assert (report.steps, report.epochs) == (7, 3)
    rows = history(tmp_path / "run")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["lr"]) == 0


def test_steps_that_make_whole_epochs_give_the_same_weights_as_the_epochs(phantom_store: Path, tmp_path: Path):
    by_epochs = run(train_settings(phantom_store, tmp_path / "epochs", epochs=3, batch_size=4))
    run(train_settings(phantom_store, tmp_path / "steps", steps=by_epochs.steps, batch_size=4))
    assert weights(tmp_path / "epochs").keys() == weights(tmp_path / "steps").keys()
    assert all(
        (weights(tmp_path / "epochs")[name] == tensor).all() for name, tensor in weights(tmp_path / "steps").items()
    )


def test_more_labels_than_training_samples_is_an_error_that_leaves_nothing(phantom_store: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="100 labelled samples are asked for"):
        run(train_settings(phantom_store, tmp_path / "run", labels=100))
    assert not list(tmp_path.iterdir())


def test_a_finished_run_with_steps_is_not_trained_again_and_another_number_is_refused(
    phantom_store: Path, tmp_path: Path
):
    first = run(train_settings(phantom_store, tmp_path / "run", steps=3, labels=4, batch_size=2))
    again = run(train_settings(phantom_store, tmp_path / "run", steps=3, labels=4, batch_size=2, resume=True))
    assert again.steps == first.steps
    with pytest.raises(Exception, match="steps: was 3, now 5"):
        run(train_settings(phantom_store, tmp_path / "run", steps=5, labels=4, batch_size=2, resume=True))


def test_folds_take_the_same_number_of_labels_each(phantom_store: Path, tmp_path: Path):
    run(train_settings(phantom_store, tmp_path / "folds", folds=2, labels=3, steps=1))
    for fold in ("fold1", "fold2"):
        assert list(_splits(tmp_path / "folds" / fold).values()).count("train") == 3

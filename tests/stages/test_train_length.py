"""Runs whose length is not given: the default, and how runs are resumed that had another default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.errors import CheckpointError
from stages.segmentation.checkpoint import load_state
from stages.segmentation.training_report import ONE_CLASS
from stages.settings import TrainSettings
from stages.train import run
from tests.conftest import train_settings
from tests.stages.compared_runs import history, interrupt, same_weights

KEPT = "note: the run was started with 4 epochs and keeps them"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the default be 10 steps and at least 2 epochs, and the default of earlier versions 4 epochs."""
    monkeypatch.setattr("stages.segmentation.budget.FEW_STEPS", 10)
    monkeypatch.setattr("stages.segmentation.budget.LEAST_EPOCHS", 2)
    monkeypatch.setattr("stages.segmentation.budget.EARLIER_EPOCHS", 4)
    monkeypatch.setattr("stages.segmentation.recorded_runs.EARLIER_EPOCHS", 4)


@pytest.fixture
def store(make_store: Callable[..., Path]) -> Path:
    """Return the path of a store of twelve samples."""
    return make_store(12)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainSettings, int], None]:
    """Return a function that starts a run and interrupts it at the beginning of an epoch; all others were saved."""

    def start(settings: TrainSettings, at: int) -> None:
        interrupt(settings, monkeypatch, at=at)

    return start


def _settings(store: Path, out: Path, **changes: Any) -> TrainSettings:
    """Return settings with one step an epoch and without validation; their length is not given."""
    settings: TrainSettings = train_settings(
        store, out, **{"epochs": None, "labels": 2, "width": 2, "val": 0.0, "augment": "none", **changes}
    )
    return settings


def test_a_run_without_a_length_has_as_many_epochs_as_the_steps_need(store: Path, tmp_path: Path):
    """Six samples in batches of two are three steps an epoch: four epochs are the fewest with ten steps."""
    report: Any = run(_settings(store, tmp_path / "a", labels=6, batch_size=2))
    assert (report.epochs, report.steps) == (4, 12)
    assert [row["epoch"] for row in history(tmp_path / "a")] == ["1", "2", "3", "4"]
    assert load_state(tmp_path / "a" / "state.safetensors").settings["epochs"] == 4


def test_a_run_without_a_length_is_resumed_without_one_and_with_the_same(store: Path, tmp_path: Path, interrupted):
    """It equals an uninterrupted one. A length that gives another number of epochs is refused."""
    run(_settings(store, tmp_path / "whole"))
    settings = _settings(store, tmp_path / "stopped")
    interrupted(settings, 4)
    for changes, line in (({"epochs": 9}, "epochs: was 10, now 9"), ({"steps": 10}, "steps: was not given, now 10")):
        with pytest.raises(CheckpointError, match=line):
            run(replace(settings, resume=True, **changes))
    assert KEPT not in str(run(replace(settings, resume=True)))
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")
    again: Any = run(replace(settings, resume=True, epochs=10))
    assert again.epochs == 10


def test_an_interrupted_run_of_an_earlier_version_keeps_its_default(store: Path, tmp_path: Path, interrupted):
    """Earlier versions recorded their default for a run without a length. By default it would now have 10 epochs."""
    run(_settings(store, tmp_path / "whole", epochs=4))
    interrupted(_settings(store, tmp_path / "stopped", epochs=4), 3)
    resumed = _settings(store, tmp_path / "stopped", resume=True)
    report: Any = run(resumed)
    assert report.epochs == 4
    assert f"{KEPT}; a new run has 10 by default" in str(report)
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")
    again: Any = run(resumed)  # it has finished
    assert again.epochs == 4
    assert KEPT in str(again)


def test_a_run_of_any_other_length_is_not_resumed_without_its_length(store: Path, tmp_path: Path, interrupted):
    """A length that was given must be given again, as before. Nothing changes."""
    interrupted(_settings(store, tmp_path / "a", epochs=5), 3)
    interrupted(_settings(store, tmp_path / "b", steps=5), 3)
    for name, line in (("a", "epochs: was 5, now 10"), ("b", "steps: was 5, now not given")):
        state = tmp_path / f".{name}.training" / "state.safetensors"
        before = state.read_bytes()
        with pytest.raises(CheckpointError, match=line):
            run(_settings(store, tmp_path / name, resume=True))
        assert state.read_bytes() == before


def test_an_interrupted_run_with_steps_of_an_earlier_version_is_resumed(store: Path, tmp_path: Path, interrupted):
    """Earlier versions recorded their default beside the steps, which mean nothing."""
    interrupted(_settings(store, tmp_path / "a", epochs=4, steps=4), 3)
    report: Any = run(_settings(store, tmp_path / "a", steps=4, resume=True))
    assert report.epochs == 4
    assert KEPT not in str(report)


def test_a_finished_run_of_an_earlier_version_does_not_shorten_a_new_one_that_replaces_it(
    store: Path, tmp_path: Path, interrupted
):
    """The run that was interrupted counts, and not the one that it will replace."""
    run(_settings(store, tmp_path / "a", epochs=4))
    interrupted(_settings(store, tmp_path / "a"), 4)
    report: Any = run(_settings(store, tmp_path / "a", resume=True))
    assert report.epochs == 10
    assert KEPT not in str(report)


def test_a_run_that_was_killed_when_it_replaced_an_earlier_one_is_not_undone(store: Path, tmp_path: Path):
    """The earlier run is then in the working folder, and the finished one at its place."""
    run(_settings(store, tmp_path / "earlier", epochs=4))
    run(_settings(store, tmp_path / "a"))
    (tmp_path / "earlier").rename(tmp_path / ".a.training")
    report: Any = run(_settings(store, tmp_path / "a", resume=True))
    assert report.epochs == len(history(tmp_path / "a")) == 10


def test_all_folds_of_an_earlier_version_keep_its_default(store: Path, tmp_path: Path, interrupted):
    """Also those that were not begun before the interruption, so that the models can be compared."""
    out = tmp_path / "cv"
    interrupted(_settings(store, out, epochs=4, folds=3), 7)  # in the third epoch of the second fold
    report = run(_settings(store, out, folds=3, resume=True))
    assert KEPT in str(report)
    assert [len(history(out / f"fold{number}")) for number in (1, 2, 3)] == [4, 4, 4]


def test_a_finished_run_that_is_resumed_warns_again(store: Path, tmp_path: Path, monkeypatch):
    """A user may look at the last output only."""
    settings = _settings(store, tmp_path / "run", epochs=2)
    monkeypatch.setattr("stages.segmentation.validation.Validation.predicts_one_class", lambda *_: True)
    for resume in (False, True):
        assert ONE_CLASS in str(run(replace(settings, resume=resume)))

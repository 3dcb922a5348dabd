"""Runs that were started when some defaults of training were others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.errors import CheckpointError
from stages.segmentation.checkpoint import load_state, save_state
from stages.settings import TrainSettings
from stages.train import run
from tests.conftest import train_settings
from tests.stages.compared_runs import interrupt, same_weights

EARLIER = {"border": "mirror", "map_dropout": 0.0, "map_noise": 0.0, "branch_dropout": 0.0}
OLD = {"branch_dropout"}
TODAY = {name: TrainSettings.__dataclass_fields__[name].default for name in EARLIER}
NOTE = "note: the run keeps the defaults that it was started with"


def _settings(store: Path, out: Path, **changes: Any) -> TrainSettings:
    settings: TrainSettings = train_settings(store, out, **{"epochs": 3, "width": 2, **changes})
    return settings


def _as_of_an_earlier_version(*states: Path) -> None:
    """Remove from states what earlier versions did not record. They did record the branch dropout."""
    for path in states:
        state = load_state(path)
        known = {name: value for name, value in state.settings.items() if name not in EARLIER or name in OLD}
        save_state(path, replace(state, settings=known))


def test_every_default_that_changed_is_listed_here():
    """A default that changes later needs `if_absent`, and then it is in this list."""
    fields = TrainSettings.__dataclass_fields__
    changed = {name for name, one in fields.items() if one.default != one.metadata["if_absent"]}
    assert changed == {*EARLIER, "epochs"}
    assert {name: fields[name].metadata["if_absent"] for name in EARLIER} == EARLIER


def test_a_run_of_an_earlier_version_is_resumed_with_the_defaults_of_that_time(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The same command with --resume gives the weights of an uninterrupted run with the earlier values."""
    run(_settings(phantom_store, tmp_path / "whole", **EARLIER))
    interrupt(_settings(phantom_store, tmp_path / "stopped", **EARLIER), monkeypatch, at=2)
    _as_of_an_earlier_version(tmp_path / ".stopped.training" / "state.safetensors")
    resumed = _settings(phantom_store, tmp_path / "stopped", resume=True, **TODAY)
    assert f"{NOTE}: branch_dropout 0.0, border mirror, map_dropout 0.0, map_noise 0.0" in str(run(resumed))
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")


def test_a_finished_run_of_an_earlier_version_is_found_finished(phantom_store: Path, tmp_path: Path):
    run(_settings(phantom_store, tmp_path / "run", **EARLIER))
    _as_of_an_earlier_version(tmp_path / "run" / "state.safetensors")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert NOTE in str(run(_settings(phantom_store, tmp_path / "run", resume=True, **TODAY)))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_run_of_this_version_is_refused_with_other_values(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The user chose the earlier values, and must say so again: the default may be what is wanted now."""
    interrupt(_settings(phantom_store, tmp_path / "stopped", **EARLIER), monkeypatch, at=2)
    with pytest.raises(CheckpointError, match="border: was 'mirror', now 'ignore'"):
        run(_settings(phantom_store, tmp_path / "stopped", resume=True, **TODAY))


def test_a_run_with_the_defaults_of_today_is_resumed_without_a_note(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(_settings(phantom_store, tmp_path / "whole", **TODAY))
    settings = _settings(phantom_store, tmp_path / "stopped", **TODAY)
    interrupt(settings, monkeypatch, at=2)
    assert NOTE not in str(run(replace(settings, resume=True)))
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")


def test_a_value_that_is_no_default_is_still_refused(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    interrupt(_settings(phantom_store, tmp_path / "stopped", **EARLIER), monkeypatch, at=2)
    other = {**TODAY, "map_dropout": 0.1}
    with pytest.raises(CheckpointError, match=r"map_dropout: was 0\.0, now 0\.1"):
        run(_settings(phantom_store, tmp_path / "stopped", resume=True, **other))


def test_folds_of_an_earlier_version_are_resumed_with_the_defaults_of_that_time(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also the folds that had not begun."""
    run(_settings(phantom_store, tmp_path / "whole", folds=2, **EARLIER))
    interrupt(_settings(phantom_store, tmp_path / "stopped", folds=2, **EARLIER), monkeypatch, at=2)
    _as_of_an_earlier_version(*tmp_path.glob(".stopped.folds/.fold1.training/state.safetensors"))
    assert NOTE in str(run(_settings(phantom_store, tmp_path / "stopped", folds=2, resume=True, **TODAY)))
    for fold in ("fold1", "fold2"):
        assert same_weights(tmp_path / "whole" / fold, tmp_path / "stopped" / fold)

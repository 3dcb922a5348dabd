"""Settings of which only one may be given: the length of a training in epochs or in steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import load_settings
from stages.settings import TrainSettings
from store.errors import UsageError


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("given", "epochs", "steps"), [({"steps": 400}, None, 400), ({"epochs": 3}, 3, None), ({}, None, 50)]
)
def test_the_command_line_replaces_the_other_setting_of_the_file(params: Path, given, epochs, steps):
    params.write_text("train:\n  steps: 50\n")
    settings = load_settings(TrainSettings, "train", given, params)
    assert (settings.epochs, settings.steps) == (epochs, steps)


def test_steps_on_the_command_line_replace_epochs_in_the_file(params: Path):
    params.write_text("train:\n  epochs: 7\n")
    settings = load_settings(TrainSettings, "train", {"steps": 9}, params)
    assert settings.steps == 9


def test_both_on_the_command_line_contradict_each_other(params: Path):
    with pytest.raises(UsageError, match="--epochs and --steps exclude each other"):
        load_settings(TrainSettings, "train", {"epochs": 3, "steps": 9}, params)


def test_both_in_the_file_contradict_each_other_and_the_line_is_named(params: Path):
    params.write_text("train:\n  epochs: 3\n  steps: 9\n")
    with pytest.raises(UsageError, match=r"params\.yaml.*train\.epochs and train\.steps exclude each other"):
        load_settings(TrainSettings, "train", {}, params)

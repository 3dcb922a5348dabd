"""Tables of choices: names are read without an import, and an entry that does not exist is an error."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.params import load_settings
from stages.errors import UsageError
from stages.runs.tables import entry_of, names_in_table
from stages.settings import PretrainSettings, TrainSettings

TABLES = {
    one.name: one.metadata["table"]
    for settings in (TrainSettings, PretrainSettings)
    for one in dataclasses.fields(settings)
    if one.metadata["table"]
}


def test_the_settings_with_a_table_are_known():
    """Loss, fusion and normalisation are extension points."""
    assert set(TABLES) == {"loss", "fusion", "attention_norm"}


@pytest.mark.parametrize("setting", TABLES)
def test_the_names_in_the_source_are_those_of_the_table(setting):
    """Help and validation read the source; training reads the table itself."""
    module, name = TABLES[setting].split(":")
    assert names_in_table(TABLES[setting]) == tuple(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("setting", TABLES)
def test_the_default_is_in_the_table(setting):
    """A renamed entry must not leave its old name behind as the default."""
    assert getattr(TrainSettings(), setting) in names_in_table(TABLES[setting])


def test_a_new_entry_is_a_choice_without_a_second_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The module is not imported, with an annotation or without one."""
    (tmp_path / "module_with_tables.py").write_text(
        "raise ImportError('must not run')\nTABLE = {'one': 1, 'two': 2}\nOTHER: dict[str, int] = {'three': 3}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert names_in_table("module_with_tables:TABLE") == ("one", "two")
    assert names_in_table("module_with_tables:OTHER") == ("three",)
    assert "module_with_tables" not in sys.modules


@pytest.mark.parametrize(
    "reference", ["no_such_module:TABLE", "stages.runs.tables:NOTHING", "stages.runs.tables:Entry"]
)
def test_a_reference_to_no_table_is_an_error(reference):
    """A mistake in a setting's declaration shows at once."""
    with pytest.raises(LookupError, match=reference):
        names_in_table(reference)


def test_an_unknown_entry_is_an_error_that_lists_the_choices():
    """The message names what was asked for, the kind, and every entry."""
    assert entry_of({"a": 1, "b": 2}, "b", "loss") == 2
    with pytest.raises(UsageError, match=r"loss 'c' is not known\. Choose one of: a, b"):
        entry_of({"a": 1, "b": 2}, "c", "loss")


def test_help_lists_the_choices():
    """As it does for the other choices."""
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"})
    assert "dice_ce|dice_focal|ce" in shown.output
    assert "log|minmax|none" in shown.output


def test_an_unknown_choice_is_refused_on_the_command_line():
    """Exit status 2, and the choices in the message."""
    refused = CliRunner().invoke(app, ["train", "--loss", "hinge"])
    assert refused.exit_code == 2
    assert "dice_focal" in refused.output


def test_an_unknown_choice_is_refused_in_params_yaml(tmp_path: Path):
    """The message names the file, the key, the choices and the value."""
    (tmp_path / "params.yaml").write_text("train: {fusion: gate, epochs: 3}")
    with pytest.raises(UsageError, match=r"train\.fusion: Input should be 'levels' or 'bottleneck', not 'gate'"):
        load_settings(TrainSettings, "train", {}, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: {fusion: bottleneck}")
    assert load_settings(TrainSettings, "train", {}, tmp_path / "params.yaml").fusion == "bottleneck"

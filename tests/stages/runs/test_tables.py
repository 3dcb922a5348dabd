"""Tables of choices: names are read without an import, and an entry that does not exist is an error."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.params import load_settings
from stages.choices import names_in_table
from stages.errors import UsageError
from stages.runs.tables import entry_of
from stages.settings import SEGMENTATION, TrainSettings

TABLES = {
    "loss": ("losses", "LOSSES"),
    "fusion": ("fusions", "FUSIONS"),
    "attention_norm": ("normalisation", "NORMALISATIONS"),
}


@pytest.mark.parametrize("setting", TABLES)
def test_every_entry_of_a_table_is_a_choice_of_its_setting(setting, tmp_path: Path):
    """The choices are read from the source; training reads the table itself."""
    module, name = TABLES[setting]
    table = getattr(importlib.import_module(f"stages.segmentation.{module}"), name)
    assert names_in_table(SEGMENTATION / f"{module}.py", name) == tuple(table)
    for entry in table:
        (tmp_path / "params.yaml").write_text(f"train: {{{setting}: {entry}}}")
        assert getattr(load_settings(TrainSettings, "train", {}, tmp_path / "params.yaml"), setting) == entry


@pytest.mark.parametrize("setting", TABLES)
def test_the_default_is_in_the_table(setting):
    """A renamed entry must not leave its old name behind as the default."""
    module, name = TABLES[setting]
    assert getattr(TrainSettings(), setting) in names_in_table(SEGMENTATION / f"{module}.py", name)


def test_names_are_read_without_an_import(tmp_path: Path):
    """The names come in the order of the source, with and without a type annotation."""
    source = tmp_path / "tables.py"
    source.write_text(
        "raise ImportError('must not run')\nTABLE = {'two': 2, 'one': 1}\nOTHER: dict[str, int] = {'three': 3}\n"
    )
    assert names_in_table(source, "TABLE") == ("two", "one")
    assert names_in_table(source, "OTHER") == ("three",)


@pytest.mark.parametrize("table", ["NONE", "IMPORTED", "LIST"])
def test_a_table_that_does_not_exist_is_an_error(tmp_path: Path, table: str):
    """A mistake in the declaration of a setting shows at once."""
    source = tmp_path / "tables.py"
    source.write_text("from elsewhere import IMPORTED\nLIST = ['one']\n")
    with pytest.raises(LookupError, match=table):
        names_in_table(source, table)


def test_an_unknown_entry_is_an_error_that_lists_the_choices():
    """The message names the unknown entry, its kind, and every known entry."""
    assert entry_of({"a": 1, "b": 2}, "b", "loss") == 2
    with pytest.raises(UsageError, match=r"loss 'c' is not known\. Choose one of: a, b"):
        entry_of({"a": 1, "b": 2}, "c", "loss")


def test_help_lists_the_choices():
    """The entries of a table are shown like other choices."""
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"})
    assert "dice_ce|dice_focal|ce" in shown.output
    assert "log|minmax|none" in shown.output


def test_an_unknown_choice_is_refused_on_the_command_line():
    """The exit status is 2, and the message lists the choices."""
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

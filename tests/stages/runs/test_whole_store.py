"""A part of a store is not mistaken for the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.inspection import describe_store
from pipeline.inspection_tables import show_store
from stages.errors import UsageError
from stages.extract import run as extract
from stages.train import run as train
from tests.conftest import extract_settings, train_settings


def test_training_on_a_part_is_refused(phantoms: Path, memo: Path, tmp_path: Path):
    """The message names the part, and the command that joins all."""
    extract(extract_settings(phantoms, tmp_path / "p.zarr", memo, shard="1/2"))
    with pytest.raises(UsageError, match=r"p\.zarr: is only part 1 of 2(.|\n)*pipeline merge"):
        train(train_settings(tmp_path / "p.zarr", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_inspect_says_that_a_store_is_a_part(
    phantoms: Path, phantom_store: Path, memo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A whole store has no such row."""
    extract(extract_settings(phantoms, tmp_path / "p.zarr", memo, shard="1/2"))
    for store, said in ((tmp_path / "p.zarr", True), (phantom_store, False)):
        show_store(describe_store(store, stats=False), everything=False)
        assert ("1 of 2; pipeline merge joins them" in capsys.readouterr().out) == said

"""`pipeline export`: one JSON value for programs, and an earlier export stays when a new one fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline import cli
from stages.errors import PipelineError
from stages.export import run as export
from stages.exporting import checking
from stages.settings import ExportSettings
from store.disk.locks import exclusive_lock
from tests.stages.exporting.made_runs import make_run


@pytest.fixture
def run(tmp_path: Path, phantom_store: Path) -> Path:
    return make_run(tmp_path / "runs" / "small", phantom_store, branches="image", width=1)


def test_json_is_one_value_that_a_program_reads(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    words = ["pipeline", "export", "--run", str(run), "--format", "torch", "--json"]
    with patch.object(sys, "argv", words), pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["out"] == "exports/small.pt2"
    assert (tmp_path / "exports" / "small.pt2").stat().st_size == report["bytes"]
    assert report["check"]["difference"] <= 1e-4
    assert report["inputs"]["image"]["shape"] == ["batch", 3, 32, 40]
    assert any("no transformer" in note for note in report["notes"])
    assert "result: exports/small.pt2" in said.err


def test_an_earlier_export_stays_when_the_check_of_a_new_one_fails(run: Path, tmp_path: Path):
    settings = ExportSettings(run=run, out=tmp_path / "m.pt2", format="torch")
    export(settings)
    before = (tmp_path / "m.pt2").read_bytes()
    with patch.object(checking, "TOLERANCE", -1.0), pytest.raises(PipelineError, match="Nothing was written"):
        export(settings)
    assert (tmp_path / "m.pt2").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pt2", "runs"]


def test_two_exports_to_one_path_do_not_run_at_once(run: Path, tmp_path: Path):
    out = tmp_path / "m.pt2"
    with exclusive_lock(out, "exporting"), pytest.raises(PipelineError, match="another process is exporting"):
        export(ExportSettings(run=run, out=out, format="torch"))

"""The place of an export is checked before any work; only earlier exports of the same format are replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.errors import UsageError
from stages.exporting.formats import FORMATS
from stages.exporting.places import place_of, require_free, source_of
from stages.settings import ExportSettings


def settings(**changes: Any) -> ExportSettings:
    return ExportSettings(**{"run": Path("runs/best"), **changes})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("onnx", "exports/best.onnx"), ("torch", "exports/best.pt2"), ("monai-bundle", "exports/best-monai-bundle")],
)
def test_an_export_without_a_path_has_the_name_of_the_run(name: str, expected: str):
    assert place_of(settings(format=name)) == Path(expected)


def test_a_format_made_of_a_run_is_not_made_of_predictions():
    """A store beside a run is allowed: the network is checked with its samples."""
    assert source_of(settings(store=Path("s.zarr"))) == "run"
    with pytest.raises(UsageError, match="--predictions"):
        source_of(settings(predictions=Path("predictions")))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_or_folder_of_the_user_is_never_replaced(tmp_path: Path, name: str):
    """Also not one whose name and ending are those of an export."""
    out = tmp_path / f"mine{FORMATS[name].ending}"
    if FORMATS[name].ending:
        out.write_bytes(b"mine")
    else:
        (out / "configs").mkdir(parents=True)
        (out / "configs" / "metadata.json").write_text('{"version": "1"}')
    with pytest.raises(UsageError, match="would be replaced"):
        require_free(out, settings(format=name))


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_a_link_to_nothing_is_not_replaced(tmp_path: Path, name: str):
    out = tmp_path / f"link{FORMATS[name].ending}"
    out.symlink_to(tmp_path / "nothing")
    with pytest.raises(UsageError, match="would be replaced"):
        require_free(out, settings(format=name))


def test_a_file_of_a_format_has_its_ending(tmp_path: Path):
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        require_free(tmp_path / "model.pt2", settings(format="onnx"))


def test_a_file_is_not_written_over_a_folder(tmp_path: Path):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        require_free(tmp_path / "m.onnx", settings(format="onnx"))


def test_an_export_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="file is a file"):
        require_free(tmp_path / "file" / "m.onnx", settings(format="onnx"))


@pytest.mark.parametrize("option", ["run", "store", "weights"])
def test_a_folder_that_holds_what_is_read_is_not_replaced(tmp_path: Path, option: str):
    inside = tmp_path / "all" / "inside"
    with pytest.raises(UsageError, match=f"contains --{option}"):
        require_free(tmp_path / "all", settings(**{"format": "monai-bundle", option: inside}))


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the current folder"):
        require_free(tmp_path, settings(format="monai-bundle"))

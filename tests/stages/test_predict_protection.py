"""Prediction overwrites no file that it did not write, and no output of another image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stages import predict
from stages.errors import UsageError
from stages.settings import PredictSettings

EVERYTHING: dict[str, Any] = {
    "probabilities": True,
    "overlay": True,
    "contours": True,
    "table": True,
    "instances": "components",
    "uncertainty": True,
}


def _settings(images: Path, trained: Path, out: Path, memo: Path, **changes: Any) -> PredictSettings:
    return PredictSettings(**{"images": images, "run": trained, "out": out, "memo": memo, "batch_size": 4, **changes})


@pytest.mark.parametrize(
    ("name", "content", "option"),
    [
        pytest.param("phantom_0003_overlay.png", None, "overlay", id="overlay"),
        pytest.param("phantom_0003_uncertainty.png", None, "uncertainty", id="uncertainty"),
        pytest.param("phantom_0003_instances.png", None, "instances", id="instances"),
        pytest.param("phantom_0003.geojson", '{"features": []}', "contours", id="contours"),
        pytest.param("phantom_0003.npy", "array", "probabilities", id="probabilities"),
        pytest.param("table.csv", "id,age\n1,2\n", "table", id="table"),
    ],
)
def test_foreign_files_are_never_overwritten(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path, name: str, content: str | None, option: str
):
    """Every kind of output is refused where a file of another origin has its name; nothing is written."""
    out = tmp_path / "out"
    out.mkdir()
    if content is None:
        Image.new("L", (4, 4)).save(out / name)
    else:
        (out / name).write_text(content)
    before = (out / name).read_bytes()
    settings = _settings(phantoms / "images", trained, out, memo, **{option: EVERYTHING[option]})
    with pytest.raises(UsageError, match="not written by `predict`"):
        predict.run(settings)
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_bytes() == before
    predict.run(_settings(phantoms / "images", trained, out, memo))  # without the option it is in nobody's way
    assert (out / name).read_bytes() == before


def test_own_files_are_replaced(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """Writing everything twice into one folder gives the same bytes."""
    settings = _settings(phantoms / "images" / "phantom_0000.png", trained, tmp_path / "out", memo, **EVERYTHING)
    contents = []
    for _ in range(2):
        predict.run(settings)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert len(contents[0]) == 7
    assert contents[0] == contents[1]


def test_outputs_that_would_overwrite_each_other_are_refused(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """The overlay of `a` and the mask of a sample called `a_overlay` have one name."""
    image = phantoms / "images" / "phantom_0000.png"
    table = tmp_path / "t.csv"
    table.write_text(f"id,image\na,{image}\na_overlay,{image}\n")
    predict.run(_settings(tmp_path, trained, tmp_path / "out", memo, csv=table))
    with pytest.raises(UsageError, match=r"a_overlay\.png[\s\S]*Rename"):
        predict.run(_settings(tmp_path, trained, tmp_path / "other", memo, csv=table, overlay=True))

"""Prediction overwrites no file that it did not write, and no output of another image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import predict
from stages.errors import UsageError
from stages.prediction.inference import Predictor
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


@pytest.mark.parametrize(
    ("shape", "dtype", "replaced"),
    [
        *(((2, 36, 48), "<f2", True), ((5, 36, 48), "<f2", True), ((2, 36, 47), "<f2", False)),
        *(((2, 36, 48), "<f4", False), ((36, 48), "<f2", False)),
    ],
)
def test_an_array_of_another_form_beside_our_mask_is_kept(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path, shape, dtype, replaced
):
    """An array cannot hold a mark. One of the size of our mask is replaced, another one is somebody's own."""
    image = phantoms / "images" / "phantom_0000.png"
    settings = _settings(image, trained, tmp_path / "out", memo, probabilities=True)
    predict.run(_settings(image, trained, tmp_path / "out", memo))
    np.save(tmp_path / "out" / "phantom_0000.npy", np.zeros(shape, dtype))
    if replaced:
        predict.run(settings)
        assert np.load(tmp_path / "out" / "phantom_0000.npy").any()
        return
    with pytest.raises(UsageError, match=r"phantom_0000\.npy.*not written by `predict`"):
        predict.run(settings)
    assert np.load(tmp_path / "out" / "phantom_0000.npy").shape == shape


@pytest.mark.parametrize("name", ["phantom_0000.npy", "phantom_0000.png", "table.csv", "phantom_0000.geojson"])
def test_a_file_of_the_user_that_comes_during_the_work_is_kept(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """The files are looked at before the work begins and again right before they are written."""
    image = phantoms / "images" / "phantom_0000.png"
    original = Predictor.predict

    def late(predictor: Predictor, sample: Any) -> Any:
        (tmp_path / "out" / name).write_text("mine")
        return original(predictor, sample)

    monkeypatch.setattr(Predictor, "predict", late)
    with pytest.raises(UsageError, match="not written by `predict`"):
        predict.run(_settings(image, trained, tmp_path / "out", memo, **EVERYTHING))
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_an_image_of_another_size_under_the_same_name_is_predicted_again(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path
):
    """The earlier array fits the earlier mask, so both are replaced."""
    for size in ((48, 36), (60, 40)):
        (tmp_path / "images").mkdir(exist_ok=True)
        with Image.open(phantoms / "images" / "phantom_0000.png") as picture:
            picture.resize(size).save(tmp_path / "images" / "a.png")
        predict.run(_settings(tmp_path / "images", trained, tmp_path / "out", memo, probabilities=True))
        assert np.load(tmp_path / "out" / "a.npy").shape == (2, *size[::-1])

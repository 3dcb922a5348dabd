"""Outlines are those of the upright image. Where its file is stored otherwise, the output says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stages.predict import run as predict
from stages.prediction.not_upright import not_upright
from stages.settings import PredictSettings


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_photos_whose_outlines_are_not_those_of_the_stored_file_are_named_once(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path, ending: str
):
    """QuPath does not turn a photo by its EXIF orientation, so the outlines would lie beside the objects."""
    photos = tmp_path / "photos"
    photos.mkdir()
    image = Image.open(phantoms / "images" / "phantom_0000.png").resize((48, 32))
    for name, orientation in (("upright", 1), ("side", 6), ("down", 3)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(photos / f"{name}.{ending}", exif=exif)
    reports = [
        str(predict(PredictSettings(images=photos, run=trained, out=tmp_path / name, memo=memo, contours=contours)))
        for name, contours in (("plain", False), ("outlined", True))
    ]
    assert "EXIF" not in reports[0]
    assert reports[1].count("note: 2 images with an EXIF orientation (down, side): the outlines are those of the") == 1
    with Image.open(tmp_path / "outlined" / "side.png") as mask:
        assert mask.size == (32, 48)


def test_upright_images_need_no_note():
    assert not_upright([]) == []

"""The plan of an extraction: it shows what would happen, writes nothing, and finds bad headers before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.attention.extractor import AttentionExtractor
from stages.errors import InputProblemsError
from stages.extract import plan, run
from tests.conftest import extract_settings


@pytest.fixture
def photos(phantoms: Path, tmp_path: Path) -> Path:
    """Return a folder with images and masks that a test may change."""
    shutil.copytree(phantoms, tmp_path / "photos")
    return tmp_path / "photos"


def test_the_plan_names_pairs_classes_sizes_store_and_time(photos: Path, tmp_path: Path):
    """Each line says what the extraction would do, in numbers that are true for these files."""
    text = str(plan(extract_settings(photos, tmp_path / "s.zarr", tmp_path / "memo")))
    assert "16 images, 16 of them with labels" in text
    assert "36 x 48 (16)" in text
    masks = [np.asarray(Image.open(file)) > 0 for file in sorted((photos / "masks").iterdir())]
    share = float(next(part for part in text.split(", ") if part.startswith("foreground")).split()[1])
    assert share == pytest.approx(100 * np.mean(masks), abs=1)
    assert f"{tmp_path / 's.zarr'}: 16 samples of 32 x 40 with 6 maps of 4 x 6" in text
    assert "0 of 16 images tried are in the memo" in text


def test_a_plan_writes_nothing(photos: Path, tmp_path: Path):
    """Neither a store, nor a memo, nor anything beside the images."""
    before = sorted(tmp_path.rglob("*"))
    plan(extract_settings(photos, tmp_path / "s.zarr", tmp_path / "memo"))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_knows_what_is_in_the_memo(photos: Path, tmp_path: Path):
    """After an extraction nothing is left to compute."""
    settings = extract_settings(photos, tmp_path / "s.zarr", tmp_path / "memo")
    run(settings)
    assert "16 of 16 images tried are in the memo" in str(plan(settings))


def test_the_expected_size_is_that_of_the_store(photos: Path, tmp_path: Path):
    """The estimate is within a quarter of the files' size, at a size where metadata counts for little."""
    settings = extract_settings(photos, tmp_path / "s.zarr", tmp_path / "memo", image_size=(256, 256))
    text = str(plan(settings))
    value, unit = text.split("about ")[1].split(";", maxsplit=1)[0].split()
    expected = float(value) * {"kB": 1e3, "MB": 1e6}[unit]
    run(settings)
    size = sum(file.stat().st_size for file in settings.store.rglob("*") if file.is_file())
    assert expected == pytest.approx(size, rel=0.25)


@pytest.mark.parametrize("fault", ["size", "text", "pages"])
def test_bad_headers_are_found_before_the_transformer_is_loaded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
):
    """A mask of another size, a text in place of a picture, and a file of many pages are each named at once."""
    masks = sorted((photos / "masks").iterdir())
    if fault == "size":
        Image.new("L", (10, 10)).save(masks[3])
    elif fault == "text":
        masks[3].write_text("not a picture")
    else:
        page = Image.new("L", (48, 36))
        page.save(masks[3].with_suffix(".tif"), save_all=True, append_images=[page])
        masks[3].unlink()
    monkeypatch.setattr(AttentionExtractor, "load", None)  # calling it would fail
    with pytest.raises(InputProblemsError, match=masks[3].stem) as error:
        run(extract_settings(photos, tmp_path / "s.zarr", tmp_path / "memo"))
    assert len(error.value.problems) == 1


def test_a_plan_lists_bad_headers_and_shows_the_rest(photos: Path, tmp_path: Path):
    """The plan is complete in spite of a bad file, and `require_sound` names it."""
    bad = sorted((photos / "images").iterdir())[2]
    bad.write_bytes(b"")
    found = plan(extract_settings(photos, tmp_path / "s.zarr", tmp_path / "memo"))
    assert "36 x 48 (15)" in str(found)
    with pytest.raises(InputProblemsError, match=bad.name):
        found.require_sound()

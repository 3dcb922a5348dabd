"""Whole large images are predicted through windows: every object is found once, in its place, in bounded memory."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import label

from stages.errors import InputProblemsError, UsageError
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.samples import SourceSample
from stages.imaging.tiling import TileRule
from stages.predict import run as predict
from stages.prediction.large import driver
from stages.settings import PredictSettings
from tests.conftest import pixels_of
from tests.slide_runs import Disc, colour, draw, make_run, write_slide

SIDE = 520


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


DISCS = [
    Disc(128, 128, 20),  # on a corner of the file's tiles
    Disc(128, 300, 18),
    Disc(290, 128, 18),
    Disc(300, 300, 50),  # as large as a window
    Disc(420, 420, 15),
    Disc(SIDE - 2, 170, 20),
    Disc(170, 2, 20),
]


@pytest.fixture(scope="session")
def slide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was trained on tiles of bright discs. Tests must not change it."""
    return make_run(tmp_path_factory.mktemp("slide_run"))


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one slide."""
    folder = tmp_path_factory.mktemp("slide")
    write_slide(folder / "slide.tif", SIDE, DISCS, tile=128)
    return folder


def settings(images: Path, run: Path, out: Path, **changes: Any) -> PredictSettings:
    values: dict[str, Any] = {"images": images, "run": run, "out": out, "memo": run.parent / "memo", "batch_size": 16}
    return PredictSettings(**{**values, **changes})


@pytest.fixture(scope="session")
def predicted(slide: Path, slide_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with all files of a slide that is predicted row by row."""
    out = tmp_path_factory.mktemp("predicted") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "MOST_PIXELS", 1000)
        report = predict(
            settings(
                slide,
                slide_run,
                out,
                contours=True,
                table=True,
                instances="components",
                uncertainty=True,
                overlay=True,
            )
        )
    assert report.images == 1
    assert report.windows > 100
    return out


def test_the_files_of_a_large_image(predicted: Path):
    assert sorted(path.name for path in predicted.iterdir()) == [
        "slide.geojson",
        "slide.tif",
        "slide_instances.tif",
        "slide_overlay.png",
        "slide_uncertainty.tif",
        "table.csv",
    ]
    assert pixels_of(predicted / "slide_overlay.png").shape[1] >= SIDE


def test_objects_lie_where_they_are(predicted: Path):
    """The label image has the size of the slide and agrees with the truth."""
    found = tifffile.imread(predicted / "slide.tif") > 0
    truth = draw(DISCS, 0, 0, SIDE, SIDE)
    assert found.shape == truth.shape
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


def test_objects_across_borders_are_found_once(predicted: Path):
    """Label image, GeoJSON and table agree about the number of objects, and about their areas."""
    mask = tifffile.imread(predicted / "slide.tif") > 0
    expected, count = label(mask, np.ones((3, 3)))
    np.testing.assert_array_equal(tifffile.imread(predicted / "slide_instances.tif"), expected)
    features = json.loads((predicted / "slide.geojson").read_text())["features"]
    areas = sorted(feature["properties"]["measurements"]["area_px"] for feature in features)
    assert areas == sorted(np.bincount(expected.ravel())[1:].tolist())
    (row,) = rows_of(predicted / "table.csv")
    assert int(row["objects"]) == count
    assert int(row["area_px"]) == mask.sum()
    assert float(row["area_mm2"]) == pytest.approx(mask.sum() * 0.00025**2, rel=1e-4)
    assert 0.5 < float(row["mean_confidence"]) <= 1
    for disc in DISCS:
        inside = [area for area in areas if 0.8 < area / (np.pi * disc.radius**2) < 1.2]
        assert inside or disc.row in {2, SIDE - 2} or disc.column in {2, SIDE - 2}
    middles = {int(expected[min(disc.row, SIDE - 4), max(disc.column, 4)]) for disc in DISCS}
    assert 0 not in middles
    assert len(middles) == len(DISCS)


def test_a_small_image_has_the_same_decision(slide: Path, slide_run: Path, predicted: Path, tmp_path: Path):
    """In memory and row by row give the same mask at the resolution of the slide."""
    predict(settings(slide, slide_run, tmp_path / "out", table=True))
    small = pixels_of(tmp_path / "out" / "slide.png")
    np.testing.assert_array_equal(small, tifffile.imread(predicted / "slide.tif"))
    (one,), (other,) = (rows_of(out / "table.csv") for out in (tmp_path / "out", predicted))
    assert one["area_px"] == other["area_px"]
    assert one["objects"] == other["objects"]
    assert float(one["mean_confidence"]) == pytest.approx(float(other["mean_confidence"]), rel=1e-4)


def test_a_picture_is_predicted_through_windows_too(slide_run: Path, tmp_path: Path):
    """A plain PNG, larger than a tile and no multiple of it, and one that is smaller than a tile."""
    discs = [Disc(64, 64, 20), Disc(100, 20, 12)]
    (tmp_path / "images").mkdir()
    for name, size in {"large": (150, 171), "small": (40, 50)}.items():
        Image.fromarray(colour(draw(discs, 0, 0, *size))).save(tmp_path / "images" / f"{name}.png")
    predict(settings(tmp_path / "images", slide_run, tmp_path / "out"))
    for name, size in {"large": (150, 171), "small": (40, 50)}.items():
        found = pixels_of(tmp_path / "out" / f"{name}.png") > 0
        truth = draw(discs, 0, 0, *size)
        assert found.shape == size
        assert (found == truth).mean() > 0.97


def test_options_that_need_the_whole_image_are_refused(
    slide: Path, slide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "MOST_PIXELS", 1000)
    for changes, named in [({"probabilities": True}, "--probabilities"), ({"instances": "watershed"}, "watershed")]:
        with pytest.raises(UsageError, match=named):
            predict(settings(slide, slide_run, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_not_overwritten(
    slide: Path, slide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "MOST_PIXELS", 1000)
    (tmp_path / "out").mkdir()
    tifffile.imwrite(tmp_path / "out" / "slide.tif", np.zeros((4, 4), np.uint8))
    before = (tmp_path / "out" / "slide.tif").read_bytes()
    with pytest.raises(UsageError, match=r"slide\.tif"):
        predict(settings(slide, slide_run, tmp_path / "out"))
    assert (tmp_path / "out" / "slide.tif").read_bytes() == before


def test_a_second_prediction_replaces_the_first(
    slide: Path, slide_run: Path, predicted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "MOST_PIXELS", 1000)
    contents = []
    for _ in range(2):
        predict(settings(slide, slide_run, tmp_path / "out", contours=True, instances="components"))
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert contents[0] == contents[1]
    assert contents[0]["slide.geojson"] == (predicted / "slide.geojson").read_bytes()


def test_a_damaged_tile_leaves_no_file(slide: Path, slide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver, "MOST_PIXELS", 1000)
    (tmp_path / "images").mkdir()
    data = bytearray((slide / "slide.tif").read_bytes())
    with tifffile.TiffFile(slide / "slide.tif") as tiff:
        at, size = tiff.pages[0].dataoffsets[9], tiff.pages[0].databytecounts[9]
    data[at + 50 : at + size] = bytes(size - 50)
    (tmp_path / "images" / "slide.tif").write_bytes(data)
    with pytest.raises(InputProblemsError, match="tile 9 of resolution 0"):
        predict(settings(tmp_path / "images", slide_run, tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(InputProblemsError, match="tile 9"):
        predict(settings(tmp_path / "images", slide_run, tmp_path / "out", on_error="skip"))


def blank_tiff(path: Path, side: int) -> Path:
    """Write a tiled TIFF of one colour with two resolutions."""
    tile = np.full((1024, 1024, 3), 90, np.uint8)
    common: dict[str, Any] = {"dtype": np.uint8, "tile": (1024, 1024), "compression": "zlib", "photometric": "rgb"}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for factor in (1, 16):
            size = -(-side // factor)
            tiles = (tile for _ in range((-(-size // 1024)) ** 2))
            kind = {"subifds": 1} if factor == 1 else {"subfiletype": 1}
            writer.write(tiles, shape=(size, size, 3), metadata=None, **kind, **common)
    return path


def test_a_slide_is_refused_by_a_run_without_tiles(trained: Path, tmp_path: Path):
    """Neither its pixels nor a mask of its size are put into memory."""
    blank_tiff(tmp_path / "slide.tif", 14_000)
    with pytest.raises(InputProblemsError, match=r"14,000 x 14,000 pixels, too many for a run .* --tile"):
        predict(settings(tmp_path / "slide.tif", trained, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_slide_that_is_not_cut_is_read_from_its_coarse_resolution(tmp_path: Path):
    blank_tiff(tmp_path / "slide.tif", 14_000)
    read = read_resized(tmp_path / "slide.tif", [(64, 64)])
    assert (read.height, read.width) == (14_000, 14_000)
    assert (read.images[0] == 90).all()
    with pytest.raises(InputProblemsError, match="too many to be read whole; cut it into tiles"):
        read_image(tmp_path / "slide.tif")


def test_the_size_of_a_pixel_in_a_table_gives_the_resolution(tmp_path: Path):
    """As in the extraction: a picture does not say it, and the run was trained on tiles of 2 micrometres."""
    Image.fromarray(np.zeros((100, 60), np.uint8)).save(tmp_path / "a.png")
    rule = TileRule(size=(16, 16), micrometres=2.0)
    said = SourceSample("a", tmp_path / "a.png", pixel_mm=0.001)
    (windows,), problems = driver.plan_all([said], rule)
    assert problems == []
    assert (windows.grid.reduction, windows.grid.shape) == (2, (50, 30))
    assert windows.spacing_mm == (0.001, 0.001, None)
    planned, (problem,) = driver.plan_all([SourceSample("a", tmp_path / "a.png")], rule)
    assert planned == []
    assert "does not say how large its pixels are" in problem.what

"""Tiles of large images are samples: their pixels, labels, maps, places and groups."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.extract import plan
from stages.extract import run as extract
from stages.extraction.plan import _seconds_to_read
from stages.extraction.preparation import prepare
from stages.imaging.parts import Part
from stages.imaging.source_masks import find_source_masks
from stages.imaging.stored_parts import stored_parts
from stages.imaging.volumes.pyramids import PyramidVolume
from stages.runtime.progress import SILENT
from store import AttentionStore
from store.check import verify_store
from tests.conftest import extract_settings, pixels_of
from tests.pyramids import write_pyramid

RANDOM = np.random.default_rng(0)
TILE = {"tile": (32, 40), "image_size": (32, 40), "attention_size": (32, 40)}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return a folder with two images of 100 x 130 and 64 x 80 pixels and masks with three rectangles each."""
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, size in (("a", (100, 130)), ("b", (64, 80))):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[5:20, 10:30] = mask[28:40, 35:60] = mask[50:60, 50:78] = 255
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def picture(folder: Path, name: str) -> np.ndarray:
    return pixels_of(folder / "images" / f"{name}.png")


def test_tiles_have_the_pixels_and_the_labels_of_their_region(scans: Path, tmp_path: Path, memo: Path):
    report = extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE, overlap=8))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert verify_store(store.path) == []
    rows, columns, parents = (store.column(name) for name in ("row", "column", "parent"))
    assert sorted(set(map(str, parents))) == ["a", "b"]
    assert list(store.column("group")) == list(parents)
    assert len(set(store.column("digest"))) == len(store) == 25
    for index in range(len(store)):
        name, row, column = str(parents[index]), int(rows[index]), int(columns[index])
        assert store.ids[index] == f"{name}_r{row:05d}_c{column:05d}"
        place = (slice(row, row + 32), slice(column, column + 40))
        np.testing.assert_array_equal(store[index].image, picture(scans, name)[place])
        mask = pixels_of(scans / "masks" / f"{name}.png")[place]
        np.testing.assert_array_equal(store[index].mask, mask > 0)
    assert store.description.images == {"tile": {"size": [32, 40], "overlap": 8}}
    assert "tiles: 25 tiles of 2 images, 32 x 40 pixels, overlapping by 8" in str(report)


def test_a_tile_has_the_same_maps_as_its_pixels_in_a_file_of_their_own(scans: Path, tmp_path: Path, memo: Path):
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE))
    store = AttentionStore.open(tmp_path / "s.zarr")
    index = list(store.ids).index("a_r00064_c00080")
    (tmp_path / "one").mkdir()
    Image.fromarray(picture(scans, "a")[64:96, 80:120]).save(tmp_path / "one" / "x.png")
    settings = {**TILE, "tile": None, "images": tmp_path / "one", "masks": None}
    extract(extract_settings(scans, tmp_path / "one.zarr", memo, **settings))
    np.testing.assert_array_equal(store[index].attention, AttentionStore.open(tmp_path / "one.zarr")[0].attention)


def test_a_reduction_shrinks_image_and_mask_alike(scans: Path, tmp_path: Path, memo: Path):
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, **{**TILE, "tile": (16, 20)}, resolution="2"))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert set(zip(store.column("height"), store.column("width"), strict=True)) == {(32, 40)}
    assert store.description.images == {"tile": {"size": [16, 20], "reduction": 2.0}}
    np.testing.assert_array_equal(store[0].image, picture(scans, "a")[:32, :40])  # stored with 32 x 40 again


def test_an_image_that_is_smaller_than_a_tile_is_black_and_ignored_beyond_its_border(
    scans: Path, tmp_path: Path, memo: Path
):
    sizes = {"tile": (80, 100), "image_size": (80, 100), "attention_size": (32, 40)}
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, **sizes))
    store = AttentionStore.open(tmp_path / "s.zarr")
    sample = store[list(store.ids).index("b_r00000_c00000")]
    np.testing.assert_array_equal(sample.image[:64, :80], picture(scans, "b"))
    assert not sample.image[64:].any()
    assert not sample.image[:, 80:].any()
    assert (sample.mask[64:] == 255).all()
    assert (sample.mask[:, 80:] == 255).all()
    assert not (sample.mask[:64, :80] == 255).any()


def test_exif_turns_image_and_tiles(scans: Path, tmp_path: Path, memo: Path):
    """The mask has the size of the upright image; the tiles are cut from the upright image."""
    turned = Image.fromarray(np.rot90(picture(scans, "a")))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(scans / "images" / "a.png", exif=exif)
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE))
    store = AttentionStore.open(tmp_path / "s.zarr")
    upright = np.rot90(pixels_of(scans / "images" / "a.png"), -1)
    index = list(store.ids).index("a_r00032_c00040")
    np.testing.assert_array_equal(store[index].image, upright[32:64, 40:80])


def test_tiles_of_planes_know_file_and_plane(tmp_path: Path, memo: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    values = np.random.default_rng(0).integers(0, 4096, (2, 70, 90)).astype(np.uint16)
    labels = (values > 2000).astype(np.uint8)
    np.save(tmp_path / "images" / "scan.npy", values)
    np.save(tmp_path / "masks" / "scan.npy", labels)
    extract(extract_settings(tmp_path, tmp_path / "s.zarr", memo, **TILE))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.ids[0] == "scan_z000_r00000_c00000"
    parts = stored_parts(store, range(len(store)))
    parent, part = parts["scan_z001_r00038_c00040"]
    assert (parent, part.plane, part.box) == ("scan", 1, (38, 40, 32, 40))
    index = list(store.ids).index("scan_z001_r00038_c00040")
    np.testing.assert_array_equal(store[index].mask, labels[1, 38:70, 40:80])
    files = find_source_masks(parts, store.description.masks, masks=tmp_path / "masks")
    assert files["scan_z001_r00038_c00040"][0].part == Part(plane=1, box=(38, 40, 32, 40))


def test_context_changes_the_maps_and_not_the_grid(scans: Path, tmp_path: Path, memo: Path):
    extract(extract_settings(scans, tmp_path / "plain.zarr", memo, **TILE))
    extract(extract_settings(scans, tmp_path / "wide.zarr", memo, **TILE, context=16))
    plain, wide = (AttentionStore.open(tmp_path / f"{name}.zarr") for name in ("plain", "wide"))
    assert "context" not in plain.description.recipe
    assert wide.description.recipe["context"] == [16, 16]
    assert wide.description.recipe["keys"] == (32 + 32) // 8 * ((40 + 32) // 8) + 1
    assert plain[5].attention.shape == wide[5].attention.shape
    np.testing.assert_array_equal(plain[5].image, wide[5].image)
    assert not np.array_equal(plain[5].attention, wide[5].attention)


def test_maps_with_context_are_those_of_the_larger_region(scans: Path, tmp_path: Path, memo: Path):
    """The maps of a tile with context are the middle of the maps of a larger image without context."""
    sizes = {"image_size": (32, 40), "attention_size": (32, 40)}
    extract(extract_settings(scans, tmp_path / "wide.zarr", memo, **sizes, tile=(32, 40), context=8))
    wide = AttentionStore.open(tmp_path / "wide.zarr")
    sample = wide[list(wide.ids).index("a_r00032_c00040")]
    (tmp_path / "one").mkdir()
    Image.fromarray(picture(scans, "a")[24:72, 32:88]).save(tmp_path / "one" / "x.png")
    larger = {"image_size": (32, 40), "attention_size": (48, 56), "images": tmp_path / "one", "masks": None}
    extract(extract_settings(scans, tmp_path / "one.zarr", memo, **larger))
    whole = AttentionStore.open(tmp_path / "one.zarr")[0].attention
    np.testing.assert_array_equal(sample.attention, whole[:, 1:-1, 1:-1])


def test_shapes_are_painted_in_every_tile_that_they_meet(scans: Path, tmp_path: Path, memo: Path):
    """The tiles have the pixels that the annotation of the whole image gives."""
    masks = tmp_path / "drawn"
    masks.mkdir()
    shapes = [[[10, 5], [90, 20], [60, 70], [20, 60]], [[35, 35], [45, 35], [45, 45], [35, 45]], [[0, 90], [129, 90.3]]]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            "properties": {"classification": {"name": name}},
        }
        for ring, name in zip(shapes[:2], ("large", "small"), strict=True)
    ]
    (masks / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (scans / "images" / "b.png").unlink()
    settings = {"masks": masks, "classes": None}
    extract(extract_settings(scans, tmp_path / "tiles.zarr", memo, **TILE, **settings))
    whole = {"image_size": (100, 130), "attention_size": (32, 40)}
    extract(extract_settings(scans, tmp_path / "whole.zarr", memo, **whole, **settings))
    expected = AttentionStore.open(tmp_path / "whole.zarr")[0].mask
    assert set(np.unique(expected)) == {0, 1, 2}
    store = AttentionStore.open(tmp_path / "tiles.zarr")
    for index in range(len(store)):
        row, column = int(store.column("row")[index]), int(store.column("column")[index])
        np.testing.assert_array_equal(store[index].mask, expected[row : row + 32, column : column + 40])


def test_instances_are_numbered_in_every_tile(scans: Path, tmp_path: Path, memo: Path):
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE, labels="instances"))
    store = AttentionStore.open(tmp_path / "s.zarr")
    for index in range(len(store)):
        numbers = np.unique(store[index].instances)
        assert list(numbers[numbers > 0]) == list(range(1, int(numbers.max()) + 1))
        np.testing.assert_array_equal(store[index].mask == 1, store[index].instances > 0)


def test_a_plan_names_the_tiles(scans: Path, tmp_path: Path, memo: Path):
    text = str(plan(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE)))
    assert "20 tiles of 2 images" in text
    assert "20 samples of 32 x 40" in text
    assert not (tmp_path / "s.zarr").exists()


def test_the_time_to_open_a_file_counts_once_for_all_of_its_tiles(scans: Path, tmp_path: Path, memo: Path):
    """20 tiles of 2 files were read in 44,000 s, and one of them again in no time: 22,000 s a file."""
    prepared = prepare(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE), SILENT)
    many = replace(prepared, sources=list(prepared.sources) * 10)
    assert _seconds_to_read(many, list(prepared.sources), 44_000.0) == pytest.approx(44_000 / 200, rel=0.3)


def test_large_images_without_tiles_are_named(scans: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stages.extraction.tiles.LARGE", 100 * 129)
    text = str(plan(extract_settings(scans, tmp_path / "s.zarr", memo)))
    assert "1 image of more than 64 megapixels (up to 100 x 130 pixels)" in text
    assert "--tile 512" in text


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"tile": (4, 4)}, "sees patches of 8 x 8 pixels"),
        ({"tile": (32, 40), "overlap": 32}, "can share 0 to 31 pixels"),
        ({"tile": (500, 500)}, "every image is smaller; the largest has 100 x 130"),
        ({"tile": (32, 48), "context": 5}, "--context 5: .* not a whole number of patches of 8. Give a multiple of 8"),
        ({"tile": (32, 40), "resolution": "half"}, "is neither a reduction"),
        ({"overlap": 5}, "--overlap: has a meaning for tiles only"),
        ({"context": 8}, "--context: has a meaning for tiles only"),
        ({"tile_background": 0.5}, "--tile-background: has a meaning for tiles only"),
        ({"resolution": "2"}, "--resolution: has a meaning for tiles only"),
    ],
)
def test_impossible_tiles_are_refused(scans: Path, tmp_path: Path, memo: Path, settings: dict, what: str):
    with pytest.raises(UsageError, match=what):
        extract(extract_settings(scans, tmp_path / "s.zarr", memo, **settings))
    assert not (tmp_path / "s.zarr").exists()


def test_micrometres_need_a_spacing(scans: Path, tmp_path: Path, memo: Path):
    with pytest.raises(InputProblemsError, match=r"a\.png: does not say how large its pixels are"):
        extract(extract_settings(scans, tmp_path / "s.zarr", memo, tile=(32, 40), resolution="0.5um"))


def test_plain_tiles_are_left_out_and_named(scans: Path, tmp_path: Path, memo: Path):
    """A plain tile with a label is kept. The store records what was left out."""
    pixels = np.array(picture(scans, "a"))
    pixels[:, 40:] = 250
    pixels[64:] = 3
    Image.fromarray(pixels).save(scans / "images" / "a.png")
    (scans / "images" / "b.png").unlink()
    (scans / "masks" / "b.png").unlink()
    report = extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE, tile_background=0.95))
    store = AttentionStore.open(tmp_path / "s.zarr")
    kept = {(row, column) for row in (0, 32) for column in (0,)} | {(0, 40), (32, 40)}  # the last two have labels
    found = {(int(row), int(column)) for row, column in zip(store.column("row"), store.column("column"), strict=True)}
    assert found == kept
    line = "a.png: 12 of 16 tiles left out: 95% or more of each is plain white or black (--tile-background 0.95)"
    assert line in str(report)
    assert store.description.skipped == [{"where": line.partition(": ")[0], "what": line.partition(": ")[2]}]


def test_plain_tiles_of_a_slide_are_found_at_a_lower_resolution(tmp_path: Path, memo: Path):
    """The full resolution is read for the tiles that are kept only."""
    (tmp_path / "images").mkdir()
    pixels = np.full((640, 512, 3), 240, np.uint8)
    pixels[130:250, 260:380] = RANDOM.integers(40, 180, (120, 120, 3))
    write_pyramid(tmp_path / "images" / "slide.tif", pixels, levels=4)
    sizes = {"tile": (128, 128), "image_size": (32, 32), "attention_size": (32, 32)}
    read: list[tuple[int, tuple[int, int, int, int]]] = []
    level = PyramidVolume.read_level

    def listening(volume: PyramidVolume, at: int, box: tuple[int, int, int, int]) -> np.ndarray:
        read.append((at, box))
        return level(volume, at, box)

    with patch.object(PyramidVolume, "read_level", listening):
        tiles = prepare(
            extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=None, tile_background=0.95, **sizes), SILENT
        ).sources
    assert [tile.id for tile in tiles] == ["slide_r00128_c00256"]
    assert {at for at, _ in read} == {1}


def test_images_of_plain_tiles_only_are_refused(scans: Path, tmp_path: Path, memo: Path):
    for name in ("a", "b"):
        size = pixels_of(scans / "images" / f"{name}.png").shape[1::-1]
        Image.new("RGB", size, (255, 255, 255)).save(scans / "images" / f"{name}.png")
    settings = {**TILE, "masks": None, "image_pattern": "{id}.png", "tile_background": 0.9}
    with pytest.raises(InputProblemsError, match="No tile is left"):
        extract(extract_settings(scans, tmp_path / "s.zarr", memo, **settings))


def test_a_damaged_image_is_one_problem_and_not_one_for_each_tile(scans: Path, tmp_path: Path, memo: Path):
    file = scans / "images" / "a.png"
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(InputProblemsError) as caught:
        extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE))
    assert len(caught.value.problems) == 1
    report = extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE, on_error="skip"))
    assert len(report.skipped) == 1
    assert report.samples == 4


def test_a_mask_of_another_size_is_a_problem(scans: Path, tmp_path: Path, memo: Path):
    Image.new("L", (130, 99)).save(scans / "masks" / "a.png")
    with pytest.raises(InputProblemsError, match="the mask is 99 x 130"):
        extract(extract_settings(scans, tmp_path / "s.zarr", memo, **TILE))

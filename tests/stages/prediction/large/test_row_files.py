"""Objects, outlines and label images that are made row by row equal those of the whole picture."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from scipy.ndimage import label

from stages.imaging.samples import SourceSample
from stages.imaging.tile_grid import TileGrid
from stages.imaging.tiling import TileRule
from stages.imaging.volumes.opened import open_volume
from stages.prediction.contours import trace_objects
from stages.prediction.geojson import as_geojson, class_features, feature_of
from stages.prediction.large.connected import Connected, find_connected
from stages.prediction.large.driver import plan_all
from stages.prediction.large.features import write_features
from stages.prediction.large.label_tiff import rows_at, write_label_tiff
from stages.prediction.large.outlines import trace_connected
from stages.prediction.large.row_file import RowFile
from stages.prediction.mask_files import is_ours


def grid_of(region: np.ndarray, reduction: int = 1) -> TileGrid:
    return TileGrid((region.shape[0] * reduction, region.shape[1] * reduction), float(reduction), (8, 8))


def connect(region: np.ndarray, rows: int, folder: Path, reduction: int = 1) -> Connected:
    """Return the objects of a region that is read `rows` rows at a time."""
    parts = [region[top : top + rows] for top in range(0, len(region), rows)]
    return find_connected(parts, grid_of(region, reduction), RowFile(folder))


REGIONS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 9)), elements=st.booleans())


@given(region=REGIONS, rows=st.integers(1, 5))
@settings(max_examples=200)
def test_objects_do_not_depend_on_the_blocks(region: np.ndarray, rows: int, tmp_path_factory: pytest.TempPathFactory):
    """An object across many blocks is one, and the numbers are those of the whole picture."""
    connected = connect(region, rows, tmp_path_factory.getbasetemp())
    expected, count = label(region, np.ones((3, 3)))
    found = np.concatenate(list(connected.objects()))
    assert connected.count == count
    np.testing.assert_array_equal(connected.areas[1:], np.bincount(expected.ravel(), minlength=count + 1)[1:])
    np.testing.assert_array_equal(found, expected)


@given(region=REGIONS, rows=st.integers(1, 5))
@settings(max_examples=200)
def test_outlines_do_not_depend_on_the_blocks(region: np.ndarray, rows: int, tmp_path_factory: pytest.TempPathFactory):
    connected = connect(region, rows, tmp_path_factory.getbasetemp())
    traced = dict(trace_connected(connected, grid_of(region)))
    expected = trace_objects(label(region, np.ones((3, 3)))[0].astype(np.int32))
    assert traced.keys() == expected.keys()
    for number, polygons in expected.items():
        assert sorted(map(_normal, traced[number])) == sorted(map(_normal, polygons))


def _normal(polygon: list[list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Return a polygon whose rings start at their lowest corner, and whose holes are sorted."""
    rings = []
    for ring in polygon:
        at = ring.index(min(ring))
        rings.append([*ring[at:-1], *ring[:at]])
    return [rings[0], *sorted(rings[1:])]


def test_a_spiral_through_all_blocks_is_one_object(tmp_path: Path):
    region = np.zeros((40, 40), bool)
    for ring in range(0, 20, 4):
        region[ring : 40 - ring, ring : 40 - ring] = True
        region[ring + 2 : 38 - ring, ring + 2 : 38 - ring] = False
        region[ring + 2 : ring + 4, ring + 2 : ring + 4] = True
    expected = label(region, np.ones((3, 3)))[1]
    assert connect(region, 3, tmp_path).count == expected == 1


def test_outlines_are_in_pixels_of_the_image(tmp_path: Path):
    """With a reduction, the polygon covers exactly the pixels of the object in the label image at full size."""
    region = np.zeros((20, 20), bool)
    region[3:9, 4:15] = True
    region[5:7, 6:9] = False
    region[8:12, 2:6] = True
    connected = connect(region, 4, tmp_path, reduction=3)
    ((number, polygons),) = trace_connected(connected, grid_of(region, 3))
    expected = np.repeat(np.repeat(region, 3, 0), 3, 1)
    assert connected.areas[number] == expected.sum()
    picture = Image.new("1", (60, 60))
    draw = ImageDraw.Draw(picture)
    for (left, top), (right, bottom) in ((min(ring), max(ring)) for ring in polygons[0][:1]):
        assert 0 <= left < right <= 60
        assert 0 <= top <= bottom <= 60
    assert draw is not None
    area = sum(_signed_area(ring) for polygon in polygons for ring in polygon)
    assert abs(area) == expected.sum()


def _signed_area(ring: list[tuple[int, int]]) -> float:
    return sum(x * y2 - x2 * y for (x, y), (x2, y2) in itertools.pairwise(ring)) / 2


def test_features_are_those_of_a_small_image(tmp_path: Path):
    region = np.zeros((30, 30), bool)
    region[2:9, 4:12] = region[20:25, 1:29] = True
    connected = connect(region, 7, tmp_path)
    features = (
        feature_of("cell", 0, polygons, area=int(connected.areas[number]), pixel_mm=0.5)
        for number, polygons in trace_connected(connected, grid_of(region))
    )
    assert write_features(tmp_path / "a.geojson", features) == 2
    written = json.loads((tmp_path / "a.geojson").read_bytes())
    objects = label(region)[0].astype(np.int32)
    expected = json.loads(as_geojson(class_features("cell", 0, objects, 0.5)))
    for collection in (written, expected):
        for feature in collection["features"]:
            feature["geometry"]["coordinates"] = _normal(
                [[tuple(corner) for corner in ring] for ring in feature["geometry"]["coordinates"]]
            )
    assert written == expected
    assert is_ours(tmp_path / "a.geojson")
    (tmp_path / "b.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    assert not is_ours(tmp_path / "b.geojson")
    write_features(tmp_path / "none.geojson", [])
    assert json.loads((tmp_path / "none.geojson").read_bytes())["features"] == []


@pytest.mark.parametrize("reduction", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("shape", [(1300, 900), (1300, 900, 3)])
def test_a_label_image_has_the_size_of_its_image(tmp_path: Path, reduction: float, shape: tuple[int, ...]):
    grid = TileGrid((1300, 900), reduction, (64, 64))
    random = np.random.default_rng(0)
    values = random.integers(0, 4, (*grid.shape, *shape[2:])).astype(np.uint8)
    blocks = np.array_split(values, 7)
    write_label_tiff(tmp_path / "a.tif", lambda: iter(blocks), grid, spacing_mm=(0.0005, 0.00025, None))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
        assert [level.shape[:2] for level in tiff.series[0].levels] == [(1300, 900), (650, 450)]
        written = tiff.asarray()
        lower = tiff.series[0].levels[1].asarray()
    np.testing.assert_array_equal(written, values[grid.source_rows(1300)][:, grid.source_columns(900)])
    assert set(np.unique(lower)) <= set(np.unique(values))
    volume = open_volume(tmp_path / "a.tif")
    assert volume.facts.spacing_mm == pytest.approx((0.0005, 0.00025, None))
    assert is_ours(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", values)
    assert not is_ours(tmp_path / "b.tif")


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    grid = TileGrid((600, 600), 1.0, (64, 64))

    def broken():
        yield np.zeros((300, 600), np.uint8)
        raise ValueError("no more rows")

    with pytest.raises(ValueError, match="no more rows"):
        write_label_tiff(path, broken, grid, spacing_mm=None)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_rows_at_a_smaller_size(tmp_path: Path):
    grid = TileGrid((100, 100), 1.0, (8, 8))
    values = np.arange(10_000).reshape(100, 100).astype(np.int32)
    found = np.concatenate(list(rows_at(np.array_split(values, 9), grid, (10, 20))))
    np.testing.assert_array_equal(found, values[5::10, 2::5])
    with RowFile(tmp_path) as kept:
        for part in np.array_split(values, 9):
            kept.append(part)
        assert kept.rows == 100
        np.testing.assert_array_equal(np.concatenate(list(kept)), values)


def test_windows_have_the_size_of_a_pixel_that_the_user_gives(tmp_path: Path):
    """As in `extract`: the table comes first, then the option, then the file; else objects would have another scale."""
    values = np.zeros((300, 300), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as writer:  # 0.25 micrometres
        size = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
        writer.write(values, tile=(64, 64), subifds=1, metadata=None, **size)
        writer.write(values[::2, ::2], tile=(64, 64), subfiletype=1, metadata=None)
    Image.fromarray(values).save(tmp_path / "b.png")
    rule = TileRule(size=(32, 32), micrometres=1.0)

    def reduction(name: str, table: float | None, option: float | None) -> float:
        (windows,), problems = plan_all([SourceSample(name, tmp_path / name, pixel_mm=table)], rule, option)
        assert problems == []
        return windows.grid.reduction

    assert reduction("a.tif", None, None) == pytest.approx(4)
    assert reduction("a.tif", None, 0.0005) == pytest.approx(2)
    assert reduction("a.tif", 0.00025, 0.0005) == reduction("b.png", 0.00025, None) == pytest.approx(4)
    assert reduction("b.png", None, 0.0005) == pytest.approx(2)
    assert "does not say how large its pixels are" in str(plan_all([SourceSample("b", tmp_path / "b.png")], rule)[1][0])

"""Shapes within a region are those of the whole image, cut to the region."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.errors import InputProblemsError
from stages.imaging.annotations import check_annotation, encoded_size, read_annotation, read_annotation_region
from stages.imaging.class_values import parse_values
from stages.imaging.classes import ClassMap
from stages.imaging.label_regions import read_labels_of_part
from stages.imaging.labels import LabelRules
from stages.imaging.parts import Part
from stages.imaging.samples import LabelFile

SIZE = (40, 50)
POINT = st.tuples(st.floats(0, 50), st.floats(0, 40))
RING = st.lists(POINT, min_size=3, max_size=6)
BOX = st.tuples(st.integers(0, 38), st.integers(0, 48), st.integers(1, 30), st.integers(1, 30)).map(
    lambda box: (box[0], box[1], min(box[2], SIZE[0] - box[0]), min(box[3], SIZE[1] - box[1]))
)


def write(path: Path, rings: list[list[tuple[float, float]]], name: str = "cell") -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*map(list, ring), list(ring[0])]]},
            "properties": {"classification": {"name": name}},
        }
        for ring in rings
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@given(ring=RING, box=BOX)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shape_has_the_pixels_that_it_has_in_the_whole_image(
    tmp_path_factory: pytest.TempPathFactory, ring: list[tuple[float, float]], box: tuple[int, int, int, int]
):
    """Also thin shapes that hold no centre of a pixel, and shapes that only touch the region."""
    path = write(tmp_path_factory.mktemp("a") / "a.geojson", [ring])
    whole = np.zeros(SIZE, bool)
    try:
        for shape in read_annotation(path, "", SIZE):
            whole[shape.window] |= shape.region
    except InputProblemsError:
        return  # a line along the lower or the right border, which has no pixel
    found = np.zeros(box[2:], bool)
    for shape in read_annotation_region(path, "", box):
        found[shape.window] |= shape.region
    row, column, rows, columns = box
    np.testing.assert_array_equal(found, whole[row : row + rows, column : column + columns])


def test_a_thin_line_is_kept_in_every_region(tmp_path: Path):
    path = write(tmp_path / "a.geojson", [[(2, 3.6), (47, 3.7), (2, 3.65)]])
    (shape,) = read_annotation_region(path, "", (0, 10, 20, 20))
    assert shape.area < 20
    assert shape.region.sum() == 20


def test_an_outline_that_passes_between_the_centres_of_a_region_is_not_drawn_there(tmp_path: Path):
    """A large shape that reaches a fifth of a pixel into a region has no pixel in it."""
    path = write(tmp_path / "a.geojson", [[(5, 5), (20.2, 5), (20.2, 30), (5, 30)]])
    assert read_annotation_region(path, "", (0, 20, 40, 20)) == []


def test_a_shape_of_a_whole_slide_needs_the_memory_of_the_region(tmp_path: Path):
    """Its window would have ten thousand million pixels."""
    path = write(tmp_path / "a.geojson", [[(0, 0), (100_000, 0), (100_000, 100_000), (0, 100_000)]])
    (shape,) = read_annotation_region(path, "", (50_000, 50_000, 64, 64))
    assert shape.region.shape == (64, 64)
    assert shape.region.all()
    assert shape.area == 100_000**2


def test_small_shapes_stay_on_top_of_large_ones_that_a_region_cuts(tmp_path: Path):
    """In the region the large shape has fewer pixels than the small one."""
    path = tmp_path / "a.geojson"
    features = [
        json.loads(write(path, [ring], name).read_text())["features"][0]
        for ring, name in (
            ([(10, 10), (20, 10), (20, 20), (10, 20)], "small"),
            ([(18, 0), (50, 0), (50, 40), (18, 40)], "large"),
        )
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    rules = LabelRules(classes=ClassMap(("background", "large", "small")))
    whole = read_labels_of_part([LabelFile(path)], rules, SIZE).mask
    box = (8, 8, 12, 12)
    part = read_labels_of_part([LabelFile(path, part=Part(box=box))], rules, (12, 12)).mask
    np.testing.assert_array_equal(part, whole[8:20, 8:20])
    assert part[5, 11] == 2


def test_encoded_pixels_are_painted_once_and_cut(tmp_path: Path):
    """COCO's run lengths cover the whole image."""
    runs = [100, 20, 30, 10, 40 * 50 - 160]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 50}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [40, 50], "counts": runs}, "iscrowd": 0}
        ],
    }
    path = tmp_path / "all.json"
    path.write_text(json.dumps(content))
    assert encoded_size(path, "a.png") == SIZE
    rules = LabelRules(classes=ClassMap(("background", "cell")))
    whole = read_labels_of_part([LabelFile(path, entry="a.png")], rules, SIZE).mask
    part = LabelFile(path, entry="a.png", part=Part(box=(5, 0, 30, 20)))
    np.testing.assert_array_equal(read_labels_of_part([part], rules, (30, 20)).mask, whole[5:35, :20])
    assert whole.sum() == 30


@pytest.mark.parametrize(
    ("ring", "what"),
    [
        ([(60, 5), (70, 5), (65, 9)], "has no pixel in the image"),
        ([(1, 1), (1e9, 5), (5, 5)], "no number between"),
    ],
)
def test_shapes_that_do_not_fit_the_image_are_found_before_any_tile(
    tmp_path: Path, ring: list[tuple[float, float]], what: str
):
    path = write(tmp_path / "a.geojson", [[(1, 1), (9, 1), (9, 9)], ring])
    with pytest.raises(InputProblemsError, match=what):
        check_annotation(path, "", SIZE)


def test_values_of_a_mask_are_cut_like_its_image(tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.uint8)
    np.save(tmp_path / "a.npy", values)
    rules = LabelRules(
        classes=ClassMap(("zero", "one", "two"), tuple(parse_values(str(value), value) for value in range(3)))
    )
    file = LabelFile(tmp_path / "a.npy", part=Part(box=(30, 40, 20, 20)))
    mask = read_labels_of_part([file], rules, (20, 20)).mask
    np.testing.assert_array_equal(mask[:10, :10], values[30:, 40:])
    assert (mask[10:] == 255).all()
    assert (mask[:, 10:] == 255).all()

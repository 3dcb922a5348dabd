"""Contours: filling a polygon again gives its object, and the rings keep the rules of GeoJSON."""

from __future__ import annotations

import itertools
import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from stages.prediction.contours import Polygon, trace_objects
from stages.prediction.geojson import as_geojson, class_features

small_objects = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))
"""Label images in which objects touch, enclose each other and consist of several pieces."""


def fill(polygons: list[Polygon], height: int, width: int) -> np.ndarray:
    """Return the pixels whose centre is inside by the even-odd rule: a ray to the right crosses edges oddly often."""
    filled = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y, crossings = column + 0.5, row + 0.5, 0
            for ring in (ring for polygon in polygons for ring in polygon):
                for (x1, y1), (x2, y2) in itertools.pairwise(ring):
                    if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                        crossings += 1
            filled[row, column] = crossings % 2 == 1
    return filled


def shoelace(ring: list[tuple[int, int]]) -> float:
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in itertools.pairwise(ring)) / 2


@given(small_objects)
def test_filled_contours_equal_the_mask_exactly(objects):
    """An independent even-odd rule gives every object back, pixel for pixel."""
    traced = trace_objects(objects)
    assert sorted(traced) == [number for number in np.unique(objects) if number]
    for number, polygons in traced.items():
        np.testing.assert_array_equal(fill(polygons, *objects.shape), objects == number)


@given(small_objects)
def test_rings_are_closed_simple_and_follow_the_right_hand_rule(objects):
    """Outer rings are counterclockwise, holes clockwise; no ring touches itself; the areas sum to the pixels."""
    for number, polygons in trace_objects(objects).items():
        for outer, *holes in polygons:
            for ring in (outer, *holes):
                assert ring[0] == ring[-1]
                assert len(set(ring)) == len(ring) - 1 >= 4
            assert shoelace(outer) > 0
            assert all(shoelace(hole) < 0 for hole in holes)
        area = sum(shoelace(ring) for polygon in polygons for ring in polygon)
        assert area == (objects == number).sum()


def test_a_ring_has_corners_only():
    """A rectangle has four corners whatever its size, in pixels from the upper left corner of the image."""
    objects = np.zeros((20, 30), np.int32)
    objects[5:9, 10:25] = 7
    assert [set(ring) for ring in trace_objects(objects)[7][0]] == [{(10, 5), (25, 5), (25, 9), (10, 9)}]


def test_a_hole_that_touches_the_outline_at_a_corner_has_its_own_ring():
    """Two pixels of a piece touch only at a corner: outline and hole touch there, and neither touches itself."""
    objects = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0]], np.int32)
    (polygon,) = trace_objects(objects)[1]
    assert [shoelace(ring) for ring in polygon] == [8, -1]


def test_nothing_predicted_gives_no_polygons():
    """An empty mask is an empty collection, which programs can read."""
    assert trace_objects(np.zeros((3, 4), np.int32)) == {}
    collection = json.loads(as_geojson(class_features("lesion", 0, np.zeros((3, 4), np.int32), None)))
    assert (collection["type"], collection["features"]) == ("FeatureCollection", [])


def test_features_carry_what_qupath_reads():
    """Each object has a classification with a colour, and its area; pieces become a MultiPolygon."""
    objects = np.array([[1, 1, 0, 2], [0, 0, 0, 0], [0, 0, 0, 2]], np.int32)
    one, two = json.loads(as_geojson(class_features("nucleus", 0, objects, 0.5)))["features"]
    assert one["geometry"]["type"] == "Polygon"
    assert two["geometry"]["type"] == "MultiPolygon"
    assert one["properties"]["objectType"] == "annotation"
    assert one["properties"]["classification"]["name"] == "nucleus"
    assert len(one["properties"]["classification"]["color"]) == 3
    assert one["properties"]["measurements"] == {"area_px": 2, "area_mm2": pytest.approx(0.5)}

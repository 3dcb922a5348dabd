"""Shapes of annotations: pixels by the even-odd rule, and the order in which shapes are painted."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.errors import InputProblemsError
from stages.imaging.annotations import Shape, paint
from stages.imaging.annotations.run_lengths import decode_columns, decode_rows, decode_text
from stages.imaging.annotations.shapes import Outline, rasterise

SIZE = (12, 16)
Point = tuple[float, float]


@dataclass
class Classes:
    """Stand for the rules of a data set."""

    kind: str = "classes"
    names: tuple[str, ...] = ("background", "gland", "cell")

    def index_of(self, label: str) -> int | None:
        """Return the index of a class."""
        if label == "ignore":
            return 255
        return self.names.index(label) if label in self.names else None


def whole(outline: Outline, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return the pixels of an outline in the picture, (height, width) bool."""
    mask = np.zeros(size, bool)
    shape = rasterise("cell", [outline], size)
    if shape is not None:
        mask[shape.window] = shape.region
    return mask


def is_inside(x: Fraction, y: Fraction, rings: Outline) -> bool | None:
    """Return True if a point is inside by the even-odd rule: count the edges to the left of it, in exact numbers.

    None if an edge passes so close that rounding decides.
    """
    crossed = 0
    for ring in rings:
        exact = [(Fraction(one), Fraction(other)) for one, other in ring]
        for (x0, y0), (x1, y1) in pairwise([*exact, exact[0]]):
            if (y0 <= y) != (y1 <= y):
                distance = x0 + (y - y0) * (x1 - x0) / (y1 - y0) - x
                if abs(distance) < Fraction(1, 10**9):
                    return None
                crossed += distance < 0
    return crossed % 2 == 1


def box(label: str, top: int, left: int, height: int, width: int) -> Shape:
    """Return a shape that is a box."""
    return Shape(label, top, left, np.ones((height, width), bool))


coordinates = st.integers(-80, 400).map(lambda number: number / 20)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8)


@given(st.lists(rings, min_size=1, max_size=3))
def test_pixels_are_those_whose_centres_are_inside(outline: list[list[Point]]) -> None:
    """Every pixel agrees with a test of its centre alone, also for crossing rings, holes and parts outside."""
    half = Fraction(1, 2)
    places = [(row, column) for row in range(SIZE[0]) for column in range(SIZE[1])]
    inside = {place: is_inside(place[1] + half, place[0] + half, outline) for place in places}
    assume(any(inside.values()))  # otherwise the outline itself is kept
    drawn = whole(outline)
    assert [place for place in places if inside[place] not in (None, drawn[place])] == []


@given(st.integers(1, 15), st.integers(0, 32), st.integers(0, 32))
def test_neighbours_share_no_pixel_and_leave_none_out(middle: int, above: int, below: int) -> None:
    """Two polygons with a common edge cover the picture exactly, also where the edge meets centres of pixels."""
    upper, lower = (above / 2, 0.0), (below / 2, 12.0)
    left: list[Point] = [(0, 0), upper, (middle + 0.5, 6.5), lower, (0, 12)]
    right: list[Point] = [upper, (16, 0), (16, 12), lower, (middle + 0.5, 6.5)]
    np.testing.assert_array_equal(whole([left]), ~whole([right]))


@pytest.mark.parametrize(
    ("ring", "pixels"),
    [
        ([(3.6, 2.6), (3.9, 2.6), (3.9, 2.9)], {(2, 3)}),
        ([(1.6, 4.6), (5.4, 4.6), (5.4, 4.9), (1.6, 4.9)], {(4, column) for column in range(1, 6)}),
        ([(2, 2)], {(2, 2)}),
        ([(-3, 4.6), (2.4, 4.6), (2.4, 4.8)], {(4, 0), (4, 1), (4, 2)}),
    ],
)
def test_a_shape_without_any_centre_keeps_the_pixels_it_crosses(
    ring: list[Point], pixels: set[tuple[int, int]]
) -> None:
    """Thin and small shapes do not vanish."""
    assert set(zip(*(axis.tolist() for axis in np.nonzero(whole([ring]))), strict=True)) == pixels


def test_a_thin_part_beside_a_large_one_is_kept() -> None:
    """Every part of an object keeps at least one pixel."""
    large: Outline = [[(0, 0), (4, 0), (4, 4), (0, 4)]]
    tiny: Outline = [[(9.6, 9.6), (9.8, 9.6), (9.8, 9.8)]]
    shape = rasterise("cell", [large, tiny], SIZE)
    assert shape is not None
    assert shape.area == 17
    assert (shape.top, shape.left, shape.region.shape) == (0, 0, (10, 10))


def test_a_shape_outside_the_picture_has_no_pixels() -> None:
    """It is neither moved to the edge nor kept."""
    assert rasterise("cell", [[[(20, 2), (24, 2), (24, 6)]]], SIZE) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e7, -1e7])
def test_absurd_coordinates_are_refused(bad: float) -> None:
    """They would take the memory or the time of a picture that size."""
    with pytest.raises(ValueError, match="coordinate"):
        rasterise("cell", [[[(1, 1), (bad, 2), (3, 3)]]], SIZE)


@given(st.data())
def test_run_lengths_of_any_mask(data: st.DataObject) -> None:
    """Run lengths that are written by their definition give the mask back, in both orders and as COCO's text."""
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    np.testing.assert_array_equal(decode_rows(runs_of(mask.ravel()), (height, width)), mask)
    runs = runs_of(mask.T.ravel())
    np.testing.assert_array_equal(decode_columns(runs, (height, width)), mask)
    assert decode_text(text_of(runs)) == runs


def runs_of(pixels: np.ndarray) -> list[int]:
    """Return the run lengths of pixels, background first."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], pixels])))
    return np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()


def text_of(runs: list[int]) -> str:
    """Return run lengths in COCO's compressed form."""
    text = ""
    for number, run in enumerate(runs):
        rest = run - (runs[number - 2] if number > 2 else 0)
        more = True
        while more:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * more + 48)
    return text


@pytest.mark.parametrize("order", [1, -1])
def test_small_shapes_lie_on_large_ones(order: int, tmp_path: Path) -> None:
    """A cell in a gland is seen wherever it stands in the file."""
    shapes = [box("gland", 0, 0, 6, 6), box("cell", 2, 2, 2, 2)][::order]
    mask, instances = paint(shapes, SIZE, Classes(), tmp_path)
    assert instances is None
    assert np.bincount(mask.ravel()).tolist() == [192 - 36, 32, 4]


def test_of_equal_shapes_the_last_is_on_top(tmp_path: Path) -> None:
    """The order of the file decides."""
    mask, _ = paint([box("gland", 0, 0, 2, 2), box("cell", 0, 0, 2, 2)], SIZE, Classes(), tmp_path)
    assert mask[0, 0] == 2


def test_the_background_cuts_a_hole_and_ignored_regions_win(tmp_path: Path) -> None:
    """`ignore` is painted last, whatever its size."""
    shapes = [box("ignore", 0, 0, 12, 4), box("gland", 0, 0, 6, 8), box("background", 1, 5, 1, 1)]
    mask, _ = paint(shapes, SIZE, Classes(), tmp_path)
    assert np.unique(mask, return_counts=True)[1].tolist() == [192 - 48 - 24 + 1, 24 - 1, 48]


def test_instances_are_numbered_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Every shape is an object, whatever its label. One that is covered leaves no gap; an ignored one is none."""
    names = ["small", "covered", "large", "ignore"]
    places = [(1, 1, 2, 2), (8, 8, 1, 1), (0, 0, 6, 6), (8, 8, 2, 2)]
    shapes = [box(name, *place) for name, place in zip(names, places, strict=True)]
    mask, instances = paint(shapes, SIZE, Classes("instances", ("background", "object")), tmp_path)
    assert instances is not None
    assert instances.dtype == np.int32
    assert (instances[1, 1], instances[0, 0], instances[8, 8], instances.max()) == (1, 2, 0, 2)
    assert np.unique(mask, return_counts=True)[1].tolist() == [192 - 40, 36, 4]


def test_objects_that_fill_the_picture(tmp_path: Path) -> None:
    """Without any background the numbers still start at 1."""
    _, instances = paint([box("a", 0, 0, 12, 16)], SIZE, Classes("instances", ("background", "object")), tmp_path)
    assert instances is not None
    assert np.unique(instances).tolist() == [1]


def test_labels_of_a_pixel_are_bits(tmp_path: Path) -> None:
    """Of kind `multilabel` a pixel has all labels that cover it."""
    mask, _ = paint([box("gland", 0, 0, 6, 6), box("cell", 4, 4, 4, 4)], SIZE, Classes("multilabel"), tmp_path)
    assert (mask[0, 0], mask[4, 4], mask[7, 7], mask[9, 9]) == (1, 3, 2, 0)


def test_labels_that_are_no_class_are_listed(tmp_path: Path) -> None:
    """All of them are in one message, with their numbers of shapes."""
    shapes = [box("stroma", 0, 0, 1, 1), box("duct", 0, 0, 1, 1), box("stroma", 2, 2, 1, 1), box("cell", 3, 3, 1, 1)]
    with pytest.raises(InputProblemsError, match=r"classes that are not named: 'stroma' \(2\), 'duct' \(1\);"):
        paint(shapes, SIZE, Classes(), tmp_path / "a.json")

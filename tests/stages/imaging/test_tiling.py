"""Images are cut into tiles that cover them, all of one size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UsageError
from stages.imaging.image_rules import ImageRules
from stages.imaging.tiling import TileRule, tile_boxes, tile_id


@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    tile=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    share=st.floats(0, 0.99),
    reduction=st.floats(1, 4),
)
def test_tiles_cover_the_image_and_lie_inside_it(
    size: tuple[int, int], tile: tuple[int, int], share: float, reduction: float
):
    rule = TileRule(size=tile, overlap=int(share * min(tile)), reduction=reduction)
    boxes = tile_boxes(size, rule)
    covered = np.zeros(size, bool)
    for row, column, rows, columns in boxes:
        assert (rows, columns) == rule.rows_columns
        assert row + rows <= max(size[0], rows)
        assert column + columns <= max(size[1], columns)
        covered[row : row + rows, column : column + columns] = True
    assert covered.all()
    assert len(set(boxes)) == len(boxes)


def test_the_last_tiles_are_moved_inwards():
    boxes = tile_boxes((100, 70), TileRule(size=(40, 40), overlap=10))
    assert boxes == [
        (0, 0, 40, 40),
        (0, 30, 40, 40),
        (30, 0, 40, 40),
        (30, 30, 40, 40),
        (60, 0, 40, 40),
        (60, 30, 40, 40),
    ]


def test_a_reduction_makes_regions_larger():
    boxes = tile_boxes((100, 70), TileRule(size=(20, 20), overlap=4, reduction=2.5))
    assert boxes == [
        (0, 0, 50, 50),
        (0, 20, 50, 50),
        (40, 0, 50, 50),
        (40, 20, 50, 50),
        (50, 0, 50, 50),
        (50, 20, 50, 50),
    ]


def test_an_image_that_is_smaller_than_a_tile_has_one_tile():
    assert tile_boxes((10, 70), TileRule(size=(40, 80))) == [(0, 0, 40, 80)]


def test_ids_sort_like_the_places_of_tiles():
    size = (200_000, 100)
    ids = [tile_id("a", box, size) for box in tile_boxes(size, TileRule(size=(64, 64)))]
    assert ids == sorted(ids)
    assert ids[1] == "a_r000000_c000036"
    assert tile_id("a", (1, 2, 3, 4), (50, 50)) == "a_r00001_c00002"


def test_micrometres_give_every_file_its_own_reduction():
    rule = TileRule.parse((64, 64), 8, "0.5um")
    assert rule.for_file((0.00025, 0.00025, None)).reduction == 2
    assert rule.for_file((0.000505, 0.000505, None)).reduction == 1
    with pytest.raises(ValueError, match=r"TileRule\.for_file"):
        tile_boxes((100, 100), rule)


@pytest.mark.parametrize(
    ("spacing", "what"),
    [
        (None, "does not say how large its pixels are"),
        ((0.002, 0.002, None), "pixels of 2 um, larger than --resolution 0.5um"),
        ((0.00025, 0.0005, None), "make them square"),
    ],
)
def test_files_that_micrometres_do_not_fit_are_refused(spacing: tuple[float, float, None] | None, what: str):
    with pytest.raises(ValueError, match=what):
        TileRule.parse((64, 64), 8, "0.5um").for_file(spacing)


@pytest.mark.parametrize(
    ("overlap", "resolution"), [(64, "1"), (-1, "1"), (0, "0.5"), (0, "fast"), (0, "nan"), (0, "0um"), (0, "1e9")]
)
def test_impossible_rules_are_refused(overlap: int, resolution: str):
    with pytest.raises(UsageError):
        TileRule.parse((64, 64), overlap, resolution)


@pytest.mark.parametrize(
    "rule",
    [
        TileRule(size=(64, 32)),
        TileRule(size=(64, 32), overlap=5, reduction=1.5),
        TileRule(size=(64, 32), micrometres=0.25),
    ],
)
def test_a_recorded_rule_is_read_again(rule: TileRule):
    rules = ImageRules(tile=rule)
    assert ImageRules.from_dict(rules.to_dict()) == rules


@pytest.mark.parametrize("described", [{}, {"size": [3]}, {"size": [3, 3], "shape": "hexagon"}, {"size": "large"}])
def test_a_rule_of_a_later_version_is_refused(described: dict[str, object]):
    with pytest.raises(UsageError, match="Update the program"):
        ImageRules.from_dict({"tile": described})

"""Test how labels shrink: every object keeps a pixel if there is room, and every lost one is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from stages.errors import UsageError
from stages.imaging.resizing import resize_mask
from stages.imaging.shrinking import ShrunkLabels, shrink_labels

Mask = NDArray[np.uint8]


def random_objects(seed: int, shape: tuple[int, int] = (40, 50)) -> NDArray[np.int32]:
    """Return up to 20 rectangles, numbered in the order in which they are drawn over each other."""
    random = np.random.default_rng(seed)
    instances = np.zeros(shape, np.int32)
    for number in range(1, int(random.integers(2, 21))):
        height, width = random.integers(1, 9, 2)
        row, column = random.integers(0, shape[0]), random.integers(0, shape[1])
        instances[row : row + height, column : column + width] = number
    return instances


def numbers(instances: NDArray[np.generic] | None) -> set[int]:
    """Return the numbers of the instances in an array."""
    assert instances is not None
    return set(np.unique(instances).tolist()) - {0}


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    """Return a filled circle."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside: NDArray[np.bool_] = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    return inside


@given(seed=st.integers(0, 10_000), size=st.tuples(st.integers(3, 40), st.integers(3, 50)))
@settings(deadline=None, max_examples=60)
def test_kept_and_lost_instances_add_up(seed: int, size: tuple[int, int]) -> None:
    """Every instance either has a pixel in the result or is counted as lost; mask and instances agree."""
    source = random_objects(seed)
    shrunk = shrink_labels((source > 0).astype(np.uint8), source, size)
    assert shrunk.instances is not None
    assert shrunk.instances.dtype == np.uint16
    assert numbers(shrunk.instances) <= numbers(source)
    assert shrunk.objects == len(numbers(source))
    assert shrunk.lost == shrunk.objects - len(numbers(shrunk.instances))
    np.testing.assert_array_equal(shrunk.mask > 0, shrunk.instances > 0)
    assert (shrunk.keeping_size is None) == (shrunk.lost == 0)


@given(seed=st.integers(0, 10_000), size=st.tuples(st.integers(3, 39), st.integers(3, 49)))
@settings(deadline=None, max_examples=60)
def test_every_class_is_in_the_result_or_recorded_as_lost(seed: int, size: tuple[int, int]) -> None:
    """No value appears that the source lacks, and no class disappears without a record."""
    source = random_objects(seed)
    mask = np.choose(source % 4, [0, 1, 2, 255]).astype(np.uint8)
    shrunk = shrink_labels(mask, None, size)
    before, after = set(np.unique(mask).tolist()), set(np.unique(shrunk.mask).tolist())
    assert after <= before | {0}
    assert set(shrunk.lost_classes) == before - after - {0, 255}
    assert shrunk.objects == sum(ndimage.label(mask == index, np.ones((3, 3)))[1] for index in (1, 2))
    assert shrunk.lost >= len(shrunk.lost_classes)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_the_recommended_size_loses_nothing(seed: int) -> None:
    """Shrinking to the recommended size keeps every object that was lost, and the size is a larger one."""
    source = random_objects(seed)
    mask = (source > 0).astype(np.uint8)
    shrunk = shrink_labels(mask, source, (5, 6))
    if shrunk.keeping_size is not None:
        assert shrunk.keeping_size[0] * shrunk.keeping_size[1] > 5 * 6
        assert shrink_labels(mask, source, shrunk.keeping_size).lost == 0


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_the_size_of_the_source_changes_nothing(seed: int) -> None:
    """At its own size, a mask and its instances are as before and the objects are counted."""
    source = random_objects(seed)
    shrunk = shrink_labels((source > 0).astype(np.uint8), source, (40, 50))
    np.testing.assert_array_equal(shrunk.instances, source)
    np.testing.assert_array_equal(shrunk.mask, source > 0)
    assert (shrunk.objects, shrunk.lost) == (len(numbers(source)), 0)


def test_enlarging_is_nearest_neighbour() -> None:
    """A larger size gives the pixels of `resize_mask`, and instances stay where their mask is, above 255 too."""
    source = random_objects(3) * 40
    mask = (source > 0).astype(np.uint8)
    shrunk = shrink_labels(mask, source, (64, 81))
    np.testing.assert_array_equal(shrunk.mask, resize_mask(mask, (64, 81)))
    np.testing.assert_array_equal(shrunk.mask > 0, np.asarray(shrunk.instances) > 0)
    assert numbers(shrunk.instances) == numbers(source)
    assert max(numbers(source)) > 255


@pytest.mark.parametrize("diameter", [3, 6, 9, 13])
def test_small_lesions_of_a_large_image_survive(diameter: int) -> None:
    """Lesions of 3 to 13 pixels in 1024² have pixels at 224²; with 3 pixels the nearest neighbour loses some."""
    random = np.random.default_rng(diameter)
    missed = 0
    for _ in range(12):
        centre = random.uniform(20, 1000, 2)
        mask = disc((1024, 1024), (centre[0], centre[1]), diameter / 2).astype(np.uint8)
        shrunk = shrink_labels(mask, None, (224, 224))
        assert (shrunk.objects, shrunk.lost, shrunk.keeping_size) == (1, 0, None)
        found = ndimage.center_of_mass(shrunk.mask)
        assert np.allclose((np.array(found) + 0.5) * 1024 / 224, centre + 0.5, atol=1024 / 224)
        missed += not resize_mask(mask, (224, 224)).any()
    assert diameter > 3 or missed > 0


@pytest.mark.parametrize("slope", [0.0, 0.35, 0.7, 1.0])
def test_thin_lines_survive(slope: float) -> None:
    """A line a third of a pixel wide is in four of five columns that it crosses; with nearest in half or less."""
    rows, columns = np.mgrid[:500, :500]
    mask = (np.abs(rows - 3 - slope * columns) <= 0.75).astype(np.uint8)
    crossed = mask.any(axis=0).reshape(100, 5).any(axis=1)
    found = shrink_labels(mask, None, (100, 100)).mask.any(axis=0)[crossed].mean()
    assert found >= 0.8
    assert found >= 2 * resize_mask(mask, (100, 100)).any(axis=0)[crossed].mean()


def test_shapes_of_many_pixels_keep_their_area() -> None:
    """A disc covers the same share of the picture as before, to half a per cent of itself."""
    mask = disc((600, 800), (250.3, 411.7), 150).astype(np.uint8)
    shrunk = shrink_labels(mask, None, (224, 224)).mask
    assert abs(shrunk.mean() / mask.mean() - 1) < 0.005


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose])
def test_flipped_labels_shrink_to_flipped_labels(turn: object) -> None:
    """Flips and transposes commute with shrinking where no pixel has equal shares."""
    assert callable(turn)
    shape = (301, 307)
    mask = disc(shape, (90.2, 120.7), 61.3).astype(np.uint8)
    mask[disc(shape, (211.4, 190.1), 40.6)] = 2
    mask[disc(shape, (30.6, 250.9), 1.4)] = 2
    size = (67, 67)
    np.testing.assert_array_equal(
        shrink_labels(np.ascontiguousarray(turn(mask)), None, size).mask, turn(shrink_labels(mask, None, size).mask)
    )


def test_touching_instances_stay_apart() -> None:
    """Nuclei side by side without a gap keep their own numbers and areas."""
    instances = np.zeros((90, 90), np.int32)
    instances[9:51, 10:41] = 1
    instances[9:51, 41:80] = 2
    shrunk = shrink_labels((instances > 0).astype(np.uint8), instances, (30, 30)).instances
    areas = np.bincount(np.asarray(shrunk).ravel())[1:] * 9
    np.testing.assert_allclose(areas, [42 * 31, 42 * 39], rtol=0.1)


def test_a_small_object_on_the_edge_of_a_large_one_keeps_a_pixel() -> None:
    """The small object takes its pixel from the large one, which has others."""
    instances = np.zeros((64, 64), np.int32)
    instances[:, :33] = 1
    instances[30, 33] = 2
    instances[31, 20] = 3
    shrunk = shrink_labels((instances > 0).astype(np.uint8), instances, (16, 16))
    assert numbers(shrunk.instances) == {1, 2, 3}
    assert shrunk.lost == 0


def test_an_object_leaves_half_of_a_smaller_one() -> None:
    """A frame that is thinner than a pixel takes no pixel from the bar in it that needs both of its own."""
    instances = np.zeros((12, 12), np.int32)
    instances[6:10, 10:] = instances[10:, 6:] = 1
    instances[6:10, 3:10] = 2
    instances[7:9, :8] = 3
    shrunk = np.asarray(shrink_labels((instances > 0).astype(np.uint8), instances, (4, 4)).instances)
    np.testing.assert_array_equal(shrunk[2], [3, 3, 2, 2])


def test_two_dots_in_one_pixel_are_one_lost_object() -> None:
    """One of two dots within a pixel is counted as lost, with the size at which each dot has a pixel."""
    mask = np.zeros((80, 80), np.uint8)
    mask[1, 1] = mask[4, 4] = 1
    shrunk = shrink_labels(mask, None, (8, 8))
    assert (shrunk.objects, shrunk.lost, shrunk.lost_classes) == (2, 1, ())
    assert shrunk.keeping_size == (96, 96)
    assert int(shrunk.mask.sum()) == 1


def test_a_lost_class_is_recorded() -> None:
    """Of two classes with a dot each in the same pixel, one has no pixel left and is named."""
    mask = np.zeros((80, 80), np.uint8)
    mask[1:4, 1:4], mask[6, 6] = 1, 2
    mask[5, 5] = 3
    shrunk = shrink_labels(mask, None, (8, 8))
    assert shrunk.objects == 3
    assert shrunk.lost == 2
    assert set(shrunk.lost_classes) == {1, 2, 3} - set(np.unique(shrunk.mask).tolist())


def test_equal_shares_go_to_foreground_and_to_the_lower_class() -> None:
    """Half foreground and half background gives foreground; half and half of two classes gives the lower index."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 1:5] = 2
    mask[4:, 5:7] = 1
    shrunk = shrink_labels(mask, None, (4, 4)).mask
    np.testing.assert_array_equal(shrunk, [[2, 2, 2, 0]] * 2 + [[2, 2, 1, 1]] * 2)


def test_ignored_pixels_are_those_of_the_majority() -> None:
    """A pixel mostly ignored is ignored; at equal shares it has the class or the background."""
    mask = np.zeros((9, 12), np.uint8)
    mask[:6] = 1
    mask[:, :5] = 255
    shrunk = shrink_labels(mask, None, (3, 4)).mask
    np.testing.assert_array_equal(shrunk, [[255, 255, 1, 1]] * 2 + [[255, 255, 0, 0]])
    shrunk = shrink_labels(mask[:, 3:7], None, (3, 1)).mask  # two columns of four are ignored
    np.testing.assert_array_equal(shrunk, [[1], [1], [0]])


def bits_of(shrunk: ShrunkLabels, label: int) -> NDArray[np.bool_]:
    """Return (row, column) True where a label of a multilabel mask is."""
    return (shrunk.mask != 255) & ((shrunk.mask >> (label - 1) & 1) == 1)


def test_overlapping_labels_shrink_one_by_one() -> None:
    """Every label has the pixels that it has alone, and objects are counted over all labels."""
    shape = (120, 120)
    one, two = disc(shape, (50.2, 50.4), 30), disc(shape, (70.3, 61.8), 25)
    mask = (one * 1 + two * 4).astype(np.uint8)
    shrunk = shrink_labels(mask, None, (40, 40), multilabel=True)
    for label, region in ((1, one), (3, two)):
        alone = shrink_labels(region.astype(np.uint8), None, (40, 40)).mask == 1
        np.testing.assert_array_equal(bits_of(shrunk, label), alone)
    assert (shrunk.objects, shrunk.lost) == (2, 0)


def test_overlapping_labels_are_ignored_in_the_same_pixels() -> None:
    """A label that has most of a pixel keeps it although another label has less of it than is ignored."""
    mask = np.zeros((10, 20), np.uint8)
    mask[:, :3], mask[:, 3:6], mask[:, 6:10] = 0b11, 0b10, 255
    mask[:, 14:] = 255
    shrunk = shrink_labels(mask, None, (1, 2), multilabel=True)
    assert shrunk.mask[0, 0] in (0b10, 0b11)
    assert shrunk.mask[0, 1] == 255
    assert shrunk.lost_classes == tuple(label for label in (1, 2) if not bits_of(shrunk, label).any())


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_every_overlapping_label_is_kept_or_recorded(seed: int) -> None:
    """A label of the source is in the result or in the record of what was lost, with ignored pixels too."""
    first, second, ignored = random_objects(seed), random_objects(seed + 1), random_objects(seed + 2)
    mask = ((first > 0) + 2 * (second > 0)).astype(np.uint8)
    mask[ignored > 0] = 255
    shrunk = shrink_labels(mask, None, (4, 5), multilabel=True)
    present = {label for label in (1, 2) if ((mask != 255) & (mask >> (label - 1) & 1 > 0)).any()}
    assert set(shrunk.lost_classes) == {label for label in present if not bits_of(shrunk, label).any()}


@pytest.mark.parametrize("fill", [0, 1, 255])
def test_masks_of_one_value_keep_it(fill: int) -> None:
    """An empty, a full and an ignored mask shrink to themselves."""
    shrunk = shrink_labels(np.full((33, 47), fill, np.uint8), None, (7, 9))
    assert np.unique(shrunk.mask).tolist() == [fill]
    assert (shrunk.objects, shrunk.lost) == (int(fill == 1), 0)


def test_sides_without_a_pixel_and_too_many_instances_are_errors() -> None:
    """A size needs a row and a column, and instances are numbered with 16 bits."""
    mask = np.ones((8, 8), np.uint8)
    with pytest.raises(UsageError, match="size 0x4"):
        shrink_labels(mask, None, (0, 4))
    with pytest.raises(UsageError, match="70,000"):
        shrink_labels(mask, np.full((8, 8), 70_000, np.int32), (4, 4))

"""Outlines over an image: one colour per class, objects apart, and the image otherwise unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.pictures.outlines import COLOURS, display_size, draw_outlines, stretch_objects
from stages.pictures.panels import BACKDROP, GAP, LINE

GREY = (128, 128, 128)
TOP, LEFT = GAP + LINE + GAP // 2, GAP


def _draw(classes: list[tuple[str, np.ndarray]], size: int = 300) -> np.ndarray:
    """Return the part of the picture that shows the image, (size, size, 3)."""
    picture = np.asarray(draw_outlines(np.full((size, size, 3), 128, np.uint8), classes, title="case"))
    return picture[TOP : TOP + size, LEFT : LEFT + size]


def _square(row: int, column: int, side: int, number: int = 1, size: int = 300) -> np.ndarray:
    objects = np.zeros((size, size), np.int32)
    objects[row : row + side, column : column + side] = number
    return objects


def _colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, picture.reshape(-1, picture.shape[-1]).tolist()))


def test_an_outline_lies_inside_its_object_and_hides_nothing_else():
    """The line is on the object's own pixels, the rim one pixel beside it; all other pixels are those of the image."""
    picture = _draw([("lesion", _square(100, 120, 50))])
    line = (picture == COLOURS[0]).all(axis=-1)
    rows, columns = np.nonzero(line)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (100, 149, 120, 169)
    assert tuple(picture[125, 145]) == GREY
    assert tuple(picture[98, 145]) == GREY
    assert tuple(picture[99, 145]) == BACKDROP
    assert _colours(picture) == {GREY, BACKDROP, COLOURS[0]}


def test_classes_have_colours_of_their_own():
    """Seven classes have seven colours; the eighth has that of the first with a dashed line."""
    classes = [(str(number), _square(20 * number + 20, 20 * number + 20, 18)) for number in range(8)]
    picture = _draw(classes)
    assert _colours(picture) == {GREY, BACKDROP, *COLOURS}
    solid, dashed = picture[20:38, 20:38], picture[160:178, 160:178]
    count = [(part == COLOURS[0]).all(axis=-1).sum() for part in (solid, dashed)]
    assert 0 < count[1] < count[0]


def test_objects_that_touch_have_a_line_between_them():
    """Two numbers side by side are outlined one by one; one number over the same pixels is not divided."""
    two = _square(100, 100, 60) + _square(100, 160, 60, number=2)
    assert tuple(_draw([("nucleus", two)])[130, 160]) == COLOURS[0]
    assert tuple(_draw([("nucleus", np.minimum(two, 1))])[130, 160]) == GREY


def test_the_border_of_the_image_is_no_outline():
    """An object that leaves the image is open there."""
    picture = _draw([("lesion", _square(0, 100, 50))])
    assert tuple(picture[0, 125]) == GREY


def test_an_image_without_objects_says_so():
    """The legend of an empty mask names no class, and the picture shows the image unchanged."""
    empty = np.zeros((300, 300), np.int32)
    image = np.full((300, 300, 3), 128, np.uint8)
    assert _colours(_draw([("lesion", empty)])) == {GREY}
    full = [np.asarray(draw_outlines(image, [(name, empty)], title="case")) for name in ("lesion", "other")]
    np.testing.assert_array_equal(*full)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((600, 800), (600, 800)), ((36, 48), (540, 720)), ((3000, 4000), (1536, 2048)), ((1, 5000), (1, 2048))],
)
def test_images_are_drawn_at_their_own_size_where_possible(size: tuple[int, int], expected: tuple[int, int]):
    """Small images are enlarged by a whole factor, and the longer side has at most 2,048 pixels."""
    assert display_size(*size) == expected


def test_stretched_objects_keep_their_numbers():
    """Numbers above 65,535 and their places stay."""
    objects = np.array([[0, 70000], [3, 0]], np.int32)
    np.testing.assert_array_equal(stretch_objects(objects, (4, 4)), objects.repeat(2, axis=0).repeat(2, axis=1))


def test_a_picture_is_an_image_with_title_and_legend():
    """The result is RGB and larger than the image, by the title above and the legend below."""
    picture = draw_outlines(np.zeros((300, 400, 3), np.uint8), [], title="case")
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.width) == ("RGB", 400 + 2 * GAP)
    assert picture.height > 300 + 2 * LINE

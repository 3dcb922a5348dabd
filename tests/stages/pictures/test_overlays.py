"""Overlays: the colours of agreement and error, the size of the panels, and the choice of samples."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from PIL import Image

from stages.errors import UsageError
from stages.pictures import overlays, panels
from stages.pictures.overlays import draw_overlay, pick_cases

Mask = NDArray[np.uint8]


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.full((64, 64, 3), 128, dtype=np.uint8)


@pytest.fixture
def truth() -> Mask:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[10:40, 10:40] = 1
    return mask


def colours_in(picture: Image.Image, panel: int, width: int = 256, height: int = 256) -> set[tuple[int, int, int]]:
    """Return the colours of one panel's picture, without its title and legend."""
    left = panels.GAP + panel * (width + panels.GAP)
    top = panels.GAP + 2 * panels.LINE
    pixels = np.asarray(picture)[top : top + height, left : left + width]
    return {(int(r), int(g), int(b)) for r, g, b in np.unique(pixels.reshape(-1, 3), axis=0)}


def tinted(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the colour after blending with the grey image."""
    red, green, blue = (int(0.25 * 128 + 0.75 * channel) for channel in colour)
    return red, green, blue


def test_perfect_prediction_is_all_white_lines_and_no_errors(image: NDArray[np.uint8], truth: Mask) -> None:
    """If ground truth and prediction agree, the outline is white and the error map is the grey image."""
    picture = draw_overlay(image, truth, truth, 2, caption="a")
    assert colours_in(picture, 0) == {(128, 128, 128), overlays.BOTH, panels.BACKDROP}
    assert colours_in(picture, 1) == {(128, 128, 128)}


def test_missed_and_extra_pixels_have_their_own_colours(image: NDArray[np.uint8], truth: Mask) -> None:
    """A shifted prediction shows both outlines, and tints missed and extra pixels."""
    picture = draw_overlay(image, truth, np.roll(truth, 8, axis=1), 2, caption="a")
    assert {overlays.TRUTH, overlays.PREDICTION, overlays.BOTH} <= colours_in(picture, 0)
    assert colours_in(picture, 1) == {(128, 128, 128), tinted(overlays.TRUTH), tinted(overlays.PREDICTION)}


@pytest.mark.parametrize(
    ("prediction", "colour"),
    [pytest.param(0, overlays.TRUTH, id="missed"), pytest.param(2, overlays.OTHER_CLASS, id="other_class")],
)
def test_error_map_distinguishes_missed_from_another_class(
    image: NDArray[np.uint8], truth: Mask, prediction: int, colour: tuple[int, int, int]
) -> None:
    """A lesion predicted as background is missed; predicted as another class it has the colour of that error."""
    picture = draw_overlay(image, truth, truth * np.uint8(prediction), 3, caption="a")
    assert colours_in(picture, 1) == {(128, 128, 128), tinted(colour)}


def test_ignored_pixels_are_not_drawn_as_errors(image: NDArray[np.uint8], truth: Mask) -> None:
    """Ignored pixels (255) are striped in the error map, whatever is predicted there."""
    unknown = np.full_like(truth, 255)
    picture = draw_overlay(image, unknown, truth, 2, caption="a")
    assert colours_in(picture, 1) == {tinted(overlays.IGNORED), tinted(panels.BACKDROP)}


def test_attention_adds_a_panel_that_shows_the_mean_of_the_heads(image: NDArray[np.uint8], truth: Mask) -> None:
    """Two heads with attention on opposite halves have a uniform mean; one head alone spans the colour scale."""
    left = np.tile(np.array([2.0, 0.0], dtype=np.float16), (1, 2, 1))
    both = np.concatenate([left, left[..., ::-1]])
    without = draw_overlay(image, truth, truth, 2, caption="a")
    one, two = (draw_overlay(image, truth, truth, 2, caption="a", attention=maps) for maps in (left, both))
    lines = {overlays.BOTH, panels.BACKDROP}
    assert one.width == two.width == without.width + 256 + panels.GAP
    assert colours_in(one, 2) - lines == {(68, 1, 84), (253, 231, 37)}
    assert len(colours_in(two, 2) - lines) == 1


@pytest.mark.parametrize(
    ("size", "panel"),
    [
        pytest.param((64, 64), (256, 256), id="small_is_enlarged_in_whole_multiples"),
        pytest.param((100, 150), (300, 450), id="shorter_side_reaches_256"),
        pytest.param((300, 400), (300, 400), id="large_enough_stays"),
        pytest.param((1500, 2000), (768, 1024), id="large_is_reduced"),
        pytest.param((10, 400), (26, 1024), id="narrow_is_bounded_by_its_longer_side"),
    ],
)
def test_panels_are_large_enough_to_read_and_small_enough_to_keep(
    size: tuple[int, int], panel: tuple[int, int]
) -> None:
    """The size of the panels follows from the size of the image, within limits."""
    blank = np.zeros(size, dtype=np.uint8)
    picture = draw_overlay(np.zeros((*size, 3), dtype=np.uint8), blank, blank, 2, caption="a")
    assert picture.mode == "RGB"
    assert picture.width == 2 * panel[1] + 3 * panels.GAP
    assert panel[0] < picture.height <= panel[0] + 5 * panels.LINE


def test_caption_is_written_and_a_long_one_takes_more_lines(image: NDArray[np.uint8], truth: Mask) -> None:
    """The caption is drawn in the top bar; a long one is wrapped and never crosses the edge."""
    empty, short, long = (
        draw_overlay(image, truth, truth, 2, caption=caption) for caption in ("", "ISIC_1 Dice 0.912", "word " * 60)
    )
    assert np.any(np.asarray(empty)[: panels.LINE] != np.asarray(short)[: panels.LINE])
    assert short.height < long.height
    assert (np.asarray(long)[: panels.LINE, -panels.GAP :] == panels.BACKDROP).all()


def test_masks_of_another_size_are_an_error(image: NDArray[np.uint8], truth: Mask) -> None:
    """A prediction of another size is rejected, not stretched."""
    with pytest.raises(UsageError, match="same size"):
        draw_overlay(image, truth, truth[:32], 2, caption="a")


def test_cases_are_the_lowest_the_middle_and_the_highest() -> None:
    """Of eleven samples the two lowest, the two in the middle and the two highest are chosen."""
    dice = [0.5, 0.9, 0.1, 0.3, 0.7, 0.0, 1.0, 0.2, 0.4, 0.6, 0.8]
    assert pick_cases(dice, 2) == {"worst": [5, 2], "median": [8, 0], "best": [6, 1]}


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        pytest.param(0, (0, 0, 0), id="none"),
        pytest.param(1, (1, 0, 0), id="one"),
        pytest.param(2, (1, 0, 1), id="two"),
        pytest.param(7, (3, 2, 2), id="seven"),
        pytest.param(12, (4, 4, 4), id="just_enough"),
    ],
)
def test_few_samples_are_shared_out(n: int, sizes: tuple[int, int, int]) -> None:
    """With too few samples each is chosen once; the remainder goes to the worst first."""
    cases = pick_cases([index / 20 for index in range(n)], 4)
    assert tuple(len(cases[kind]) for kind in ("worst", "median", "best")) == sizes


@settings(deadline=None)
@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=20), st.integers(0, 8))
def test_no_sample_is_chosen_twice_and_worst_is_below_median_below_best(dice: list[float], count: int) -> None:
    """For any scores, also few, equal or undefined ones, the three kinds are ordered and share no sample."""
    cases = pick_cases(dice, count)
    chosen = [index for kind in ("worst", "median", "best") for index in cases[kind]]
    known = sum(not math.isnan(score) for score in dice)
    assert len(set(chosen)) == len(chosen) == min(3 * count, known)
    scores = [dice[index] for index in cases["worst"] + cases["median"] + cases["best"][::-1]]
    assert scores == sorted(scores)
    assert not any(math.isnan(score) for score in scores)


def test_negative_count_is_an_error() -> None:
    """A negative number of pictures is rejected."""
    with pytest.raises(UsageError):
        pick_cases([0.5], -1)

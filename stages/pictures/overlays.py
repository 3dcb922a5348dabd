"""Draw predictions over their images: correct areas, errors, and the attention of the transformer.

One picture shows one sample in panels side by side, each with a title and a legend:

- contours: the image with the outlines of ground truth and prediction;
- errors: the image in grey, with missed pixels, extra pixels, and pixels of another class in colour;
- attention, if given: the mean over heads with the outline of the ground truth. Each patch is a block, which shows how
  coarse the grid is.

Blue is ground truth only, orange is prediction only, white is both. On the attention map the ground truth is white,
because blue is hard to see there. Colour-blind readers can distinguish these colours (after Okabe & Ito 2008) and the
colour map viridis. Dark rims keep outlines visible on any skin.

`pick_cases` chooses which samples to draw. Nothing here computes scores: the caller gives the caption.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from stages.errors import UsageError
from stages.pictures.panels import BACKDROP, SMALLEST_SIDE, Colour, Panel, compose, rim
from store.records import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["draw_overlay", "pick_cases"]

TRUTH: Colour = (40, 150, 255)
PREDICTION: Colour = (255, 159, 0)
BOTH: Colour = (255, 255, 255)
OTHER_CLASS: Colour = (204, 121, 167)
IGNORED: Colour = (150, 150, 150)

VIRIDIS = np.array(
    [
        (68, 1, 84), (70, 50, 126), (54, 92, 141), (39, 127, 142),
        (31, 161, 135), (74, 193, 109), (160, 218, 57), (253, 231, 37),
    ]
)  # fmt: skip
"""(8, 3) evenly spaced colours of matplotlib's viridis (Smith & van der Walt 2015), from low to high."""

LARGEST_SIDE = 1024
STRIPE = 6


def draw_overlay(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    n_classes: int,
    *,
    caption: str,
    attention: NDArray[np.floating] | None = None,
) -> Image.Image:
    """Draw the panels of one sample below a caption.

    Args:
        image: (height, width, 3) uint8 RGB.
        truth: (height, width) uint8 class indices of the ground truth; 255 is ignored.
        prediction: (height, width) uint8 class indices.
        n_classes: Number of classes, the background (0) included. With more than two, the legend has "other class".
        caption: Text above the panels, such as the id of the sample and its Dice.
        attention: (heads, grid_row, grid_column) float in the unit of the store: uniform attention is 1.0.

    Returns:
        An RGB picture. Panels have the image's proportions. Small images are enlarged by a whole factor until the
        shorter side has at least 256 pixels. The longer side has at most 1,024 pixels, which takes precedence.

    Raises:
        UsageError: image, truth and prediction differ in height or width.
    """
    if not image.shape[:2] == truth.shape == prediction.shape:
        raise UsageError(
            f"Image {image.shape[:2]}, truth {truth.shape} and prediction {prediction.shape} differ in height "
            "or width. Resize them to the same size before drawing."
        )
    size = _panel_size(*truth.shape)
    image = _resize(image, size, Image.Resampling.NEAREST if size[0] > truth.shape[0] else Image.Resampling.BOX)
    truth = _resize(truth, size, Image.Resampling.NEAREST)
    prediction = _resize(prediction, size, Image.Resampling.NEAREST)
    panels = [
        _contour_panel(image, truth, prediction),
        _error_panel(image, truth, prediction, several_classes=n_classes > 2),  # noqa: PLR2004 - more than one foreground class
    ]
    if attention is not None:
        panels.append(_attention_panel(attention, truth))
    return compose(panels, caption)


def pick_cases(dice: Sequence[float], count: int) -> dict[str, list[int]]:
    """Choose the samples with the lowest, the middle and the highest Dice.

    Args:
        dice: (n,) Dice per sample in [0, 1]; samples whose Dice is nan are never chosen.
        count: Number of samples of each kind.

    Returns:
        Indices into `dice` under "worst" (lowest first), "median" (in rising order) and "best" (highest first). No
        sample is chosen twice. With fewer than 3 `count` samples the kinds share them evenly; a remainder goes to the
        worst first, then to the best.

    Raises:
        UsageError: `count` is negative.
    """
    if count < 0:
        raise UsageError(f"{count} pictures of each kind cannot be drawn. Ask for 0 or more.")
    scores = np.asarray(dice, dtype=np.float64)
    order = [int(index) for index in np.argsort(scores, kind="stable") if not np.isnan(scores[index])]
    each, left_over = divmod(min(3 * count, len(order)), 3)
    n_worst, n_best = each + (left_over > 0), each + (left_over > 1)
    middle = order[n_worst : len(order) - n_best]
    start = (len(middle) - each) // 2
    return {
        "worst": order[:n_worst],
        "median": middle[start : start + each],
        "best": order[::-1][:n_best],
    }


def _panel_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of a panel for an image of this size."""
    scale = float(max(1, math.ceil(SMALLEST_SIDE / min(height, width))))
    if scale * max(height, width) > LARGEST_SIDE:
        scale = LARGEST_SIDE / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))


def _resize(pixels: NDArray[np.uint8], size: tuple[int, int], how: Image.Resampling) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], how))


def _contour_panel(image: NDArray[np.uint8], truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> Panel:
    picture = image.copy()
    true_line, predicted_line = _contour(truth), _contour(prediction)
    picture[rim(true_line | predicted_line)] = BACKDROP
    picture[true_line] = TRUTH
    picture[predicted_line] = PREDICTION
    picture[true_line & predicted_line] = BOTH
    return Panel("contours", picture, (((TRUTH,), "truth"), ((PREDICTION,), "prediction"), ((BOTH,), "both agree")))


def _error_panel(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], prediction: NDArray[np.uint8], *, several_classes: bool
) -> Panel:
    known = truth != IGNORE
    wrong = known & (truth != prediction)
    tints: list[tuple[NDArray[np.bool_], tuple[Colour, ...], str]] = [
        (wrong & (prediction == 0), (TRUTH,), "missed"),
        (wrong & (truth == 0), (PREDICTION,), "extra"),
    ]
    if several_classes:
        tints.append((wrong & (truth != 0) & (prediction != 0), (OTHER_CLASS,), "other class"))
    if not known.all():
        stripes = np.add.outer(np.arange(known.shape[0]), np.arange(known.shape[1])) // STRIPE % 2
        tints += [(~known & (stripes == 0), (IGNORED, BACKDROP, IGNORED), "ignored")]
        tints += [(~known & (stripes == 1), (BACKDROP,), "")]
    grey = np.asarray(Image.fromarray(image).convert("L"))
    picture = np.repeat(grey[..., None], 3, axis=2)
    for where, colours, _ in tints:
        picture[where] = 0.25 * picture[where] + 0.75 * np.array(colours[0])
    return Panel("errors", picture, tuple((colours, name) for _, colours, name in tints if name))


def _attention_panel(attention: NDArray[np.floating], truth: NDArray[np.uint8]) -> Panel:
    mean = attention.astype(np.float64).mean(axis=0)
    # Attention has a long tail: with the full range, a few bright patches would give all others the same colour.
    low, high = np.percentile(mean, (2, 98))
    level = np.clip((mean - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    colours = np.stack([np.interp(level, np.linspace(0, 1, len(VIRIDIS)), channel) for channel in VIRIDIS.T], axis=-1)
    picture = _resize(colours.astype(np.uint8), truth.shape, Image.Resampling.NEAREST).copy()
    line = _contour(truth)
    picture[rim(line)] = BACKDROP
    picture[line] = BOTH
    scale = tuple((int(red), int(green), int(blue)) for red, green, blue in VIRIDIS)
    legend = ((scale, f"{low:.2g} to {high:.2g} x uniform"), ((BOTH,), "truth"))
    return Panel(f"attention, mean over heads ({len(attention)})", picture, legend)


def _contour(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the inner outline of every region of a foreground class, (height, width) bool."""
    line = np.zeros(mask.shape, dtype=bool)
    for index in np.unique(mask):
        if index not in {0, IGNORE}:
            region = mask == index
            line |= region & ~binary_erosion(region, iterations=max(2, round(min(mask.shape) / 150)))
    return line

"""Draw the pictures of the README and the site into `docs/pictures`: `python -m tests.docs.make_pictures`.

Everything in them is made by this project: phantoms, the embedded transformer, and a network trained here. The cases
are chosen by a rule, not by hand: the test images around the median Dice, of those with a whole lesion. The pictures
have a transparent background and grey letters, so that they can be read on a light and on a dark page. With the same
versions of the libraries on the same kind of processor they are the same, byte for byte. The screenshots need Chromium;
without it they are not made.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray
from PIL import Image

from tests.docs.blocks import DOCS
from tests.docs.demonstration import Case, Demonstration, make_demonstration
from tests.docs.screenshots import draw_screenshots

PICTURES = DOCS / "pictures"
GREY = "#7a8694"  # contrast of 3.7 on white and 4.4 on a dark page
TRUTH, PREDICTION = "#ffffff", "#ffb000"


def main() -> None:
    """Draw all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_demonstration(Path(folder))
        PICTURES.mkdir(exist_ok=True)
        _save(draw_overview(made), PICTURES / "overview.png")
        _save(draw_heads(made), PICTURES / "heads.png")
        _save(draw_case(around_median(made.cases, 1)[0]), PICTURES / "case.png")
        draw_screenshots(made, around_median(made.cases, 1)[0].id, PICTURES)


def around_median(cases: list[Case], count: int) -> list[Case]:
    """Return the middle of a sorted list of cases, without those whose lesion is cut, tiny, or fills the picture."""
    whole = [case for case in cases if _is_whole(case)]
    start = (len(whole) - count) // 2
    return whole[start : start + count]


def _is_whole(case: Case) -> bool:
    """Return whether the lesion covers 3 to 40 % of the picture and does not touch its edge."""
    edge = np.ones_like(case.truth)
    edge[1:-1, 1:-1] = False
    return 0.03 < case.truth.mean() < 0.4 and not (case.truth & edge).any()


def draw_overview(made: Demonstration) -> Figure:
    """Draw two cases: the image, three heads, and the outlines of truth and prediction."""
    cases, heads = around_median(made.cases, 2), _different_heads(made, 3, alike=0.5)
    figure = Figure(figsize=(9.2, 3.0), dpi=100)
    for row, case in enumerate(cases):
        for column in range(5):
            axes = _panel(figure, row, column)
            if column == 0:
                axes.imshow(case.image)
            elif column == 4:
                _show_outlines(axes, case)
            else:
                _show_map(axes, case, heads[column - 1])
    for x, text in ((0.094, "image"), (0.5, "what three heads of the transformer look at"), (0.906, "segmentation")):
        figure.text(x, 0.975, text, ha="center", va="top", color=GREY, fontsize=12)
    for x in (0.193, 0.788):
        figure.add_artist(
            FancyArrowPatch((x, 0.45), (x + 0.019, 0.45), arrowstyle="-|>", mutation_scale=11, color=GREY, lw=1.2)
        )
    figure.text(0.5, 0.002, "computed once and stored", ha="center", va="bottom", color=GREY, fontsize=11)
    figure.text(1, 0.004, "white: truth, orange: prediction", ha="right", va="bottom", color=GREY, fontsize=10)
    return figure


def draw_heads(made: Demonstration) -> Figure:
    """Draw three cases with their masks and six heads."""
    cases, heads = around_median(made.cases, 3), _different_heads(made, 6, alike=0.9)
    figure = Figure(figsize=(9.2, 2.75), dpi=100)
    columns = 2 + len(heads)
    for row, case in enumerate(cases):
        for column in range(columns):
            axes = figure.add_axes((column / columns + 0.003, 0.01 + (2 - row) * 0.31, 1 / columns - 0.006, 0.3))
            axes.axis("off")
            if column == 0:
                axes.imshow(case.image)
            elif column == 1:
                axes.imshow(case.truth, cmap="gray")
            else:
                _show_map(axes, case, heads[column - 2])
    names = ["image", "mask", *(f"head {made.heads[head]}" for head in heads)]
    for column, name in enumerate(names):
        figure.text((column + 0.5) / columns, 0.99, name, ha="center", va="top", color=GREY, fontsize=9)
    return figure


def draw_case(case: Case) -> Figure:
    """Draw one case with both outlines and its Dice."""
    figure = Figure(figsize=(4.6, 3.7), dpi=100)
    axes = figure.add_axes((0, 0, 1, 0.93))
    axes.axis("off")
    _show_outlines(axes, case)
    text = f"{case.id}: Dice {case.dice:.2f} (white: truth, orange: prediction)"
    figure.text(0.5, 0.99, text, ha="center", va="top", color=GREY, fontsize=9)
    return figure


def _different_heads(made: Demonstration, count: int, *, alike: float) -> list[int]:
    """Return the heads that agree most with the masks, without heads whose maps resemble those of a better one.

    Args:
        made: the demonstration.
        count: number of heads.
        alike: correlation of the logarithms of two heads' maps from which on they resemble each other.
    """
    maps = np.concatenate([np.log(np.maximum(case.maps, 1e-3)).reshape(len(made.heads), -1) for case in made.cases], 1)
    correlation = np.corrcoef(maps)
    chosen: list[int] = []
    for head in map(int, made.order):
        if all(correlation[head, one] < alike for one in chosen):
            chosen.append(head)
    return chosen[:count]


def _panel(figure: Figure, row: int, column: int) -> Axes:
    """Return the axes of one picture of the overview; the columns leave room for the arrows."""
    left = (0.0, 0.222, 0.410, 0.598, 0.818)[column]
    axes = figure.add_axes((left, 0.085 + (1 - row) * 0.41, 0.184, 0.4))
    axes.axis("off")
    return axes


def _show_map(axes: Axes, case: Case, head: int) -> None:
    """Draw the logarithm of a map, stretched from the 2nd to the 98th percentile, over the extent of the image."""
    values = np.log(np.maximum(case.maps[head], 1e-3))
    low, high = np.percentile(values, [2, 98])
    height, width = case.truth.shape
    axes.imshow(values, cmap="viridis", vmin=low, vmax=high, extent=(0, width, height, 0), interpolation="bilinear")


def _show_outlines(axes: Axes, case: Case) -> None:
    axes.imshow(case.image)
    for mask, colour in ((case.truth, TRUTH), (case.prediction, PREDICTION)):
        if mask.any():
            smooth: NDArray[np.float64] = np.pad(mask, 1)[1:-1, 1:-1].astype(np.float64)
            axes.contour(smooth, levels=[0.5], colors=[colour], linewidths=1.4)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG without a date."""
    content = io.BytesIO()
    figure.savefig(content, format="png", transparent=True, metadata={"Software": None})
    Image.open(content).save(path, optimize=True)


if __name__ == "__main__":
    main()

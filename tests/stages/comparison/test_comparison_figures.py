from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from comparisons import a_comparison, simulated
from PIL import Image

from stages.comparison.analysis import analyse
from stages.comparison.figures import as_png, cost_figure, curve_figure, dice_figure, difference_figure
from stages.reporting.figures import SERIES, SURFACE, to_svg

ARMS = ("dual", "image", "attention")


def analysis(arms=ARMS, labels=(8, 16, 64), seeds=3, images=20, seed=0):
    step = {"dual": 0.8, "image": 0.6}
    means = {(arm, n): step.get(arm, 0.79) - 0.5 / n for arm in arms for n in labels}
    return analyse(a_comparison(simulated(np.random.default_rng(seed), means, seeds=seeds, images=images)))


def lines(figure):
    [axes] = figure.axes
    return axes.lines


def test_dice_is_drawn_with_another_colour_and_marker_for_every_arm():
    one = analysis()
    means = [line for line in lines(dice_figure(one)) if line.get_label() in ARMS]
    assert [line.get_label() for line in means] == list(ARMS)
    assert len({line.get_marker() for line in means}) == 3
    assert [line.get_color() for line in means] == list(SERIES[:3])
    for line in means:
        expected = [one.means[line.get_label(), count].mean for count in (8, 16, 64)]
        assert line.get_ydata().tolist() == pytest.approx(expected)


def test_every_seed_has_a_point_of_its_own():
    one = analysis(arms=("dual",))
    [seeds] = [line for line in lines(dice_figure(one)) if line.get_alpha() and line.get_xdata()[0] == 8]
    assert seeds.get_ydata() == pytest.approx(one.means["dual", 8].per_seed)


def test_ticks_are_the_numbers_of_labels_and_the_whole_training_split_is_marked():
    [axes] = dice_figure(analysis()).axes
    assert [text.get_text() for text in reversed(axes.get_xticklabels())] == ["8", "16", "64\n(all)"]


def test_ticks_that_would_overlap_are_left_out():
    [axes] = dice_figure(analysis(labels=(8, 60, 64), seeds=2)).axes
    assert [text.get_text() for text in reversed(axes.get_xticklabels())] == ["8", "64\n(all)"]


def test_only_differences_that_are_claimed_have_filled_markers():
    one = analysis()
    assert {row.ahead for row in one.rows} == {"dual", None}  # ahead of image, equal to attention
    markers = [line for line in lines(difference_figure(one)) if line.get_markersize() == 8]
    filled = [line.get_markerfacecolor() != SURFACE for line in markers]
    by_other = sorted(one.rows, key=lambda row: ARMS.index(row.second))
    assert filled == [row.ahead is not None for row in by_other]
    assert [line.get_xdata()[0] for line in markers] == pytest.approx([row.difference.mean for row in by_other])


def test_curves_are_dashed_beyond_the_measured_numbers():
    dashed = [line for line in lines(curve_figure(analysis(), goal=0.85)) if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    for line in dashed:
        assert line.get_xdata()[0] == pytest.approx(64)


@pytest.mark.parametrize(
    "draw", [dice_figure, difference_figure, cost_figure, lambda one: curve_figure(one, goal=0.85)]
)
def test_figures_are_well_formed_svg_with_the_colours_of_the_page(draw):
    text = to_svg(draw(analysis()), "A title")
    root = ET.fromstring(text)  # noqa: S314 - our own figure
    assert root.tag.endswith("svg")
    assert "var(--series-1" in text or draw is difference_figure
    assert "var(--series-2" in text
    assert "style=" not in text


@pytest.mark.parametrize("changes", [{"labels": (16,)}, {"seeds": 1}, {"images": 4}, {"arms": ("dual", "image")}])
def test_small_comparisons_can_be_drawn(changes):
    one = analysis(**changes)
    for figure in (dice_figure(one), difference_figure(one), cost_figure(one)):
        ET.fromstring(to_svg(figure))  # noqa: S314 - our own figure


def test_a_png_is_white_readable_and_always_the_same():
    one, other = (as_png(dice_figure(analysis(arms=("a$b$", "image")))) for _ in range(2))
    assert one == other
    image = Image.open(io.BytesIO(one)).convert("RGB")
    assert image.width > 900
    assert image.getpixel((2, 2)) == (255, 255, 255)
    assert len(image.getcolors(image.width * image.height)) > 50

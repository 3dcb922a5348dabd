from __future__ import annotations

import numpy as np
import pytest

from stages.comparison.answers import (
    answers_as_json,
    gain_cell,
    gain_sentence,
    labels_cell,
    labels_sentence,
    match_sentence,
)
from stages.comparison.learning_curve import LearningCurve
from stages.comparison.power_law import dice_at

LABELS = (16, 64, 156)


def curve(a=0.9, b=0.8, c=0.6, *, arm="dual", spread=0.01):
    """Return a curve whose draws differ in their asymptote only."""
    fit = np.array([[a, b, c]])
    draws = np.tile(fit, (101, 1))
    draws[:, 0] += np.linspace(-spread, spread, 101)
    return LearningCurve(
        arm=arm,
        labels=LABELS,
        means=tuple(dice_at(fit, LABELS)[0]),
        fit=fit,
        draws=draws if spread else np.zeros((0, 3)),
    )


BEYOND = "extrapolated beyond the 156 measured"
FAR = "below 1,560 labels, 10 times the largest number measured"
SMALLEST = "with the smallest number measured already, 16 labels"


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (0.8, "dual reaches 0.8 Dice with about 32 labels (95 % 28 to 38)."),
        (0.86, "dual reaches 0.86 Dice with about 150 labels (95 % 100 to 230)."),
        (0.87, f"dual reaches 0.87 Dice with about 240 labels (95 % 150 to 450; {BEYOND})."),
        (0.885, f"dual reaches 0.885 Dice with about 760 labels (95 % 340 to more than 1,560; {BEYOND})."),
        (0.895, f"dual does not reach 0.895 Dice {FAR} (95 % 810 to more than 1,560)."),
        (0.95, f"dual does not reach 0.95 Dice {FAR}."),
        (0.745, f"dual reaches 0.745 Dice {SMALLEST} (95 % fewer than 16 to 17)."),
        (0.5, f"dual reaches 0.5 Dice {SMALLEST} (95 % up to 16)."),
    ],
)
def test_how_many_labels_a_dice_needs(goal, expected):
    assert labels_sentence(curve(), goal) == expected


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (0.8, "32 (28 to 38)"),
        (0.87, "240 * (150 to 450)"),
        (0.895, "more than 1,560 * (810 to more than 1,560)"),
        (0.95, "more than 1,560 *"),
        (0.745, "at most 16 (fewer than 16 to 17)"),
        (0.5, "at most 16"),
    ],
)
def test_the_cell_of_the_number_of_labels(goal, expected):
    assert labels_cell(curve(), goal) == expected


def test_cells_without_an_interval_hold_the_value_alone():
    assert labels_cell(curve(spread=0), 0.8) == "32"
    assert gain_cell(curve(spread=0), 50) == "+0.006 *"
    assert gain_cell(curve(), 50) == "+0.006 * (+0.006 to +0.006)"
    assert gain_cell(curve(b=0.0), 50) == "–"


def test_without_an_interval_it_is_said():
    assert labels_sentence(curve(spread=0), 0.8) == "dual reaches 0.8 Dice with about 32 labels (no interval)."
    assert "(no interval; extrapolated)" in gain_sentence(curve(spread=0), 50)


def test_what_more_labels_bring_is_called_extrapolated():
    expected = "50 more labels than 156 would bring dual about +0.006 Dice (95 % +0.006 to +0.006; extrapolated)."
    assert gain_sentence(curve(), 50) == expected


def test_nothing_is_said_about_the_gain_of_a_flat_curve():
    assert "unknown for dual, whose Dice does not rise" in gain_sentence(curve(b=0.0), 50)


def test_a_flat_curve_reaches_a_lower_dice_with_any_number():
    assert "with the smallest number measured already" in labels_sentence(curve(b=0.0), 0.5)
    assert "does not reach" in labels_sentence(curve(b=0.0), 0.95)


def test_how_many_labels_replace_those_of_another_arm():
    """The draws of both arms belong together: an error that shifts both curves does not change the answer."""
    sentence = match_sentence(curve(), curve(0.86, 1.0, arm="image"))
    assert sentence == "dual reaches what image reaches with 156 (0.812 Dice) with about 39 labels (95 % 39 to 39)."


def test_json_holds_no_number_beyond_the_limit():
    value = answers_as_json(curve(), goal=0.885)
    assert value["labels_for"]["value"] == pytest.approx(755.7, abs=0.1)
    assert value["labels_for"]["high"] is None
    assert value["labels_for"]["limit"] == 1560
    assert answers_as_json(curve(), goal=0.95)["labels_for"]["value"] is None
    assert answers_as_json(curve(), more=50)["gain"]["more"] == 50

"""The lines on the terminal: figures beside the Dice, the table of classes, and what a reader must know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.segmentation.all_scores import scores_of_test_set
from stages.segmentation.calibration import Calibration
from stages.segmentation.metrics import DEFAULT_RULES, MetricRules, score_sample
from stages.segmentation.score_text import class_table, honest_lines, note_lines, original_lines
from stages.segmentation.trivial import trivial_dice

INTERVAL = {"mean": 0.81234, "low": 0.79, "high": 0.83}


def scores_of(names: list[str], images: int = 12, rules: MetricRules = DEFAULT_RULES) -> dict[str, Any]:
    """Return the scores of random masks."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, len(names), (images, 2, 8, 9)).astype(np.uint8)
    calibration = Calibration(len(names))
    return scores_of_test_set(
        [score_sample(prediction, truth, len(names), rules=rules) for prediction, truth in pairs],
        [trivial_dice(truth, names) for _, truth in pairs],
        class_names=names,
        groups=[str(number) for number in range(images)],
        rules=rules,
        calibration=calibration,
        seed=0,
    )


def one_class(n: int, dice: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {
        "n": n,
        "dice": {"mean": dice, "low": low, "high": high},
        "hd95": {"mean": None if dice is None else 3.21},
        "nsd": {"mean": dice},
    }


def test_the_definition_and_the_trivial_predictions_stand_beside_the_score() -> None:
    names = ["skin", "lesion"]
    scores = scores_of(names, rules=MetricRules(hd95="pooled", tolerance=1.5))
    lines = honest_lines(scores)
    assert "of the store (pooled)" in lines[0]
    assert "at 1.5 px" in lines[0]
    assert (
        lines[1]
        == f"for comparison: Dice of everything lesion {scores['trivial']['everything lesion']:.3f}, nothing 0.000"
    )
    assert len(lines) == 2  # one class needs no table


def test_of_several_classes_the_best_trivial_prediction_is_named() -> None:
    """A line that names every class would be long; the strongest rival is the one that matters."""
    scores = scores_of(["skin", "lesion", "hair"])
    scores["trivial"] = {"everything lesion": 0.2, "everything hair": 0.4, "nothing": None}
    assert "for comparison: Dice of everything hair 0.400, nothing undefined" in honest_lines(scores)


def test_the_table_of_classes_is_aligned_and_narrow() -> None:
    """Classes without an interval, without an image, and with long names keep the columns."""
    table = class_table(
        {
            "lesion": one_class(27, 0.9123, 0.9, 0.9249),
            "a name that is far too long for one column": one_class(4, 0.5),
            "ruler": one_class(0, None),
        }
    )
    assert table == [
        "  class                     images  Dice (95 % interval)    HD95 px    NSD",
        "  lesion                        27  0.912 (0.900 to 0.925)      3.2  0.912",
        "  a name that is far too …       4  0.500                       3.2  0.500",
        "  ruler                          0  undefined                     -      -",
    ]
    assert max(map(len, table)) <= 80


def test_of_many_classes_the_worst_are_shown() -> None:
    table = class_table(
        {f"class {number}": one_class(3, number / 100) for number in range(100)} | {"no": one_class(0, None)}
    )
    assert len(table) == 32
    assert table[1].split()[:2] == ["class", "0"]
    assert "71 classes with a higher Dice" in table[-1]


def test_a_class_name_cannot_control_the_terminal() -> None:
    assert "\x1b" not in "".join(class_table({"\x1b[2J": one_class(1, 0.5)}))


def test_millimetres_are_named_and_so_is_what_lacks_them() -> None:
    original = {"n": 5, "dice": INTERVAL, "hd95": {"mean": 12.34}, "nsd": {"mean": 0.7}, "tolerance_px": 2.0}
    assert original_lines({}) == []
    assert original_lines(original) == [
        "at original size: Dice 0.812 (0.790 to 0.830)",
        "at original size: HD95 12.3 px, NSD 0.700 at 2 px",
    ]
    in_mm = original | {"hd95_mm": {"mean": 0.6172, "n": 5}, "nsd_mm": {"mean": 0.9, "n": 5}, "tolerance_mm": 0.5}
    expected = "at original size: HD95 12.3 px (0.62 mm), NSD 0.700 at 2 px (0.900 at 0.5 mm)"
    assert " ".join(original_lines(in_mm)[1].split()) == expected
    partly = original | {"hd95_mm": {"mean": 0.6172, "n": 1}}
    assert "HD95 12.3 px (0.62 mm over 1 image with a known pixel size)" in " ".join(original_lines(partly)[1].split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chosen_on_these_samples": True}, "the best of all epochs on these validation samples"),
        ({"includes_training_samples": True}, "these scores are biased"),
        ({"one_sided": ["predicts nothing anywhere"]}, "warning: this model predicts nothing anywhere"),
        ({"lost": 3}, "in 3 of these samples the store's mask lost a class"),
        ({"n": 9, "groups": 9}, "no interval: fewer than ten images (9 images)"),
        ({"groups": 12}, "12 groups with 100 images are few"),
        ({"per_class": {"a": {"groups": 100}, "b": {"groups": 29}}}, "classes in fewer than 30 images or groups"),
    ],
)
def test_what_a_reader_must_know_is_said(changes: dict[str, Any], words: str) -> None:
    sound = {"n": 100, "groups": 100, "one_sided": [], "chosen_on_these_samples": False}
    assert note_lines(sound) == []
    assert note_lines(sound | {"per_class": {"a": {"groups": 30}, "b": {"groups": 9}}}) == []
    (note,) = note_lines(sound | changes)
    assert words in " ".join(note.split())
    assert max(map(len, note.splitlines())) <= 80


def test_scores_of_an_earlier_version_can_be_said() -> None:
    """They have no trivial predictions, no NSD and no number of groups."""
    old = {"n": 40, "dice": INTERVAL, "hd95": INTERVAL, "includes_training_samples": False}
    assert honest_lines(old) == []
    assert note_lines(old) == []
    assert class_table({"a": {"n": 2, "dice": INTERVAL, "hd95": INTERVAL}})[1].split()[-2:] == ["0.8", "-"]

"""Put what a learning curve answers into sentences.

A sentence always says whether the answer was extrapolated beyond the measured numbers of labels. Beyond ten times the
largest of them there is no answer: there, the form of the curve decides and not the measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.comparison.analysis import Analysis
from stages.comparison.learning_curve import FARTHEST, Answer, LearningCurve
from stages.comparison.wording import labels_text
from stages.reporting.wording import NOTHING, number, signed

__all__ = [
    "GOAL",
    "MORE",
    "answers_as_json",
    "curve_answers",
    "gain_cell",
    "gain_sentence",
    "labels_cell",
    "labels_sentence",
    "match_sentence",
]

GOAL = 0.85
"""Dice that is asked for unless another one is given."""
MORE = 50
"""Further labels that are asked for unless another number is given."""


def curve_answers(analysis: Analysis, *, goal: float = GOAL, more: int = MORE) -> list[str]:
    """Return the answers in sentences; the reason if there are no curves.

    Args:
        analysis: Of a comparison.
        goal: Dice for which the number of labels is asked.
        more: Further labels whose gain is asked.
    """
    curves = analysis.curves.by_arm
    if not curves:
        return [analysis.curves.reason]
    first, *others = curves.values()
    matches = [match_sentence(first, other) for other in others if other.rises or first.rises]
    return [
        *(labels_sentence(curve, goal) for curve in curves.values()),
        *matches,
        *(gain_sentence(curve, more) for curve in curves.values()),
    ]


def labels_sentence(curve: LearningCurve, goal: float) -> str:
    """Answer how many labels an arm needs for a Dice."""
    return _numbers(curve, curve.labels_for(goal), f"{goal:g} Dice")


def match_sentence(curve: LearningCurve, other: LearningCurve) -> str:
    """Answer with how many labels an arm is as good as another one with its largest measured number."""
    goal = float(other.at(_array(other.labels[-1]))[0])
    what = f"what {other.arm} reaches with {other.labels[-1]:,} ({number(goal)} Dice)"
    return _numbers(curve, curve.labels_to_match(other), what)


def gain_sentence(curve: LearningCurve, more: int) -> str:
    """Answer what further labels would bring an arm."""
    answer, most = curve.gain(more), curve.labels[-1]
    subject = f"{more:,} more labels than {most:,}"
    if not curve.rises:
        return f"{subject}: unknown for {curve.arm}, whose Dice does not rise with the number of labels here."
    interval = "no interval"
    if answer.low is not None and answer.high is not None:
        interval = f"95 % {signed(answer.low)} to {signed(answer.high)}"
    return f"{subject} would bring {curve.arm} about {signed(answer.value)} Dice ({interval}; extrapolated)."


def labels_cell(curve: LearningCurve, goal: float) -> str:
    """Return the number of labels for a Dice as a cell, such as "150 (100 to 230)"; a star marks an extrapolation."""
    answer, smallest, limit = curve.labels_for(goal), curve.labels[0], FARTHEST * curve.labels[-1]
    if answer.value > limit:
        value = f"more than {limit:,} *"
    elif answer.value <= smallest:
        value = f"at most {smallest:,}"
    else:
        value = f"{labels_text(answer.value)}{' *' if answer.extrapolated else ''}"
    if answer.low is None or answer.low > limit or (answer.high is not None and answer.high <= smallest):
        return value
    return f"{value} ({_interval(answer, smallest, limit).removeprefix('95 % ')})"


def gain_cell(curve: LearningCurve, more: int) -> str:
    """Return the gain of further labels as a cell, such as "+0.012 * (+0.004 to +0.020)"; a dash for a flat curve."""
    answer = curve.gain(more)
    if not curve.rises:
        return NOTHING
    if answer.low is None or answer.high is None:
        return f"{signed(answer.value)} *"
    return f"{signed(answer.value)} * ({signed(answer.low)} to {signed(answer.high)})"


def answers_as_json(curve: LearningCurve, *, goal: float = GOAL, more: int = MORE) -> dict[str, Any]:
    """Return a curve and its answers as values for JSON. None stands for a number of labels that is not known.

    `labels_for` and its ends are None beyond ten times the largest measured number, and where there is no interval.
    """
    (a, b, c), limit = map(float, curve.fit[0]), FARTHEST * curve.labels[-1]
    numbers, gain = curve.labels_for(goal), curve.gain(more)
    ends: Mapping[str, float | None] = {"value": numbers.value, "low": numbers.low, "high": numbers.high}
    return {
        "a": a,
        "b": b,
        "c": c,
        "labels_for": {
            "dice": goal,
            **{name: end if end is not None and end <= limit else None for name, end in ends.items()},
            "limit": limit,
            "extrapolated": numbers.extrapolated,
        },
        "gain": {"more": more, "value": gain.value, "low": gain.low, "high": gain.high, "extrapolated": True},
    }


def _numbers(curve: LearningCurve, answer: Answer, goal: str) -> str:
    """Return the sentence on a number of labels."""
    smallest, largest = curve.labels[0], curve.labels[-1]
    limit = FARTHEST * largest
    interval = _interval(answer, smallest, limit)
    if answer.value > limit:
        end = "" if answer.low is None or answer.low > limit else f" ({interval})"
        far = f"{limit:,} labels, {FARTHEST} times the largest number measured"
        return f"{curve.arm} does not reach {goal} below {far}{end}."
    if answer.value <= smallest:
        return (
            f"{curve.arm} reaches {goal} with the smallest number measured already, {smallest:,} labels ({interval})."
        )
    beyond = f"; extrapolated beyond the {largest:,} measured" if answer.extrapolated else ""
    return f"{curve.arm} reaches {goal} with about {labels_text(answer.value)} labels ({interval}{beyond})."


def _interval(answer: Answer, smallest: int, limit: int) -> str:
    if answer.low is None or answer.high is None:
        return "no interval"
    low = f"fewer than {smallest:,}" if answer.low < smallest else labels_text(min(answer.low, limit))
    high = f"more than {limit:,}" if answer.high > limit else labels_text(answer.high)
    if answer.high <= smallest:
        return f"95 % up to {smallest:,}"
    return f"95 % {low} to {high}"


def _array(number: int) -> Any:
    import numpy as np

    return np.array([float(number)])

"""Say what a comparison shows, in words that claim no more than the statistics.

The rule is fixed beforehand, so that it cannot pick the row that looks best: the verdict names the row with the
smallest number of labels, against the second arm, and then counts all rows. A difference is claimed only if its p is
below .05 after Holm's correction over all rows. The intervals are not corrected, so one may leave zero out where
nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable

from stages.comparison.analysis import Analysis, Row
from stages.comparison.results import Comparison
from stages.comparison.wording import interval_text, listed, p_text
from stages.reporting.wording import number, signed
from stages.runtime.wording import counted

__all__ = ["summary_lines", "verdict"]

MOST_NAMED = 4
"""Largest number of rows for which the numbers of labels are named in the verdict."""
MOST_LINES = 2
"""Largest number of arms with a line of their own in the summary."""


def verdict(analysis: Analysis) -> str:
    """Return the result in a few sentences: the row of the smallest number of labels, then all rows."""
    comparison = analysis.comparison
    if not comparison.ids:
        return "Nothing can be compared: no image has a Dice in every run."
    if not analysis.rows:
        return _one_arm(analysis)
    row = analysis.rows[0]
    sentences = [_first_row(row, comparison), *_other_rows(analysis)]
    if len(comparison.seeds) == 1 and any(row.ahead for row in analysis.rows):
        sentences.append("There is one seed, so another training may give another result.")
    return " ".join(sentences)


def summary_lines(analysis: Analysis) -> list[str]:
    """Return at most four lines for the end of a command, each readable on its own."""
    comparison = analysis.comparison
    arms = listed(list(comparison.arms))
    numbers = listed([f"{count:,}" for count in comparison.labels])
    what = f"{_images(comparison)}, {counted(len(comparison.seeds), 'seed')}"
    verb = "Compared" if analysis.rows else "Measured"
    lines = [f"{verb} {arms}, trained on {numbers} labels: mean Dice on {what}."]
    if comparison.ids:
        by_arm = [f"{arm} {_dice_by_labels(analysis, arm)}" for arm in comparison.arms]
        lines += [f"  {line}" for line in (by_arm if len(by_arm) <= MOST_LINES else ["; ".join(by_arm)])]
    return [*lines, verdict(analysis)]


def _first_row(row: Row, comparison: Comparison) -> str:
    difference, first, second = row.difference, row.first, row.second
    figures = f"95 % {interval_text(difference)}, p {_equals(row.p_corrected)}{_family(comparison)}"
    basis = f"{counted(len(comparison.seeds), 'seed')}, {_images(comparison)}"
    labels = f"With {counted(row.labels, 'label')}"
    if row.p_corrected is None:
        return (
            f"{labels}, the mean difference of {first} and {second} is {signed(difference.mean)} Dice, "
            f"without an interval ({basis}): this shows nothing yet."
        )
    if row.ahead is None:
        return (
            f"{labels}, no difference between {first} and {second} can be shown: "
            f"{signed(difference.mean)} Dice ({figures}; {basis})."
        )
    better, worse = (first, second) if row.ahead == first else (second, first)
    ahead = f"{better} is ahead of {worse} by {number(abs(difference.mean))} Dice"
    if better == second:
        figures = f"{first} − {second}: {figures}"
    return f"{labels}, {ahead} ({figures}; {basis})."


def _other_rows(analysis: Analysis) -> list[str]:
    """Return a sentence that counts the rows of every other arm; none for a single row, or if no row has a p."""
    first, *others = analysis.comparison.arms
    if len(analysis.rows) == 1 or all(row.p_corrected is None for row in analysis.rows):
        return []
    if len(analysis.comparison.labels) == 1:
        return [_single(row) for row in analysis.rows[1:]]
    numbers = len(analysis.comparison.labels)
    if not any(row.ahead for row in analysis.rows):
        if len(others) > 1:
            return ["Nor can any other difference be shown."]
        return [f"Nor can one be shown with {_either(row.labels for row in analysis.rows[1:])} labels."]
    counts = []
    for other in others:
        own = [row for row in analysis.rows if row.second == other]
        if any(row.ahead for row in own):
            counts.append(f"{first} is ahead of {other} in {_named(own, first)} and behind in {_named(own, other)}")
        else:
            counts.append(f"no difference from {other} can be shown in any")
    return [f"Of {numbers} numbers of labels, {'; '.join(counts)}."]


def _either(counts: Iterable[int]) -> str:
    """Return numbers of labels as alternatives, such as "64, 327 or 1,308"."""
    *most, last = [f"{count:,}" for count in counts]
    return f"{', '.join(most)} or {last}" if most else last


def _single(row: Row) -> str:
    change = signed(row.difference.mean)
    if row.ahead is None:
        return f"No difference between {row.first} and {row.second} can be shown ({change})."
    worse = row.second if row.ahead == row.first else row.first
    return f"{row.ahead} is ahead of {worse} ({row.first} − {row.second} {change})."


def _named(rows: list[Row], winner: str) -> str:
    """Return how many rows an arm is ahead in, with their numbers of labels if they are some but few."""
    ahead = [f"{row.labels:,}" for row in rows if row.ahead == winner]
    if not ahead:
        return "none"
    if len(ahead) == len(rows):
        return f"all {len(rows)}"
    return f"{len(ahead)} ({', '.join(ahead)})" if len(ahead) <= MOST_NAMED else str(len(ahead))


def _one_arm(analysis: Analysis) -> str:
    comparison = analysis.comparison
    [arm] = comparison.arms
    count = comparison.labels[0]
    mean = analysis.means[arm, count]
    interval = interval_text(mean, with_sign=False)
    figures = interval if mean.low is None else f"95 % {interval}"
    basis = f"{figures}; {counted(len(comparison.seeds), 'seed')}, {_images(comparison)}"
    reached = f"With {counted(count, 'label')}, {arm} reaches {number(mean.mean)} Dice ({basis})."
    return f"{reached} There is no other arm to compare it with."


def _dice_by_labels(analysis: Analysis, arm: str) -> str:
    means = ((count, analysis.means[arm, count].mean) for count in analysis.comparison.labels)
    return ", ".join(f"{number(mean)} with {count:,}" for count, mean in means)


def _images(comparison: Comparison) -> str:
    kind = {"test": "test", "val": "validation"}[comparison.score]
    groups = len(set(comparison.clusters))
    of = f" of {counted(groups, 'group')}" if groups < len(comparison.ids) else ""
    return f"{counted(len(comparison.ids), f'{kind} image')}{of}"


def _family(comparison: Comparison) -> str:
    rows = len(comparison.labels) * (len(comparison.arms) - 1)
    return " after Holm" if rows > 1 else ""


def _equals(p: float | None) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"

"""Put a comparison into tables: for the terminal, for a Markdown text, as rows per image, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from stages.comparison.analysis import Analysis, Row
from stages.comparison.answers import GOAL, MORE, answers_as_json, curve_answers
from stages.comparison.paired import Estimate
from stages.comparison.results import Comparison, RunResult
from stages.comparison.verdict import verdict
from stages.comparison.wording import bracketed, p_text, wins_text
from stages.reporting.wording import number

__all__ = ["as_json", "markdown_table", "per_image_rows", "terminal_table"]


def terminal_table(analysis: Analysis) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows for a terminal of 80 columns: one row per number of labels and other arm."""
    first, *others = analysis.comparison.arms
    if not others:
        rows = [[f"{n:,}", bracketed(analysis.means[first, n], with_sign=False)] for n in analysis.comparison.labels]
        return ["labels", f"{first} [95 %]"], rows
    many = len(others) > 1
    columns = ["labels", *(["other"] if many else []), first, "other's" if many else others[0]]
    columns += ["difference [95 %]", "p (Holm)", *([] if many else ["wins"])]
    return columns, [_terminal_row(analysis, row, many=many) for row in analysis.rows]


def markdown_table(analysis: Analysis) -> str:
    """Return the table for a text: a row for each number of labels with all arms, then the first minus every other."""
    comparison = analysis.comparison
    first, *others = (_cell(arm) for arm in comparison.arms)
    columns = ["labels", first, *others]
    for other in others:
        columns += [f"{first} − {other} (95 %)", "p (Holm)", "wins"]
    lines = [columns, ["---:"] * len(columns)]
    for count in comparison.labels:
        cells = [f"{count:,}", *(number(analysis.means[arm, count].mean) for arm in comparison.arms)]
        for row in (row for row in analysis.rows if row.labels == count):
            cells += [_spread(row), p_text(row.p_corrected), wins_text(row.difference.wins)]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def per_image_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return one row per run and image, from which all figures can be computed again. A nan is an empty cell.

    Images that a run has no Dice of are rows, too; the statistics leave them out of every run.
    """
    return [
        {
            "arm": run.arm,
            "labels": str(run.labels),
            "seed": str(run.seed),
            "id": id_,
            "group": comparison.groups.get(id_, ""),
            "dice": _number(run.dice[id_]),
            "hd95": _number(run.hd95.get(id_, math.nan)),
        }
        for run in comparison.runs
        for id_ in sorted(run.dice)
    ]


def as_json(analysis: Analysis, *, goal: float = GOAL, more: int = MORE) -> dict[str, Any]:
    """Return the statistics as values for JSON; None stands for what is not defined.

    Args:
        analysis: Of a comparison.
        goal: Dice for which the number of labels is asked.
        more: Further labels whose gain is asked.

    Returns:
        `images`, `groups`, `left_out` (ids): what the figures are of. `means`: a row per arm and number of labels.
        `differences`: a row per number of labels and other arm; `ahead` is the arm that p after the correction allows
        to call better, or None. `curves`: by arm. `costs`: by arm. `answers`, `verdict` and `notes`: text.
    """
    comparison = analysis.comparison
    return {
        "images": len(comparison.ids),
        "groups": len(set(comparison.clusters)),
        "left_out": list(comparison.left_out),
        "means": [
            {
                "arm": arm,
                "labels": count,
                **_estimate(estimate),
                "hd95": _defined(_mean_hd95(comparison.of(arm, count))),
            }
            for (arm, count), estimate in analysis.means.items()
        ],
        "differences": [
            {
                "first": row.first,
                "second": row.second,
                "labels": row.labels,
                **_estimate(row.difference),
                "p": row.difference.p,
                "p_holm": row.p_corrected,
                "wins": _defined(row.difference.wins),
                "ahead": row.ahead,
            }
            for row in analysis.rows
        ],
        "curves": {arm: answers_as_json(curve, goal=goal, more=more) for arm, curve in analysis.curves.by_arm.items()},
        "costs": {
            cost.arm: {"seconds": cost.seconds, "parameters": cost.parameters, "steps": cost.steps}
            for cost in analysis.costs
        },
        "answers": curve_answers(analysis, goal=goal, more=more),
        "verdict": verdict(analysis),
        "notes": [*analysis.notes, *analysis.curves.notes],
    }


def _terminal_row(analysis: Analysis, row: Row, *, many: bool) -> list[str]:
    means = [number(analysis.means[arm, row.labels].mean) for arm in (row.first, row.second)]
    figures = [bracketed(row.difference), p_text(row.p_corrected)]
    figures += [] if many else [wins_text(row.difference.wins)]  # with them, 80 columns are not enough
    return [f"{row.labels:,}", *([row.second] if many else []), *means, *figures]


def _spread(row: Row) -> str:
    """Return mean and interval as in a text: "+0.031 (+0.010 to +0.052)"."""
    return bracketed(row.difference).replace("[", "(").replace("]", ")").replace(", ", " to ")


def _cell(name: str) -> str:
    """Return the name of an arm so that it stays in its cell of a Markdown table."""
    return name.replace("\\", "\\\\").replace("|", "\\|")


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "mean": _defined(estimate.mean),
        "low": estimate.low,
        "high": estimate.high,
        "per_seed": [_defined(mean) for mean in estimate.per_seed],
    }


def _mean_hd95(runs: Sequence[RunResult]) -> float:
    """Return the mean over seeds of the mean over images that define it; nan if no image does."""
    defined = [[value for value in run.hd95.values() if not math.isnan(value)] for run in runs]
    means = [fmean(values) for values in defined if values]
    return fmean(means) if means else math.nan


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value

"""Draw the figures of a comparison. Arms differ by colour and by marker, in the same order everywhere.

Every function returns a matplotlib figure; `stages.comparison.sections` puts them into the report as SVG.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from stages.comparison.analysis import Analysis, Row
from stages.comparison.learning_curve import LearningCurve
from stages.reporting.chart_style import MARKERS
from stages.reporting.figures import MUTED, SERIES, SURFACE, new_figure
from stages.runtime.wording import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_png", "cost_figure", "curve_figure", "dice_figure", "difference_figure"]

BEYOND = 4
"""Curves are drawn up to this many times the largest measured number of labels."""
DODGE = 0.012
"""Distance of neighbouring arms at one number of labels, as a share of the axis, so that none hides another."""
CLOSEST = 0.06
"""Smallest distance of two ticks, as a share of the axis: closer ones would overlap."""
DOTS_PER_INCH = 160


def dice_figure(analysis: Analysis) -> Figure:
    """Draw Dice over the number of labels: means with 95 % intervals, and a small point for every seed."""
    comparison = analysis.comparison
    figure, axes = new_figure(height=4.0)
    spread = _labels_axis(axes, analysis)
    for position, arm in enumerate(comparison.arms):
        colour, marker = _style(position)
        estimates = [analysis.means[arm, count] for count in comparison.labels]
        shift = spread ** (DODGE * (position - (len(comparison.arms) - 1) / 2))
        x = np.array(comparison.labels) * shift
        means = np.array([estimate.mean for estimate in estimates])
        low = np.array([estimate.mean if estimate.low is None else estimate.low for estimate in estimates])
        high = np.array([estimate.mean if estimate.high is None else estimate.high for estimate in estimates])
        if len(x) > 1:
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.errorbar(x, means, [means - low, high - means], fmt="none", ecolor=colour, elinewidth=1.2, capsize=3)
        for number, estimate in zip(x, estimates, strict=True):
            seeds = estimate.per_seed
            axes.plot([number] * len(seeds), seeds, marker, color=colour, alpha=0.45, markersize=3.5, linestyle="none")
        axes.plot(x, means, marker=marker, color=colour, markersize=7, markeredgecolor=SURFACE, label=arm)
    axes.set_ylabel("Dice")
    _legend(axes)
    return figure


def curve_figure(analysis: Analysis, *, goal: float) -> Figure:
    """Draw the fitted learning curves with their 95 % intervals, dashed beyond the measured numbers of labels.

    Args:
        analysis: Of a comparison with learning curves.
        goal: Dice at which a line is drawn.
    """
    figure, axes = new_figure(height=4.0)
    _labels_axis(axes, analysis, beyond=BEYOND)
    low, high = 1.0, 0.0
    for position, curve in enumerate(analysis.curves.by_arm.values()):
        _draw_curve(axes, curve, position)
        low, high = min(low, *curve.means), max(high, *curve.means)
    axes.axhline(goal, color=MUTED, linewidth=1, linestyle=":")
    axes.annotate(f"{goal:g}", (0.005, goal), xycoords=axes.get_yaxis_transform(), color=MUTED, va="bottom", fontsize=9)
    axes.set_ylim(max(0.0, min(low, goal) - 0.08), min(1.005, max(high, goal) + 0.08))
    axes.set_ylabel("Dice")
    _legend(axes)
    return figure


def difference_figure(analysis: Analysis) -> Figure:
    """Draw every paired difference with its 95 % interval and a small point for every seed.

    A filled marker stands for a difference that is claimed after Holm's correction, a hollow one for all others.
    """
    rows, others = analysis.rows, analysis.comparison.arms[1:]
    figure, axes = new_figure(height=1.3 + 0.36 * len(rows))
    names = []
    for place, row in enumerate(_by_other(rows, others)):
        colour, marker = _style(1 + others.index(row.second))
        estimate = row.difference
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=2.2, zorder=2)
        axes.plot(
            estimate.per_seed, [place - 0.24] * len(estimate.per_seed), "|", color=colour, alpha=0.7, markersize=6
        )
        axes.plot(
            [estimate.mean],
            [place],
            marker=marker,
            color=colour,
            markerfacecolor=colour if row.ahead else SURFACE,
            markersize=8,
            markeredgewidth=1.6,
            zorder=3,
        )
        against = f"{row.second}, " if len(others) > 1 else ""
        names.append(f"{against}{row.labels:,} labels")
    axes.axvline(0, color=MUTED, linewidth=1.2, zorder=1)
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    first = analysis.comparison.arms[0]
    other = others[0] if len(others) == 1 else "the other arm"
    axes.set_xlabel(f"Dice of {first} minus Dice of {other}; right of 0, {first} is better")
    return figure


def cost_figure(analysis: Analysis) -> Figure:
    """Draw the mean time of a training of every arm."""
    costs = analysis.costs
    figure, axes = new_figure(height=1.0 + 0.4 * len(costs))
    for position, cost in enumerate(costs):
        colour, _ = _style(position)
        axes.barh([position], [cost.seconds], height=0.55, color=colour)
        text = f" {duration(cost.seconds)}"
        axes.annotate(text, (cost.seconds, position), va="center", fontsize=9)
    axes.set_yticks(range(len(costs)), [cost.arm for cost in costs])
    axes.set_ylim(len(costs) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(1e-3, *(cost.seconds for cost in costs)))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("mean time of a training, in seconds")
    return figure


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG on white, for a text in Markdown. The same figure gives the same bytes."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)  # the name of an arm may hold a `$`
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def _style(position: int) -> tuple[str, str]:
    """Return colour and marker of an arm."""
    return SERIES[position % len(SERIES)], MARKERS[position % len(MARKERS)]


def _labels_axis(axes: Axes, analysis: Analysis, *, beyond: int = 1) -> float:
    """Make the x axis one of numbers of labels, logarithmic, with a tick at each measured one.

    Returns:
        The factor between the ends of the axis.
    """
    labels = analysis.comparison.labels
    first, last = labels[0] / 1.25, labels[-1] * 1.25 * beyond
    axes.set_xscale("log")
    axes.set_xlim(first, last)
    ticks = list(labels) + ([labels[-1] * beyond] if beyond > 1 else [])
    everything = analysis.comparison.all_labels
    shown: list[int] = []
    for tick in reversed(ticks):  # of two that are close, the larger one stays
        if not shown or np.log(shown[-1] / tick) > CLOSEST * np.log(last / first):
            shown.append(tick)
    axes.set_xticks(shown, [f"{n:,}\n(all)" if n == everything else f"{n:,}" for n in shown])
    axes.minorticks_off()
    axes.set_xlabel("labelled training images")
    return last / first


def _draw_curve(axes: Axes, curve: LearningCurve, position: int) -> None:
    colour, marker = _style(position)
    largest = curve.labels[-1]
    measured = np.geomspace(curve.labels[0], largest, 60)
    beyond = np.geomspace(largest, BEYOND * largest, 30)
    axes.plot(measured, curve.at(measured), color=colour, label=curve.arm, marker=marker, markevery=[], zorder=3)
    axes.plot(beyond, curve.at(beyond), color=colour, linestyle="--", linewidth=1.4, zorder=3)
    for numbers, alpha in ((measured, 0.15), (beyond, 0.07)):
        if (band := curve.band(numbers)) is not None:
            axes.fill_between(numbers, *band, color=colour, alpha=alpha, linewidth=0)
    axes.plot(curve.labels, curve.means, marker, color=colour, markersize=7, markeredgecolor=SURFACE, zorder=4)


def _by_other(rows: tuple[Row, ...], others: tuple[str, ...]) -> list[Row]:
    """Return the rows arm by arm, each from the smallest number of labels on."""
    return [row for other in others for row in rows if row.second == other]


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right")

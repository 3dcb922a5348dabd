"""Show how the scores are distributed: over images, against the size of the object, and by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.reporting.arms import Arm, size_of
from stages.reporting.chart_style import MARKERS, drawn, drawn_note, whole_numbers
from stages.reporting.content import Block, Figure, Paragraph, Section, Table
from stages.reporting.figures import SERIES, new_figure, to_svg
from stages.reporting.wording import POOR, number, percent
from store import AttentionStore

__all__ = ["distribution_section", "group_section", "size_section"]

STEPS = 21
"""Edges of the histogram's bars from 0 to 1."""
BINS = 5
"""Groups of about equal number whose median is drawn over the sizes."""
FEWEST_FOR_BINS = 15
WORST_GROUPS = 10
SIZES = [step * 10.0**power for power in range(-5, 1) for step in (1, 2, 5)]
"""Ticks of the axis of sizes."""
QUANTILES = (("worst", 0.0), ("5 %", 0.05), ("25 %", 0.25), ("median", 0.5), ("75 %", 0.75), ("best", 1.0))


def distribution_section(arms: Sequence[Arm]) -> Section:
    """Return the distribution of Dice over the images: histogram with every image, and a table of quantiles."""
    values = [_defined(arm.dice(list(arm.cases))) for arm in arms]
    figure, axes = new_figure(height=2.6 + 0.15 * len(arms))
    edges = np.linspace(0, 1, STEPS)
    for position, (arm, dice) in enumerate(zip(arms, values, strict=True)):
        colour = SERIES[position % len(SERIES)]
        if len(arms) == 1:
            axes.hist(dice, bins=list(edges), color=colour, alpha=0.35)
        else:
            axes.hist(dice, bins=list(edges), color=colour, histtype="step", linewidth=1.8, label=arm.name)
    highest = max([1, *(int(np.histogram(dice, edges)[0].max()) for dice in values)])
    for position, dice in enumerate(values):
        height = -highest * (0.08 + 0.1 * position)
        shown = np.sort(dice)[drawn(len(dice))]
        axes.plot(shown, np.full(len(shown), height), "|", color=SERIES[position % len(SERIES)], markersize=8)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-highest * (0.06 + 0.1 * len(arms)), highest * 1.05)
    axes.set_xlabel("Dice; every line below 0 is one image")
    axes.set_ylabel("images")
    whole_numbers(axes.yaxis)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= highest])
    if len(arms) > 1:
        axes.legend(loc="upper left")
    rows = [
        [
            arm.name,
            *(number(float(np.quantile(dice, share)) if dice.size else None) for _, share in QUANTILES),
            f"{int((dice < POOR).sum()):,} of {dice.size:,}",
        ]
        for arm, dice in zip(arms, values, strict=True)
    ]
    blocks: list[Block] = [
        Figure(
            title="Distribution of Dice",
            svg=to_svg(figure, "Distribution of Dice"),
            description="Histogram of the Dice of every image. " + _in_words(arms, values),
            caption=drawn_note(max(len(dice) for dice in values)),
        ),
        Table(
            title="Dice in quantiles",
            columns=["run", *(name for name, _ in QUANTILES), f"below {POOR}"],
            rows=rows,
            numeric=range(1, 2 + len(QUANTILES)),
        ),
    ]
    return Section(id="distribution", title="Dice of single images", blocks=blocks)


def _in_words(arms: Sequence[Arm], values: Sequence[NDArray[np.float64]]) -> str:
    return " ".join(
        f"{arm.name}: median {number(float(np.median(dice)))}, lowest {number(float(dice.min()))}."
        for arm, dice in zip(arms, values, strict=True)
        if dice.size
    )


def size_section(arms: Sequence[Arm]) -> Section:
    """Return Dice against the size of the object: every image, and the median of every fifth of the images."""
    figure, axes = new_figure()
    words = []
    any_point = False
    for position, arm in enumerate(arms):
        sizes = np.array([size_of(case.scores) for case in arm.cases.values()])
        dice = arm.dice(list(arm.cases))
        known = ~np.isnan(sizes) & ~np.isnan(dice) & (sizes > 0)
        sizes, dice = sizes[known], dice[known]
        any_point = any_point or sizes.size > 0
        colour, marker = SERIES[position % len(SERIES)], MARKERS[position % len(MARKERS)]
        shown = drawn(sizes.size)
        axes.plot(
            sizes[shown], dice[shown], marker, color=colour, alpha=0.45, markersize=4, label=arm.name, markeredgewidth=0
        )
        if sizes.size >= FEWEST_FOR_BINS:
            parts = np.array_split(np.argsort(sizes, kind="stable"), BINS)
            middles = [float(np.median(sizes[part])) for part in parts]
            medians = [float(np.median(dice[part])) for part in parts]
            axes.plot(middles, medians, color=colour, linewidth=1.8)
            words.append(
                f"{arm.name}: median Dice {number(medians[0])} in the fifth with the smallest objects, "
                f"{number(medians[-1])} in the fifth with the largest."
            )
    if any_point:
        axes.set_xscale("log")
        axes.minorticks_off()
        low, high = axes.get_xlim()
        ticks = [tick for tick in SIZES if low <= tick <= high]
        axes.set_xticks(ticks, [percent(tick) for tick in ticks])
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("share of the image that the label marks")
    axes.set_ylabel("Dice")
    if len(arms) > 1:
        axes.legend(loc="lower right")
    caption = "Lines: medians of fifths of the images, by size." if words else ""
    return Section(
        id="size",
        title="Small and large objects",
        blocks=[
            Figure(
                title="Dice against the size of the object",
                svg=to_svg(figure, "Dice against the size of the object"),
                description=" ".join(words) or "Dice of every image over the share of its pixels that are foreground.",
                caption=" ".join(filter(None, [caption, *words, drawn_note(max(len(arm.cases) for arm in arms))])),
            )
        ],
    )


def group_section(store: AttentionStore, arms: Sequence[Arm]) -> Section | None:
    """Return the groups with the lowest mean Dice; None if no group has several images."""
    groups: dict[str, list[int]] = {}
    indices = sorted({index for arm in arms for index in arm.cases})
    names = store.chosen_texts("group", indices)
    for index in indices:
        groups.setdefault(names[index], []).append(index)
    if all(len(members) == 1 for members in groups.values()):
        return None
    means = {name: _mean(arms[0].dice(members)) for name, members in groups.items()}
    worst = sorted((name for name in means if not np.isnan(means[name])), key=means.__getitem__)[:WORST_GROUPS]
    rows = [
        [
            name,
            f"{len(groups[name]):,}",
            *(number(_mean(arm.dice(groups[name]))) for arm in arms),
            number(float(np.nanmin(arms[0].dice(groups[name])))),
        ]
        for name in worst
    ]
    caption = f"The {len(worst)} of {len(groups):,} groups with the lowest mean." if len(worst) < len(groups) else ""
    return Section(
        id="groups",
        title="By group",
        blocks=[
            Paragraph(
                text="A group is a patient or a lesion, as the store records it. Its images are scored one by one and "
                "averaged; intervals resample whole groups."
            ),
            Table(
                title="Groups with the lowest Dice",
                columns=["group", "images", *(f"{arm.name}: mean" for arm in arms), "lowest"],
                rows=rows,
                caption=caption,
                numeric=range(1, 3 + len(arms)),
            ),
        ],
    )


def _defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _mean(values: NDArray[np.float64]) -> float:
    defined = _defined(values)
    return float(defined.mean()) if defined.size else float("nan")

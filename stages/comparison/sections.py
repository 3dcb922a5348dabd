"""Put a comparison into sections of a page: figures, tables and the answers of the learning curves."""

from __future__ import annotations

from stages.comparison.analysis import Analysis
from stages.comparison.answers import (
    GOAL,
    MORE,
    curve_answers,
    gain_cell,
    gain_sentence,
    labels_cell,
    labels_sentence,
    match_sentence,
)
from stages.comparison.figures import cost_figure, curve_figure, dice_figure, difference_figure
from stages.comparison.holm import SIGNIFICANT
from stages.comparison.paired import Estimate
from stages.comparison.wording import interval_text, listed, p_text, wins_text
from stages.reporting.content import Block, Fact, Figure, Paragraph, Section, Table
from stages.reporting.figures import to_svg
from stages.reporting.wording import NOTHING, number, signed
from stages.runtime.wording import counted, duration

__all__ = ["comparison_facts", "comparison_sections"]


def comparison_sections(analysis: Analysis, *, goal: float = GOAL, more: int = MORE) -> list[Section]:
    """Return the sections of a comparison: Dice, differences, learning curves, seeds, time.

    Args:
        analysis: Of a comparison.
        goal: Dice for which the number of labels is asked.
        more: Further labels whose gain is asked.
    """
    if not analysis.comparison.ids:
        text = "No image has a Dice in every run, so there is nothing to show."
        return [Section(id="dice", title="Dice", blocks=[Paragraph(text=text, kind="warning")])]
    sections = [_dice_section(analysis)]
    if analysis.rows:
        sections.append(_difference_section(analysis))
    sections.append(_curve_section(analysis, goal, more))
    if len(analysis.comparison.seeds) > 1:
        sections.append(_seed_section(analysis))
    sections.append(_cost_section(analysis))
    return sections


def comparison_facts(analysis: Analysis) -> list[Fact]:
    """Return the figures of the overview: Dice of the first arms and their difference at the ends of the labels' range.

    Both ends are shown, so that no number of labels is chosen by its result.
    """
    comparison = analysis.comparison
    if not comparison.ids:
        return []
    ends = dict.fromkeys((comparison.labels[0], comparison.labels[-1]))
    facts = []
    for count in ends:
        labels = counted(count, "label")
        row = next((row for row in analysis.rows if row.labels == count), None)
        if row is None:
            mean = analysis.means[comparison.arms[0], count]
            detail = _interval(mean, with_sign=False)
            facts.append(Fact(label=f"Dice with {labels}", value=number(mean.mean), detail=detail))
            continue
        detail = f"{_interval(row.difference)}; p {p_text(row.p_corrected)} after Holm"
        label = f"{row.first} − {row.second}, {labels}"
        facts.append(Fact(label=label, value=signed(row.difference.mean), detail=detail))
    images = len(comparison.ids)
    groups = len(set(comparison.clusters))
    kind = {"test": "test images", "val": "validation images"}[comparison.score]
    of = f"of {counted(groups, 'group')}" if groups < images else ""
    facts.append(Fact(label=kind, value=f"{images:,}", detail=of))
    runs = len(comparison.results)
    shape = " × ".join(
        [counted(len(comparison.arms), "arm"), _numbers(len(comparison.labels)), counted(len(comparison.seeds), "seed")]
    )
    facts.append(Fact(label="trainings", value=f"{runs:,}", detail=shape))
    return facts


def _dice_section(analysis: Analysis) -> Section:
    comparison = analysis.comparison
    rows = [
        [f"{count:,}", *(_mean_with_interval(analysis.means[arm, count]) for arm in comparison.arms)]
        for count in comparison.labels
    ]
    steps = max(cost.steps for cost in analysis.costs)
    text = (
        "All arms with the same seed are trained on the same labelled images, for the same number of steps "
        f"({steps:,}), and scored on the same images. A seed decides which images are labelled, the initial weights "
        "and the augmentation."
    )
    title = "Dice over the number of labels"
    blocks: list[Block] = [
        Paragraph(text=text),
        Figure(
            title=title,
            svg=to_svg(dice_figure(analysis), title),
            description=" ".join(
                f"{arm}: "
                + listed([f"{number(analysis.means[arm, n].mean)} with {n:,} labels" for n in comparison.labels])
                + "."
                for arm in comparison.arms
            ),
            caption="Large markers: mean over seeds and images, with its 95 % interval. Small markers: one seed each.",
        ),
        Table(
            title="Mean Dice with its 95 % interval",
            columns=["labels", *comparison.arms],
            rows=rows,
            caption="The intervals of two arms may overlap although their difference is clear, because images that are "
            "hard are hard for both. Compare arms by their paired difference.",
            numeric=range(len(comparison.arms) + 1),
        ),
    ]
    return Section(id="dice", title="Dice", blocks=blocks)


def _difference_section(analysis: Analysis) -> Section:
    rows = [
        [
            f"{row.labels:,}",
            f"{row.first} − {row.second}",
            signed(row.difference.mean),
            _interval(row.difference).removeprefix("95 % "),
            p_text(row.difference.p),
            p_text(row.p_corrected),
            wins_text(row.difference.wins),
            row.ahead or ("none" if row.p_corrected is not None else NOTHING),
        ]
        for row in analysis.rows
    ]
    text = (
        "The difference is taken image by image and seed by seed. The interval and p treat seeds and images as two "
        "samples: they hold for new trainings and for new images (crossed random effects). Images of a group, such as "
        "a patient, are sampled together."
    )
    title = "Paired difference of Dice"
    blocks: list[Block] = [
        Paragraph(text=text),
        Figure(
            title=title,
            svg=to_svg(difference_figure(analysis), title),
            description=" ".join(f"{row[1]} with {row[0]} labels: {row[2]}, 95 % interval {row[3]}." for row in rows),
            caption=f"Markers and bars: mean and its 95 % interval. Filled: p below {SIGNIFICANT:g} after Holm's "
            "correction. Hollow: no difference can be claimed. Short lines above a bar: one seed each.",
        ),
        Table(
            title=title,
            columns=["labels", "arms", "difference", "95 % interval", "p", "p (Holm)", "wins", "ahead"],
            rows=rows,
            caption="wins: share of the images on which the first arm has the higher Dice, on average over seeds; ties "
            "count half. p (Holm) is corrected for the number of rows; the intervals are not.",
            numeric=(0, 2, 3, 4, 5, 6),
        ),
    ]
    return Section(id="differences", title="Differences", blocks=blocks)


def _curve_section(analysis: Analysis, goal: float, more: int) -> Section:
    curves = list(analysis.curves.by_arm.values())
    if not curves:
        reason: list[Block] = [Paragraph(text=analysis.curves.reason, kind="note")]
        return Section(id="learning-curve", title="How many labels?", blocks=reason)
    first, *others = curves
    answers = [labels_sentence(first, goal), *(match_sentence(first, other) for other in others[:1])]
    answers.append(gain_sentence(first, more))
    title = "Fitted learning curves"
    blocks: list[Block] = [
        Paragraph(text=" ".join(answers)),
        *(Paragraph(text=note, kind="note") for note in analysis.curves.notes),
        Figure(
            title=title,
            svg=to_svg(curve_figure(analysis, goal=goal), title),
            description=" ".join(curve_answers(analysis, goal=goal, more=more)),
            caption="Curves: a − b n^−c for n labels, with 95 % intervals. Dashed: beyond the measured numbers. "
            f"Dotted: {goal:g} Dice. The intervals hold if Dice follows such a curve, also where nothing was measured.",
        ),
        Table(
            title="What the curves answer",
            columns=["arm", f"labels for {goal:g} Dice", f"gain of {more:,} more labels"],
            rows=[[curve.arm, labels_cell(curve, goal), gain_cell(curve, more)] for curve in curves],
            caption="With 95 % intervals. * beyond the measured numbers.",
        ),
        Table(
            title="Parameters of the curves",
            columns=["arm", "a (many labels)", "b", "c", "largest miss"],
            rows=[[curve.arm, *(f"{part:.3g}" for part in curve.fit[0]), f"{curve.miss:.3f}"] for curve in curves],
            caption="Largest miss: distance of a measured mean from its curve, in Dice.",
            numeric=(1, 2, 3, 4),
        ),
    ]
    return Section(id="learning-curve", title="How many labels?", blocks=blocks)


def _seed_section(analysis: Analysis) -> Section:
    """Return the differences per seed, or the means of a single arm: the variation between trainings."""
    comparison = analysis.comparison
    if analysis.rows:
        title, column = "Difference of Dice in every seed", "arms"
        rows = [
            [f"{row.labels:,}", f"{row.first} − {row.second}", *(signed(mean) for mean in row.difference.per_seed)]
            for row in analysis.rows
        ]
    else:
        title, column = "Mean Dice of every seed", "arm"
        rows = [
            [f"{count:,}", arm, *(number(mean) for mean in estimate.per_seed)]
            for (arm, count), estimate in analysis.means.items()
        ]
    table = Table(
        title=title,
        columns=["labels", column, *(f"seed {seed}" for seed in comparison.seeds)],
        rows=rows,
        numeric=(0, *range(2, len(comparison.seeds) + 2)),
    )
    return Section(id="seeds", title="Seeds", blocks=[table])


def _cost_section(analysis: Analysis) -> Section:
    title = "Time of a training"
    costs = analysis.costs
    rows = [[cost.arm, duration(cost.seconds), f"{cost.parameters:,}", f"{cost.steps:,}"] for cost in costs]
    blocks: list[Block] = [
        Figure(
            title=title,
            svg=to_svg(cost_figure(analysis), title),
            description=" ".join(f"{cost.arm}: {duration(cost.seconds)}." for cost in costs),
            caption="Mean over all numbers of labels and seeds. Times depend on the machine and on its load.",
        ),
        Table(title="Cost", columns=["arm", "time", "parameters", "steps"], rows=rows, numeric=(1, 2, 3)),
    ]
    return Section(id="cost", title="Time and size", blocks=blocks)


def _mean_with_interval(estimate: Estimate) -> str:
    if estimate.low is None:
        return number(estimate.mean)
    return f"{number(estimate.mean)} ({interval_text(estimate, with_sign=False)})"


def _interval(estimate: Estimate, *, with_sign: bool = True) -> str:
    text = interval_text(estimate, with_sign=with_sign)
    return text if estimate.low is None else f"95 % {text}"


def _numbers(count: int) -> str:
    return f"{count:,} number{'' if count == 1 else 's'} of labels"

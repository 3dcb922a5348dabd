"""Make the sections on single classes, on calibration, and on the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.reporting.arms import Arm
from stages.reporting.chart_style import MARKERS, plotted, whole_numbers
from stages.reporting.content import Block, Figure, Paragraph, Section, Table
from stages.reporting.figures import MUTED, SERIES, new_figure, to_svg
from stages.reporting.wording import NOTHING, number, percent, with_interval

__all__ = ["calibration_section", "class_section", "training_section"]

PROBABILITY = {
    "foreground": "probability of the foreground",
    "top_label": "probability of the predicted class",
    "labels": "probability of a label",
}


def class_section(arms: Sequence[Arm]) -> Section | None:
    """Return the scores of every class; None with a single foreground class."""
    blocks: list[Block] = []
    for arm in arms:
        by_class: Mapping[str, Mapping[str, Any]] = arm.scores.get("per_class", {})
        if not by_class:
            continue
        blocks.append(
            Table(
                title="Scores by class" if len(arms) == 1 else f"Scores by class: {arm.name}",
                columns=["class", "images", "Dice (95 %)", "IoU", "sensitivity", "HD95 (px)"],
                rows=[
                    [
                        name,
                        f"{scores['n']:,}",
                        with_interval(scores["dice"]),
                        number(scores["iou"]["mean"]),
                        number(scores["sensitivity"]["mean"]),
                        number(scores["hd95"]["mean"], 1),
                    ]
                    for name, scores in by_class.items()
                ],
                caption="Over the images with the class in label or prediction.",
                numeric=range(1, 6),
            )
        )
    return Section(id="classes", title="By class", blocks=blocks) if blocks else None


def calibration_section(arms: Sequence[Arm]) -> Section | None:
    """Return the reliability diagram and the calibration error; None if they were not computed."""
    known = [(arm, arm.scores["calibration"]) for arm in arms if arm.scores.get("calibration", {}).get("pixels")]
    if not known:
        return None
    figure, axes = new_figure(height=4.2)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    for position, (arm, calibration) in enumerate(known):
        bins = [one for one in calibration["bins"] if one["count"]]
        axes.plot(
            [one["probability"] for one in bins],
            [one["share"] for one in bins],
            marker=MARKERS[position % len(MARKERS)],
            color=SERIES[position % len(SERIES)],
            markersize=5,
            label=arm.name,
        )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(PROBABILITY.get(known[0][1]["kind"], "probability"))
    axes.set_ylabel("share of these pixels where it is true")
    if len(known) > 1:
        axes.legend(loc="upper left")
    words = " ".join(f"{arm.name}: expected calibration error {percent(one['ece'])}." for arm, one in known)
    blocks: list[Block] = [
        Figure(
            title="Reliability",
            svg=to_svg(figure, "Reliability"),
            description=f"Observed share over the predicted probability, in ten bins. {words}",
            caption="On the dashed line, a probability of 80 % is right in 80 % of such pixels. Below it, the model is "
            "too sure.",
        ),
        Table(
            title="Calibration",
            columns=["run", "expected calibration error", "Brier score"],
            rows=[[arm.name, percent(one["ece"]), number(one["brier"])] for arm, one in known],
            caption="Expected calibration error: mean distance from the dashed line over all pixels (Naeini et al. "
            "2015). Brier score: mean squared error of the probability (Brier 1950). Lower is better for both.",
            numeric=(1, 2),
        ),
    ]
    return Section(id="calibration", title="How sure the model is", blocks=blocks)


def training_section(arms: Sequence[Arm], histories: Mapping[str, Sequence[Mapping[str, float | None]]]) -> Section:
    """Return the curves of the trainings, and which epoch was taken.

    Args:
        arms: The runs.
        histories: By run, the rows of its `history.csv`; empty where the file is missing or damaged.
    """
    blocks: list[Block] = []
    rows = []
    for arm in arms:
        history = [row for row in histories.get(arm.name, ()) if row.get("epoch") is not None]
        epochs, card = len(history), arm.inputs.card
        rows.append([arm.name, f"{card.epoch} of {epochs}" if epochs else str(card.epoch), number(card.val_dice)])
        if epochs > 1:
            blocks.append(_curves(arm, history, several=len(arms) > 1))
    table = Table(
        title="The model that was kept",
        columns=["run", "epoch", "validation Dice of this epoch"],
        rows=rows,
        caption="Where there are enough validation images, the epoch with the best Dice on them was kept. The best of "
        "many is optimistic: only the scores on other images say how good the model is."
        if any(row[2] != NOTHING for row in rows)
        else "No validation image chose an epoch: the last one was kept.",
        numeric=(1, 2),
    )
    missing = [arm.name for arm in arms if not histories.get(arm.name)]
    if missing:
        blocks.append(
            Paragraph(text=f"No curve of {', '.join(missing)}: history.csv is missing or damaged.", kind="note")
        )
    return Section(id="training", title="Training", blocks=[*blocks, table])


def _curves(arm: Arm, history: Sequence[Mapping[str, float | None]], *, several: bool) -> Figure:
    """Draw loss and validation Dice over the epochs."""
    title = f"Training of {arm.name}" if several else "Training"
    figure, axes = new_figure(height=2.8)
    epochs = plotted(row["epoch"] for row in history)
    axes.plot(
        epochs, plotted(row.get("loss") for row in history), color=SERIES[1], label="loss (training)", linestyle="--"
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    whole_numbers(axes.xaxis)
    words = f"The loss went from {number(history[0].get('loss'))} to {number(history[-1].get('loss'))}."
    caption = ""
    if any(row.get("val_dice") is not None for row in history):
        right = axes.twinx()
        scored = [(epoch, row) for epoch, row in zip(epochs, history, strict=True) if row.get("val_dice") is not None]
        right.plot(
            [epoch for epoch, _ in scored],
            plotted(row.get("val_dice") for _, row in scored),
            color=SERIES[0],
            label="Dice (validation)",
        )
        right.axvline(arm.inputs.card.epoch, color=MUTED, linewidth=1, linestyle=":")
        right.set_ylim(0, 1)
        right.set_ylabel("Dice")
        right.grid(visible=False)
        lines = [*axes.get_lines(), right.get_lines()[0]]
        axes.legend(
            lines, [str(line.get_label()) for line in lines], loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2
        )
        words += f" The epoch that was kept is {arm.inputs.card.epoch} of {len(history)}."
        caption = "Dotted: the epoch that was kept."
    else:
        axes.legend(loc="upper right")
    return Figure(title=title, svg=to_svg(figure, title), description=words, caption=caption)

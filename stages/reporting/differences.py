"""Compare runs image by image: the paired difference of Dice over the images that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.errors import UsageError
from stages.reporting.arms import Arm
from stages.reporting.chart_style import drawn, drawn_note
from stages.reporting.content import Block, Figure, Paragraph, Section, Table
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.figures import MUTED, SERIES, new_figure, to_svg
from stages.reporting.wording import NOTHING, number, signed
from stages.runtime.wording import counted
from stages.segmentation.bootstrap import Interval, paired_difference

__all__ = ["PairedArms", "difference_section", "pair_arms", "require_common"]

SEED = 0
TIE = 1e-9
"""Differences up to this count as equal."""
MOST_DIFFERENT = 10


@dataclass(frozen=True, kw_only=True)
class PairedArms:
    """Hold the first run, another run, and their paired difference."""

    main: Arm
    other: Arm
    indices: Sequence[int]
    """Positions in the store of the images that both were scored on."""
    difference: Interval
    """Mean of main minus other, per image; groups are resampled as groups."""
    only_main: int
    """Number of images that only the first run was scored on."""
    only_other: int

    @property
    def common(self) -> int:
        """Return the number of images that both were scored on."""
        return len(self.indices)

    @property
    def all_common(self) -> bool:
        """Return True if both were scored on the same images."""
        return not self.only_main and not self.only_other


def pair_arms(arms: Sequence[Arm]) -> list[PairedArms]:
    """Compare the first run with each other run over the images that both have.

    Raises:
        UsageError: two runs have no image in common.
    """
    require_common([arm.name for arm in arms], [arm.inputs for arm in arms])
    return [_pair(arms[0], other) for other in arms[1:]]


def require_common(names: Sequence[str], inputs: Sequence[EvaluationInputs]) -> None:
    """Make sure that the first run can be compared with each other one, before any of them is scored.

    Args:
        names: Of the runs.
        inputs: Of the runs, on one store.

    Raises:
        UsageError: two runs have no image in common.
    """
    first = set(inputs[0].indices.tolist())
    for name, one in zip(names[1:], inputs[1:], strict=True):
        if first.isdisjoint(one.indices.tolist()):
            raise UsageError(
                f"{names[0]} and {name} were tested on different images, and none is common to both: they cannot be "
                "compared.\n  Train both with the same splits (--split-seed, --split-csv), or make a report of each."
            )


def _pair(main: Arm, other: Arm) -> PairedArms:
    common = sorted(main.cases.keys() & other.cases.keys())
    group_of = dict(zip(main.inputs.indices.tolist(), main.inputs.groups, strict=True))
    return PairedArms(
        main=main,
        other=other,
        indices=common,
        difference=paired_difference(
            main.dice(common), other.dice(common), seed=SEED, groups=[group_of[index] for index in common]
        ),
        only_main=len(main.cases) - len(common),
        only_other=len(other.cases) - len(common),
    )


def difference_section(pairs: Sequence[PairedArms]) -> Section:
    """Return the paired differences: a figure with every image, the means, and the images that differ most."""
    main = pairs[0].main
    figure, axes = new_figure(height=1.2 + 0.8 * len(pairs))
    for row, pair in enumerate(pairs):
        values = _differences(pair)
        colour = SERIES[(row + 1) % len(SERIES)]
        lift = 0.28 * ((np.arange(len(values)) * 0.618) % 1 - 0.5)  # spread evenly, the same in every drawing
        shown = drawn(len(values))
        axes.plot(values[shown], row + lift[shown], "o", color=colour, alpha=0.4, markersize=4, markeredgewidth=0)
        mean, low, high = (pair.difference[key] for key in ("mean", "low", "high"))
        if mean is not None:
            axes.plot([mean], [row], "D", color=colour, markersize=7)
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(pairs)), [f"against {pair.other.name}" for pair in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel(f"Dice of {main.name} minus Dice of the other run; right of 0, {main.name} is better")
    rows = [_row(pair) for pair in pairs]
    note = drawn_note(max(pair.common for pair in pairs))
    blocks: list[Block] = [
        Paragraph(
            text="Every point is one image. The difference is taken image by image, because images that are hard are "
            "hard for both. If the interval does not hold 0, the runs differ on images like these. One run stands for "
            "one training: another seed gives another run, which `pipeline compare` measures."
        ),
        Figure(
            title="Difference of Dice, image by image",
            svg=to_svg(figure, "Difference of Dice, image by image"),
            description=" ".join(f"{main.name} against {row[0]}: mean {row[2]}, 95 % {row[3]}." for row in rows),
            caption=" ".join(filter(None, ["Diamond and bar: mean and its 95 % interval.", note])),
        ),
        Table(
            title=f"{main.name} against the others",
            columns=[
                "other run",
                "images",
                "mean difference",
                "95 % interval",
                f"{main.name} better",
                "equal",
                "worse",
            ],
            rows=rows,
            numeric=range(1, 7),
        ),
    ]
    blocks += [_most_different(pair) for pair in pairs]
    return Section(id="differences", title="Difference between the runs", blocks=blocks)


def _differences(pair: PairedArms) -> np.ndarray:
    values = pair.main.dice(pair.indices) - pair.other.dice(pair.indices)
    return values[~np.isnan(values)]


def _row(pair: PairedArms) -> list[str]:
    values = _differences(pair)
    better, worse = int((values > TIE).sum()), int((values < -TIE).sum())
    mean, low, high = (pair.difference[key] for key in ("mean", "low", "high"))
    interval = NOTHING if low is None or high is None else f"{signed(low)} to {signed(high)}"
    return [
        pair.other.name,
        f"{len(values):,}",
        signed(mean),
        interval,
        f"{better:,}",
        f"{len(values) - better - worse:,}",
        f"{worse:,}",
    ]


def _most_different(pair: PairedArms) -> Table:
    """Return the images with the largest difference."""
    main, other = pair.main.dice(pair.indices), pair.other.dice(pair.indices)
    gap = np.nan_to_num(np.abs(main - other), nan=-1)
    order = [int(at) for at in np.argsort(-gap, kind="stable") if gap[at] >= 0][:MOST_DIFFERENT]
    ids = pair.main.inputs.ids
    return Table(
        title=f"Most different from {pair.other.name}",
        columns=["image", pair.main.name, pair.other.name, "difference"],
        rows=[
            [ids[pair.indices[at]], number(main[at]), number(other[at]), signed(float(main[at] - other[at]))]
            for at in order
        ],
        caption=f"Dice of the {counted(len(order), 'image')} with the largest difference.",
        numeric=(1, 2, 3),
    )

"""Say what a reader must know before believing a comparison."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.comparison.analysis import Analysis
from stages.comparison.plan import Plan
from stages.comparison.results import Comparison
from stages.comparison.wording import listed
from stages.reporting.wording import number
from stages.runtime.wording import counted
from stages.segmentation.budget import FEW_STEPS
from stages.segmentation.convergence import FEWEST_EPOCHS
from stages.segmentation.labelled_subset import labelled_subset, missing_classes
from stages.segmentation.near_duplicates import across_splits
from stages.segmentation.scoring import lost_classes
from stages.segmentation.split_notes import duplicate_notes
from stages.segmentation.trivial import NOTHING, average_trivial, trivial_dice
from stages.segmentation.unlabelled_samples import mark_if_any

__all__ = ["notes_before", "notes_of", "trivial_notes"]

NAMED = 3
"""Number of groups of runs that a note names."""


def notes_before(plan: Plan) -> list[str]:
    """Return the notes that are known before the first training."""
    same = duplicate_notes(across_splits(plan.samples.store, _all_used(plan)))
    notes = [note.removeprefix("note: ") for note in same]
    notes += _missing_classes(plan)
    if any(job.settings.precision != job.run.arm.settings.precision for job in plan.jobs):
        notes.append(
            "Runs with precision auto were computed in bfloat16, which is faster on this machine. On others auto may "
            "become float32, with slightly other scores; --common precision=float32 is the same everywhere."
        )
    if plan.settings.steps < FEW_STEPS:
        notes.append(
            f"{counted(plan.settings.steps, 'step')} are few: arms that learn slowly look worse than they are, and "
            f"more steps can change which arm is ahead. Use {FEW_STEPS:,} or more (--steps {FEW_STEPS})."
        )
    if plan.settings.score == "val":
        notes.append(
            "The validation split was scored, which is right for choosing settings. Report the scores of --score test."
        )
    if plan.settings.checkpoint == "best":
        notes.append(
            f"{counted(plan.samples.count('val'), 'labelled validation sample')} chose the epoch of every run. Their "
            "labels come on top of the numbers of labels in the table."
        )
    return notes


def notes_of(analysis: Analysis) -> list[str]:
    """Return the notes that follow from the results."""
    comparison = analysis.comparison
    return [
        *_still_improving(comparison),
        *_few_epochs(comparison),
        *analysis.notes,
        *analysis.curves.notes,
        *_left_out(comparison),
    ]


def trivial_notes(plan: Plan, analysis: Analysis) -> list[str]:
    """Return the Dice of predicting one class everywhere, or nothing, and the arms that are not better than that.

    Args:
        plan: Has the masks of the scored images.
        analysis: Of the results.
    """
    store, scored = plan.samples.store, set(analysis.comparison.ids)
    if not scored:
        return []
    candidates = plan.samples.splits.positions(analysis.comparison.score)
    ids = store.chosen_texts("sample", candidates)
    indices = [index for index in candidates.tolist() if ids[index] in scored]
    dice = average_trivial(
        [
            trivial_dice(
                store.read_array("mask", np.array([index]))[0],
                store.classes,
                multilabel=store.multilabel,
                lost=lost_classes(store, index),
            )
            for index in indices
        ]
    )
    known = {name: value for name, value in dice.items() if value is not None}
    if not known:
        return []
    best = max(known, key=lambda name: known[name])
    named = [f"predicting {name} gives {number(known[name])} Dice" for name in dict.fromkeys((best, NOTHING))]
    worse = [
        f"{arm} with {labels:,} labels" for (arm, labels), mean in analysis.means.items() if mean.mean <= known[best]
    ]
    more = ", …" if len(worse) > NAMED else ""
    fault = f" Not better than that: {', '.join(worse[:NAMED])}{more}." if worse else ""
    return [f"For comparison, on these images {', and '.join(named)}.{fault}"]


def _all_used(plan: Plan) -> list[str]:
    """Return the split of every sample, with the unlabelled ones that any arm learns from."""
    samples = plan.samples
    wanted = any(arm.settings.unlabelled for arm in plan.matrix.arms)
    return mark_if_any(samples.store, samples.splits, samples.splits, wanted=wanted)


def _missing_classes(plan: Plan) -> list[str]:
    """Return a note for each number of labels with which, for some seed, no labelled sample has a certain class."""
    store = plan.samples.store
    notes = []
    for labels in plan.matrix.labels:
        missing = {
            seed: names
            for seed in plan.matrix.seeds
            if (names := missing_classes(store, _labelled(plan, labels, seed)))
        }
        if missing:
            seed, names = next(iter(missing.items()))
            notes.append(
                f"With {counted(labels, 'label')} and seed {seed}, no labelled sample has {' or '.join(names)}, so no "
                f"arm can learn it{_and_others(len(missing) - 1)}. Use more labels, or look at the scores by class."
            )
    return notes


def _labelled(plan: Plan, labels: int, seed: int) -> Sequence[str]:
    """Return the splits of the comparison's store with only the labels of some runs."""
    store = plan.samples.store
    for job in plan.jobs:
        if (job.run.labels, job.run.seed) == (labels, seed) and plan.samples.store_of(job.run.arm) is store:
            return job.splits
    return labelled_subset(store, plan.samples.splits, count=labels, seed=seed)


def _and_others(seeds: int) -> str:
    return f" (also with {counted(seeds, 'other seed')})" if seeds else ""


def _still_improving(comparison: Comparison) -> list[str]:
    """Return a note if runs were still getting better at the last step."""
    improving = Counter((run.arm, run.labels) for run in comparison.runs if run.improving)
    if not improving:
        return []
    total, steps = sum(improving.values()), comparison.runs[0].steps
    named = [f"{arm} with {labels} labels" for (arm, labels), _ in improving.most_common(NAMED)]
    more = ", …" if len(improving) > NAMED else ""
    were = "was" if total == 1 else "were"
    text = (
        f"{total} of {counted(len(comparison.runs), 'run')} {were} still improving at the last step "
        f"({', '.join(named)}{more}): train longer (--steps {max(2 * steps, FEW_STEPS)})."
    )
    return [text]


def _few_epochs(comparison: Comparison) -> list[str]:
    """Return a note if runs had so few epochs that it is not known whether they were still improving.

    Equal steps are fewer epochs with more labels, so these are the runs with many labels.
    """
    short = [run for run in comparison.runs if run.improving is None and run.epochs < FEWEST_EPOCHS]
    if not short or comparison.runs[0].steps < FEW_STEPS:  # of few steps, another note asks for more of them
        return []
    named = listed([f"{count:,}" for count in sorted({run.labels for run in short})])
    steps = max(FEWEST_EPOCHS * math.ceil(run.steps / run.epochs) for run in short)
    text = (
        f"The runs with {named} labels had fewer than {FEWEST_EPOCHS} epochs, too few to say whether they were still "
        f"improving at the last step. With --steps {steps} this is known."
    )
    return [text]


def _left_out(comparison: Comparison) -> list[str]:
    left_out: Sequence[str] = comparison.left_out
    if not left_out:
        return []
    named = ", ".join(left_out[:NAMED]) + (", …" if len(left_out) > NAMED else "")
    have = "has" if len(left_out) == 1 else "have"
    return [f"{counted(len(left_out), 'image')} {have} no defined Dice and {have} been left out ({named})."]

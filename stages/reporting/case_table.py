"""Make the table of cases: every case with its scores, and pictures of as many as the page has room for.

Predictions of the pictured cases are computed again, batch by batch, and each picture is encoded at once. So memory
holds the finished pictures, which are small, and one batch per run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.imaging.image_rules import ImageRules
from stages.reporting.arms import Arm, size_of
from stages.reporting.content import Case, CasePicture, CaseTable
from stages.reporting.pictures import LARGE, case_picture, picture_size
from stages.reporting.selection import SELECTION, choose_pictured
from stages.reporting.sources import Sources
from stages.runtime.progress import SILENT, Progress
from stages.segmentation.batches import StreamedSamples, in_order
from stages.segmentation.decisions import decide
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.metrics import ALL_METRICS
from stages.segmentation.scored_cases import ScoredCase
from stages.segmentation.scoring import name_of
from store import AttentionStore

__all__ = ["PICTURES_SIZE", "case_table"]

PICTURES_SIZE = 12_000_000
"""Characters of all pictures of a page together, so that a page with 500 cases stays below 15 MB."""
SHOWN = ("dice", "iou", "sensitivity", "hd95", "hd95_mm", "nsd", "nsd_mm")
"""Scores in the table of cases, if they were computed."""
ORIGINAL = "original_dice"


def case_table(
    store: AttentionStore,
    arms: Sequence[Arm],
    *,
    batch_size: int,
    most: int,
    sources: Sources | None = None,
    total: int = PICTURES_SIZE,
    progress: Progress = SILENT,
) -> CaseTable:
    """Return all cases of some runs on one store.

    Args:
        store: Holds the samples.
        arms: The runs with their scores; the first is the main one. They may have different samples.
        batch_size: Samples per batch.
        most: Largest number of cases with a picture.
        sources: Source images and masks to show in place of the stored ones.
        total: Characters that the pictures may take together.
        progress: Shows the progress of the pictures.

    Raises:
        StoreError, InputProblemsError, PipelineError: a sample or a source file cannot be read, or not be predicted.
    """
    indices = sorted({index for arm in arms for index in arm.cases})
    chosen = [indices[at] for at in choose_pictured(np.stack([arm.dice(indices) for arm in arms]), most)]
    pictures: dict[int, CasePicture] = {}
    with progress.task("pictures", len(chosen)) as task:
        for index, picture in _pictures(store, arms, chosen, batch_size, sources or Sources(), total):
            pictures[index] = picture
            task.advance()
    note = (
        "" if len(chosen) == len(indices) else f"{len(chosen):,} of {len(indices):,} cases have pictures: {SELECTION}."
    )
    return CaseTable(
        arms=[arm.name for arm in arms],
        scores=_headings(arms),
        cases=_cases(store, arms, indices, pictures),
        lower_is_better=[name for name in SHOWN if ALL_METRICS[name].better == "lower"],
        note=note,
    )


def _pictures(
    store: AttentionStore,
    arms: Sequence[Arm],
    chosen: Sequence[int],
    batch_size: int,
    sources: Sources,
    total: int,
) -> Iterator[tuple[int, CasePicture]]:
    """Yield the picture of every chosen case; bytes that one does not need are left to the next ones.

    Maps are read and shown only if a run takes them.
    """
    maps = any(arm.inputs.card.network.takes_maps for arm in arms)
    predicted = {arm.name: _predict(store, arm, chosen, batch_size) for arm in arms}
    for done, index in enumerate(chosen):
        probabilities = {arm.name: next(predicted[arm.name]) for arm in arms if index in arm.cases}
        sample = store.sample(index, maps=maps)
        picture = case_picture(
            sample,
            classes=store.classes,
            heads=store.heads if maps else [],
            multilabel=store.multilabel,
            predictions={name: decide(one, multilabel=store.multilabel) for name, one in probabilities.items()},
            probabilities=probabilities,
            source=sources.read(sample),
            aspect=ImageRules.from_dict(store.description.images).aspect(store.size),
            limit=min(LARGE, total // (len(chosen) - done)),
        )
        total = max(0, total - picture_size(picture))
        yield index, picture


def _predict(store: AttentionStore, arm: Arm, chosen: Sequence[int], batch_size: int) -> Iterator[NDArray[np.float32]]:
    """Yield (class, row, column) probabilities of the chosen cases that this run was scored on, in their order."""
    model, card, device = arm.inputs.model, arm.inputs.card, arm.inputs.device
    order = in_order(np.array([index for index in chosen if index in arm.cases], dtype=np.int64), batch_size)
    samples = StreamedSamples(store, device, maps=card.network.takes_maps)
    for positions, batch in zip(order, samples.batches(order), strict=True):
        name = name_of(store, positions)
        yield from (
            predict_probabilities(model, batch, card.attention_norm, arm.inputs.adaptive_batch, name).cpu().numpy()
        )


def _headings(arms: Sequence[Arm]) -> dict[str, str]:
    """Return the scores of the table: name and heading with its unit."""
    computed = {name for arm in arms for name in next(iter(arm.cases.values())).scores.metrics}
    headings = {
        name: ALL_METRICS[name].heading + (f" ({ALL_METRICS[name].unit})" if ALL_METRICS[name].unit else "")
        for name in SHOWN
        if name in computed
    }
    if any(case.original is not None for arm in arms for case in arm.cases.values()):
        headings[ORIGINAL] = "Dice, original size"
    return headings


def _cases(
    store: AttentionStore, arms: Sequence[Arm], indices: Sequence[int], pictures: Mapping[int, CasePicture]
) -> list[Case]:
    """Return a row for every case. Columns are looked up once, because a page may list many thousands."""
    ids, groups = (store.chosen_texts(name, indices) for name in ("sample", "group"))
    heights, widths = (store.column(name) for name in ("height", "width"))
    lost = store.chosen_texts("lost_classes", indices) if store.has("lost_classes") else None
    cases = []
    for index in indices:
        scored = {arm.name: arm.cases[index] for arm in arms if index in arm.cases}
        flags = _flags(arms, index)
        if lost is not None and lost[index]:
            flags.append("object lost at the store's size")
        cases.append(
            Case(
                id=ids[index],
                group=groups[index],
                height=int(heights[index]),
                width=int(widths[index]),
                scores={name: _values(case) for name, case in scored.items()},
                size=size_of(next(iter(scored.values())).scores),
                flags=flags,
                picture=pictures.get(index),
            )
        )
    return cases


def _values(case: ScoredCase) -> dict[str, float]:
    values = {name: case.scores.value(name) for name in SHOWN if name in case.scores.metrics}
    return values | ({} if case.original is None else {ORIGINAL: case.original.dice})


def _flags(arms: Sequence[Arm], index: int) -> list[str]:
    """Return short remarks on a case."""
    scored = [arm for arm in arms if index in arm.cases]
    flags = []
    if any(arm.doubts[index].is_suspicious for arm in scored if index in arm.doubts):
        flags.append("label in doubt")
    if not any(one.tp + one.fn for one in scored[0].cases[index].scores.classes):
        flags.append("empty label")
    flags += [
        "empty prediction" if len(arms) == 1 else f"empty prediction: {arm.name}"
        for arm in scored
        if not any(one.tp + one.fp for one in arm.cases[index].scores.classes)
    ]
    return flags

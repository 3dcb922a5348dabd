"""Predict and score samples one by one, at the store's size and at the original size of each image.

At the original size, the probabilities are enlarged and compared with the original mask, so the ground truth is never
resized. There distances are also given in millimetres, if the size of a pixel is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.imaging.image_rules import box_of_image
from stages.imaging.label_regions import read_labels_of_part
from stages.imaging.resizing import resize_probabilities
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.runtime.progress import Progress
from stages.segmentation.decisions import decide
from stages.segmentation.instances import InstanceScores, score_instances, split_instances
from stages.segmentation.metrics import SampleScores, score_sample
from stages.segmentation.scored_cases import ScoredCase
from stages.segmentation.scoring import Scored, lost_classes, lost_objects, score_store
from stages.segmentation.trivial import trivial_dice
from store.records import IGNORE

__all__ = ["Evaluation", "score_cases"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Hold a finished evaluation, for the score files and for the report."""

    inputs: EvaluationInputs
    cases: Sequence[ScoredCase]
    """In the order of the store."""
    scores: dict[str, Any]
    """The content of `scores.json`; see `stages.segmentation.all_scores`."""


def score_cases(
    inputs: EvaluationInputs,
    *,
    batch_size: int,
    progress: Progress,
    observers: Sequence[Callable[[Scored], object]] = (),
) -> Iterator[ScoredCase]:
    """Predict and score the samples in the order of the store.

    Args:
        inputs: The run and the samples.
        batch_size: Samples per batch.
        progress: Shows how far it is.
        observers: Called with each sample while its probabilities are in memory.

    Raises:
        InputProblemsError: a source mask cannot be used.
        PipelineError: an output is NaN or infinite, or there is not enough memory for one sample.
        StoreError: a sample cannot be read.
    """
    with progress.task("scoring", len(inputs.indices)) as task:
        for scored in score_store(
            inputs.store,
            inputs.indices,
            model=inputs.model,
            card=inputs.card,
            device=inputs.device,
            batch_size=batch_size,
            task=task,
            rules=inputs.rules,
            adaptive_batch=inputs.adaptive_batch,
        ):
            for observe in observers:
                observe(scored)
            original, original_instances = _score_at_original(inputs, scored)
            yield ScoredCase(
                index=scored.index,
                prediction=scored.prediction,
                scores=scored.scores,
                trivial=trivial_dice(
                    scored.truth,
                    inputs.store.classes,
                    multilabel=inputs.store.multilabel,
                    lost=lost_classes(inputs.store, scored.index),
                ),
                instances=_score_stored_objects(inputs, scored),
                original=original,
                original_instances=original_instances,
            )


def _score_stored_objects(inputs: EvaluationInputs, scored: Scored) -> InstanceScores | None:
    """Score the objects of one sample at the store's size; None if this was not asked for."""
    if inputs.instances == "none":
        return None
    return score_instances(
        split_instances(scored.prediction == 1, inputs.instances),
        inputs.store.instances([scored.index])[0],
        ignored=scored.truth == IGNORE,
        lost=lost_objects(inputs.store, scored.index),
    )


def _score_at_original(inputs: EvaluationInputs, scored: Scored) -> tuple[SampleScores | None, InstanceScores | None]:
    """Score one sample, and its objects if asked for, at its image's original size against its source mask.

    Raises:
        InputProblemsError: the mask cannot be used.
    """
    store = inputs.store
    identifier = inputs.ids[scored.index]
    files = inputs.masks.get(identifier)
    if files is None:
        return None, None
    size = (int(store.column("height")[scored.index]), int(store.column("width")[scored.index]))
    labels = read_labels_of_part(files, inputs.labels, size)
    box = box_of_image(store.description.images, size, store.size)
    probabilities = resize_probabilities(scored.probabilities, size, box)
    prediction = decide(probabilities, multilabel=store.multilabel)
    # nan for an image whose pixel size is not known, so that all images have the same metrics
    pixel_mm = inputs.pixel_mm.get(identifier, np.nan) if inputs.pixel_mm else None
    rules = replace(inputs.rules, pixel_mm=pixel_mm)
    scores = score_sample(prediction, labels.mask, len(store.classes), multilabel=store.multilabel, rules=rules)
    if inputs.instances == "none" or labels.instances is None:
        return scores, None
    objects = split_instances(prediction == 1, inputs.instances)
    return scores, score_instances(objects, labels.instances, ignored=labels.mask == IGNORE)

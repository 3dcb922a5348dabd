"""Describe a sample as values for the page, ready for JSON.

A sample is described as a case of the report (`stages.reporting.serialise`), so that the same script draws both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.image_rules import ImageRules
from stages.reporting.content import Case
from stages.reporting.pictures import case_picture
from stages.reporting.serialise import case_json
from stages.runtime.wording import counted
from store.reader import AttentionStore
from store.records import IGNORE, Sample

if TYPE_CHECKING:
    from stages.viewing.prediction import RunPredictor

SPLIT_FLAGS = {
    "train": "the run was trained on this image",
    "unlabelled": "the run learnt from this image without its mask",
    "val": "a validation image of the run",
    "": "the run does not know this image",
}
"""Remarks by the split of an image in a run. A test image needs none."""


def sample_json(
    store: AttentionStore, position: int, sample: Sample, predictor: RunPredictor | None = None
) -> dict[str, Any]:
    """Describe one sample.

    Args:
        store: that holds it.
        position: in the store.
        sample: as it was read.
        predictor: predicts it too; None for no prediction.

    Returns:
        `at`, the position; `labelled`; and `case`, see `stages.reporting.serialise`. With a prediction the case has the
        score `dice` of the run.

    Raises:
        PipelineError: the sample cannot be predicted.
    """
    predicted = {} if predictor is None else {predictor.name: predictor.predict(position, sample)}
    picture = case_picture(
        sample,
        classes=store.classes,
        heads=store.heads,
        multilabel=store.multilabel,
        predictions={name: one.mask for name, one in predicted.items()},
        probabilities={name: one.probabilities for name, one in predicted.items()},
        aspect=ImageRules.from_dict(store.description.images).aspect(store.size),
    )
    case = Case(
        id=sample.id,
        group="" if sample.group == sample.id else sample.group,
        height=sample.height,
        width=sample.width,
        scores={name: {"dice": one.dice} for name, one in predicted.items()},
        size=_foreground(sample),
        flags=[*_flags(sample), *(SPLIT_FLAGS[one.split] for one in predicted.values() if one.split in SPLIT_FLAGS)],
        picture=picture,
    )
    return {"at": position, "labelled": sample.labelled, "case": case_json(case)}


def _foreground(sample: Sample) -> float:
    """Return the share of the pixels with a known class that are foreground, 0 to 1; nan if there is none."""
    known = sample.mask[sample.mask != IGNORE]
    return float(np.count_nonzero(known) / known.size) if sample.labelled and known.size else math.nan


def _flags(sample: Sample) -> list[str]:
    """Return short remarks on a sample."""
    flags = []
    if not sample.labelled:
        flags.append("no mask")
    elif not (sample.mask[sample.mask != IGNORE]).any():
        flags.append("empty mask")
    if sample.lost_objects:
        flags.append(f"{counted(sample.lost_objects, 'object')} too small for the store")
    return flags

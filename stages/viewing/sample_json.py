"""Describe a sample as values for the page, ready for JSON.

A sample is described as a case of the report (`stages.reporting.serialise`), so that the same script draws both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stages.reporting.content import Case
from stages.reporting.pictures import case_picture
from stages.reporting.serialise import case_json
from stages.runtime.wording import counted
from store.reader import AttentionStore
from store.records import IGNORE, Sample


def sample_json(store: AttentionStore, position: int, sample: Sample) -> dict[str, Any]:
    """Describe one sample.

    Args:
        store: that holds it.
        position: in the store.
        sample: as it was read.

    Returns:
        `at`, the position; `labelled`; and `case`, see `stages.reporting.serialise`. A case has no scores here.
    """
    picture = case_picture(sample, classes=store.classes, heads=store.heads, multilabel=store.multilabel)
    case = Case(
        id=sample.id,
        group="" if sample.group == sample.id else sample.group,
        height=sample.height,
        width=sample.width,
        scores={},
        size=_foreground(sample),
        flags=_flags(sample),
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

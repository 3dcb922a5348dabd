"""Find labels that may be wrong: images where the model is confident and the label says something else.

A pixel is in doubt if the model gives at least 90 % to its own answer and the label differs. An image is in doubt if
such pixels make up at least half of the object, which is the union of label and prediction. The idea is that of
confident learning (Northcutt et al. 2021), per pixel. A network can be confident and wrong, so this is a list to look
at and no proof: the label is only suspected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.reporting.wording import percent
from stages.segmentation.decisions import LIKELY, decide
from store.records import IGNORE

__all__ = ["CONFIDENT", "IN_DOUBT", "LabelDoubt", "label_doubt"]

CONFIDENT = 0.9
IN_DOUBT = 0.5


@dataclass(frozen=True, kw_only=True)
class LabelDoubt:
    """Hold by how much a confident model contradicts a label."""

    share: float
    """Pixels of confident disagreement, relative to the union of label and prediction, 0 to 1."""
    confidence: float
    """Mean probability that the model gives to its own answer on these pixels; nan without any."""
    kind: Literal["extra", "missed", "other class"]
    """Most of these pixels belong to an object of the model only, of the label only, or of another class in each."""

    @property
    def is_suspicious(self) -> bool:
        """Return True if the label should be looked at."""
        return self.share >= IN_DOUBT

    def __str__(self) -> str:
        where = {
            "extra": "where the label has background, the model finds an object",
            "missed": "where the label has an object, the model finds background",
            "other class": "label and model name another class",
        }[self.kind]
        return f"{where}, with {percent(self.confidence)} confidence; {percent(self.share)} of the object"


def label_doubt(
    probabilities: NDArray[np.float32], truth: NDArray[np.uint8], classes: Sequence[str], *, multilabel: bool = False
) -> LabelDoubt:
    """Return by how much a confident model contradicts the label of one image.

    Args:
        probabilities: (class, row, column) in [0, 1].
        truth: (row, column) class index or bits of labels; 255 is ignored and never in doubt.
        classes: Names of all classes, background first.
        multilabel: Labels may overlap. Each label is then a question of its own, and the surest wrong answer counts.
    """
    known = truth != IGNORE
    prediction = decide(probabilities, multilabel=multilabel)
    if multilabel:
        bits = np.arange(len(classes) - 1)[:, None, None]
        likely = probabilities[1:] > LIKELY
        wrong = likely != (truth[None] >> bits & 1 == 1)
        certainty = np.where(wrong, np.maximum(probabilities[1:], 1 - probabilities[1:]), 0).max(axis=0)
    else:
        certainty = np.where(prediction != truth, probabilities.max(axis=0), 0)
    doubtful = known & (certainty >= CONFIDENT)
    union = int((known & ((truth > 0) | (prediction > 0))).sum())
    count = int(doubtful.sum())
    kinds: dict[Literal["extra", "missed", "other class"], int] = {
        "extra": int((doubtful & (truth == 0)).sum()),
        "missed": int((doubtful & (prediction == 0)).sum()),
        "other class": int((doubtful & (truth > 0) & (prediction > 0)).sum()),
    }
    return LabelDoubt(
        share=count / union if union else 0.0,
        confidence=float(certainty[doubtful].mean()) if count else float("nan"),
        kind=max(kinds, key=kinds.__getitem__),
    )

"""Hold one sample with all of its scores, for the score files and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.instances import InstanceScores
from stages.segmentation.metrics import SampleScores

__all__ = ["ScoredCase"]


@dataclass(frozen=True, kw_only=True)
class ScoredCase:
    """Hold one sample with its prediction and all of its scores.

    The probabilities are not kept, because those of a large test set would fill the memory. What needs them observes
    the samples while they are scored; see `stages.reporting.scoring.score_cases`.
    """

    index: int
    """Position in the store."""
    prediction: NDArray[np.uint8]
    """(row, column) class index, or bits of labels, at the store's size."""
    scores: SampleScores
    """Scores at the store's size; distances in pixels of the store."""
    trivial: Mapping[str, float]
    """Dice of the trivial predictions at the store's size, by name; see `stages.segmentation.trivial`."""
    instances: InstanceScores | None = None
    """Scores of its objects at the store's size; None if they were not asked for."""
    original: SampleScores | None = None
    """Scores at the image's original size, distances in its pixels; None without its source mask."""
    original_instances: InstanceScores | None = None
    """Scores of its objects at the original size; None without its source mask, or if they were not asked for."""

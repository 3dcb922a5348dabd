"""Hold the scores of one run on the samples of a store, without its predictions.

A page of 10,000 cases holds their scores in memory, and not all of their predictions: those of the cases with a picture
are computed again (`stages.reporting.case_table`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.evaluation_scores import evaluation_scores
from stages.reporting.label_doubts import LabelDoubt, label_doubt
from stages.reporting.scoring import Evaluation, score_cases
from stages.runtime.progress import Progress
from stages.segmentation.calibration import Calibration
from stages.segmentation.metrics import SampleScores
from stages.segmentation.scored_cases import ScoredCase
from stages.segmentation.scoring import Scored

__all__ = ["Arm", "Doubts", "score_arm", "size_of"]

NO_PREDICTION = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Hold a run and its scores."""

    name: str
    """Its name on the page; unique."""
    inputs: EvaluationInputs
    """The run's model, its store and the samples."""
    cases: Mapping[int, ScoredCase]
    """By position in the store; at least one."""
    scores: Mapping[str, Any]
    """The content of `scores.json`."""
    doubts: Mapping[int, LabelDoubt] = field(default_factory=dict)
    """Contradiction between model and label, by position in the store."""

    @classmethod
    def of(cls, name: str, evaluation: Evaluation, doubts: Doubts) -> Arm:
        """Return the arm of a finished evaluation."""
        cases = {case.index: case for case in evaluation.cases}
        return cls(name=name, inputs=evaluation.inputs, cases=cases, scores=evaluation.scores, doubts=doubts.found)

    def dice(self, indices: Sequence[int]) -> NDArray[np.float64]:
        """Return the Dice of some samples by their position in the store, nan where the run was not scored."""
        return np.array([self.cases[one].scores.dice if one in self.cases else math.nan for one in indices])


class Doubts:
    """Collect how far a model contradicts the labels, as an observer of `stages.reporting.scoring.score_cases`."""

    def __init__(self, inputs: EvaluationInputs) -> None:
        self._store = inputs.store
        self.found: dict[int, LabelDoubt] = {}
        """By position in the store."""

    def __call__(self, scored: Scored) -> None:
        """Add one sample while its probabilities are in memory."""
        self.found[scored.index] = label_doubt(
            scored.probabilities, scored.truth, self._store.classes, multilabel=self._store.multilabel
        )


def score_arm(name: str, inputs: EvaluationInputs, *, batch_size: int, progress: Progress) -> Arm:
    """Predict and score the samples of one run. Predictions are not kept.

    Raises:
        PipelineError: an output is not finite, or there is not enough memory even for one sample.
        StoreError, InputProblemsError: a sample or a source mask cannot be read.
    """
    doubts = Doubts(inputs)
    calibration = Calibration(len(inputs.card.classes), multilabel=inputs.store.multilabel)
    cases = [
        replace(case, prediction=NO_PREDICTION)
        for case in score_cases(
            inputs,
            batch_size=batch_size,
            progress=progress,
            observers=[doubts, lambda scored: calibration.add(scored.probabilities, scored.truth)],
        )
    ]
    scores = evaluation_scores(inputs, cases, calibration)
    return Arm.of(name, Evaluation(inputs=inputs, cases=cases, scores=scores), doubts)


def size_of(scores: SampleScores) -> float:
    """Return the share of the pixels with a known truth that are foreground, 0 to 1; nan without such pixels."""
    first = scores.classes[0]
    known = first.tp + first.fp + first.fn + first.tn
    return min(1.0, sum(one.tp + one.fn for one in scores.classes) / known) if known else math.nan

"""Make runs with given scores, for tests of the page's sections. There is no network behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from stages.reporting.arms import NO_PREDICTION, Arm
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.label_doubts import LabelDoubt
from stages.segmentation.metrics import ClassScores, MetricRules, SampleScores
from stages.segmentation.scored_cases import ScoredCase
from stages.segmentation.summary import summarise
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

PIXELS = 1000


def made_store(path: Path, layout: Layout, groups: Sequence[str]) -> AttentionStore:
    """Write a store with one sample per group given, and open it."""
    with new_store(path, layout=layout, recipe={**RECIPE, "model": "dino_vits8"}) as writer:
        for index, group in enumerate(groups):
            writer.append(replace(random_sample(index, layout), group=group))
    return AttentionStore.open(path)


def scored(dice: float, *, size: int = 100) -> SampleScores:
    """Return the scores of an image with about this Dice, whose object has `size` of 1,000 pixels; nan: all ignored."""
    if math.isnan(dice):
        values = dict.fromkeys(("dice", "iou", "sensitivity", "specificity", "hd95", "nsd"), math.nan)
        return SampleScores((ClassScores(tp=0, fp=0, fn=0, tn=0, values=values),))
    tp = round(dice * size)
    values = {"dice": dice, "iou": dice / (2 - dice), "sensitivity": dice, "specificity": 1.0, "hd95": 4.0, "nsd": dice}
    counts = {"tp": tp, "fp": size - tp, "fn": size - tp, "tn": PIXELS - 2 * size + tp}
    return SampleScores((ClassScores(**counts, values=values),))


def made_arm(
    store: AttentionStore,
    dice: Mapping[int, float],
    *,
    name: str = "dual",
    sizes: Mapping[int, int] | None = None,
    doubts: Mapping[int, LabelDoubt] | None = None,
    **scores: Any,
) -> Arm:
    """Return a run with these Dice by position in the store.

    Args:
        store: Holds the samples.
        dice: By position.
        name: Of the run.
        sizes: Pixels of the object by position, of 1,000.
        doubts: By position.
        scores: Further entries of `scores.json`, such as `one_sided`; and `split`, `includes_training`.
    """
    groups = [str(store.column("group")[index]) for index in dice]
    card = SimpleNamespace(
        classes=store.classes,
        epoch=2,
        val_dice=0.8,
        splits_sha256="ab" * 32,
        network=SimpleNamespace(branches="dual", takes_maps=True),
        recipe=store.recipe,
        weights_licence="",
    )
    inputs = EvaluationInputs(
        store=store,
        model=None,  # type: ignore[arg-type]
        card=card,  # type: ignore[arg-type]
        device=None,  # type: ignore[arg-type]
        adaptive_batch=None,  # type: ignore[arg-type]
        indices=np.array(list(dice), dtype=np.int64),
        split=scores.pop("split", "test"),
        includes_training=scores.pop("includes_training", False),
        chosen_on_these=False,
        masks={},
        labels=None,  # type: ignore[arg-type]
        instances="none",
        rules=MetricRules(),
        pixel_mm={},
        groups=groups,
    )
    cases = {
        index: ScoredCase(
            index=index,
            prediction=NO_PREDICTION,
            scores=scored(value, size=(sizes or {}).get(index, 100)),
            trivial={},
        )
        for index, value in dice.items()
    }
    summary = summarise([case.scores for case in cases.values()], seed=0, class_names=store.classes, groups=groups)
    return Arm(name=name, inputs=inputs, cases=cases, scores={**summary, **scores}, doubts=doubts or {})

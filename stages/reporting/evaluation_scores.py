"""Summarise the scored samples of a run: the content of `scores.json`, and the rows of `per_sample.csv`.

Beside the keys of `stages.segmentation.all_scores`, `scores.json` has:

| key                         | meaning                                                                           |
|-----------------------------|-----------------------------------------------------------------------------------|
| `split`                     | the samples that were scored: `train`, `val`, `test` or `all`                     |
| `includes_training_samples` | true if training samples, or others of their group, are among them                |
| `chosen_on_these_samples`   | true if the checkpoint was chosen by these samples: their scores are optimistic   |
| `instances`                 | scores of objects, if they were asked for                                         |
| `original`                  | the summary at the original size, if source masks were given; distances in pixels |
|                             | of the originals (`tolerance_px` too), and with known sizes of pixels also        |
|                             | `hd95_mm`; with `tolerance_mm` also `nsd_mm`                                      |
| `images`                    | the summary of whole images, for a store of tiles; see                            |
|                             | `stages.reporting.image_rows`                                                     |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.segmentation.all_scores import scores_of_test_set
from stages.segmentation.calibration import Calibration
from stages.segmentation.score_files import cells_of, summarise_instances
from stages.segmentation.scored_cases import ScoredCase
from stages.segmentation.summary import summarise

__all__ = ["BOOTSTRAP_SEED", "evaluation_rows", "evaluation_scores"]

BOOTSTRAP_SEED = 0


def evaluation_scores(
    inputs: EvaluationInputs, cases: Sequence[ScoredCase], calibration: Calibration
) -> dict[str, Any]:
    """Return the content of `scores.json`.

    Args:
        inputs: What was scored.
        cases: All scored samples, in the order of `inputs.indices`.
        calibration: Has seen all of them.
    """
    names, groups = inputs.card.classes, inputs.groups
    scores: dict[str, Any] = {
        "split": inputs.split,
        "includes_training_samples": inputs.includes_training,
        "chosen_on_these_samples": inputs.chosen_on_these,
        **scores_of_test_set(
            [case.scores for case in cases],
            [case.trivial for case in cases],
            class_names=names,
            groups=groups,
            rules=inputs.rules,
            calibration=calibration,
            seed=BOOTSTRAP_SEED,
        ),
    }
    grouped = list(zip(cases, groups, strict=True))
    if found := [(case.instances, group) for case, group in grouped if case.instances is not None]:
        scores["instances"] = _objects(found)
    if at_original := [(case.original, group) for case, group in grouped if case.original is not None]:
        scores["original"] = summarise(
            [one for one, _ in at_original],
            seed=BOOTSTRAP_SEED,
            class_names=names,
            groups=[group for _, group in at_original],
        )
        scores["original"]["tolerance_px"] = inputs.rules.tolerance
        if inputs.rules.tolerance_mm is not None:
            scores["original"]["tolerance_mm"] = inputs.rules.tolerance_mm
        found = [(case.original_instances, group) for case, group in grouped if case.original_instances is not None]
        if found:
            scores["original"]["instances"] = _objects(found)
    return scores


def evaluation_rows(inputs: EvaluationInputs, cases: Sequence[ScoredCase]) -> list[dict[str, str]]:
    """Return the rows of `per_sample.csv`, in the order of the cases."""
    ids, groups = inputs.ids, inputs.store.chosen_texts("group", inputs.indices)
    rows = []
    for case in cases:
        row = {"id": ids[case.index], "group": groups[case.index], "split": inputs.split}
        row |= cells_of(case.scores, case.instances)
        if case.original is not None:
            row |= cells_of(case.original, case.original_instances, prefix="original_")
        rows.append(row)
    return rows


def _objects(found: Sequence[tuple[Any, str]]) -> dict[str, Any]:
    """Return the summary of the objects' scores; `found` has those of each image and its group."""
    groups = [group for _, group in found]
    return summarise_instances([one for one, _ in found], seed=BOOTSTRAP_SEED, groups=groups)

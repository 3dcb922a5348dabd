"""Stage `evaluate`: score a run on samples that it was not trained on.

    out/metrics.json     a few figures, for `dvc metrics show`
    out/scores.json      all scores with intervals; see `stages.segmentation.all_scores`
    out/per_sample.csv   the same scores, one row per sample
    out/per_image.csv    of a store of tiles: scores of whole images; see `stages.reporting.whole_images`
    out/overlays/        pictures of the worst, the median and the best samples
    out/report.html      all of this and more on one page; see `stages.reporting.evaluation_page`

Scores are computed at the store's resolution. With the source masks they are also computed at each image's original
size (`stages.reporting.scoring`). The masks are found and read by the rules that the store records. With `instances`
single objects are scored too (`stages.segmentation.instances`).

Leakage is an error (`stages.reporting.evaluation_inputs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.outputs.kinds import IMAGES_FILE, OVERLAYS, PAGE_FILE, REPORT, ROWS_FILE
from stages.outputs.places import require_own_folder
from stages.pictures.overlays import draw_overlay, pick_cases
from stages.reporting.arms import Doubts
from stages.reporting.evaluation_inputs import EvaluationInputs, Request, load_inputs
from stages.reporting.evaluation_page import write_report
from stages.reporting.evaluation_scores import BOOTSTRAP_SEED, evaluation_rows, evaluation_scores
from stages.reporting.image_rows import image_lines, image_rows, image_summary
from stages.reporting.scoring import Evaluation, score_cases
from stages.reporting.whole_images import score_images
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from stages.segmentation.calibration import Calibration
from stages.segmentation.interval_text import interval_text
from stages.segmentation.metrics import MetricRules
from stages.segmentation.score_files import write_rows, write_scores
from stages.segmentation.score_text import honest_lines, note_lines, original_lines
from stages.segmentation.scored_cases import ScoredCase
from stages.settings import EvaluateSettings
from store.disk.publish import published_folder
from store.records import IGNORE


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Hold the result of an evaluation; `str()` is the summary that users see."""

    out: Path
    """The report folder."""
    metrics: dict[str, Any]
    """The content of `scores.json`."""

    def __str__(self) -> str:
        scores, original = self.metrics, self.metrics.get("original", {})
        samples = counted(scores["n"], "sample")
        return "\n".join(
            [
                f"{self.out}: Dice {interval_text(scores['dice'])} over {samples} of split {scores['split']}",
                *honest_lines(scores),
                *original_lines(original),
                *image_lines(scores.get("images")),
                *_object_lines("objects", scores),
                *_object_lines("objects at original size", original),
                *note_lines(scores),
            ]
        )


def run(settings: EvaluateSettings, progress: Progress = SILENT) -> EvaluationReport:
    """Score a run and write the report folder.

    Raises:
        StoreError, CheckpointError: the store or the run cannot be read, or they do not fit each other.
        UsageError: the split is empty, or holds samples that were used in training or to choose the checkpoint;
            objects are to be scored and the store has none; or millimetres are asked for and cannot be given.
        InputProblemsError: source masks are missing or cannot be used.
    """
    require_own_folder(
        settings.out,
        REPORT,
        option="--out",
        others={
            "--store": settings.store,
            "--run": settings.run,
            "--masks": settings.masks,
            "--csv": settings.csv,
        },
    )
    inputs = load_inputs(_request(settings))
    with published_folder(settings.out, ours=REPORT) as folder:
        doubts = Doubts(inputs)
        evaluation = _evaluate(inputs, settings.batch_size, progress, doubts)
        images = score_images(inputs, batch_size=settings.batch_size, progress=progress)
        if images:
            evaluation.scores["images"] = image_summary(images, class_names=inputs.card.classes, seed=BOOTSTRAP_SEED)
        write_scores(folder, evaluation.scores)
        write_rows(folder / ROWS_FILE, evaluation_rows(inputs, evaluation.cases))
        if images:
            write_rows(folder / IMAGES_FILE, image_rows(images, inputs.split))
        _write_overlays(folder / OVERLAYS, inputs, evaluation.cases, settings.overlays)
        write_report(
            folder / PAGE_FILE,
            evaluation,
            doubts,
            run=settings.run,
            batch_size=settings.batch_size,
            progress=progress,
        )
    return EvaluationReport(out=settings.out, metrics=evaluation.scores)


def _request(settings: EvaluateSettings) -> Request:
    """Return what is scored and how."""
    return Request(
        run=settings.run,
        store=settings.store,
        split=settings.split,
        include_training=settings.include_training,
        masks=settings.masks,
        csv=settings.csv,
        instances=settings.instances,
        rules=MetricRules(
            hd95=settings.hd95,
            tolerance=settings.tolerance,
            tolerance_mm=settings.tolerance_mm,
            pixel_mm=settings.pixel_mm,
        ),
        device=settings.device,
        batch_size=settings.batch_size,
    )


def _evaluate(inputs: EvaluationInputs, batch_size: int, progress: Progress, doubts: Doubts) -> Evaluation:
    """Score all samples."""
    calibration = Calibration(len(inputs.card.classes), multilabel=inputs.store.multilabel)
    cases = list(
        score_cases(
            inputs,
            batch_size=batch_size,
            progress=progress,
            observers=[doubts, lambda scored: calibration.add(scored.probabilities, scored.truth)],
        )
    )
    return Evaluation(inputs=inputs, cases=cases, scores=evaluation_scores(inputs, cases, calibration))


def _object_lines(title: str, scores: dict[str, Any]) -> list[str]:
    """Return the line about objects, if they were scored."""
    found = scores.get("instances")
    if not found:
        return []
    values = ", ".join(f"{name.upper()} {interval_text(found[name])}" for name in ("aji", "pq"))
    return [f"{title}: {values}; {found['predicted_objects']} predicted, {found['true_objects']} true"]


def _write_overlays(folder: Path, inputs: EvaluationInputs, cases: Sequence[ScoredCase], count: int) -> None:
    """Draw `count` of the worst, the median and the best samples by Dice."""
    folder.mkdir()
    dice = [case.scores.dice for case in cases]
    for kind, chosen in pick_cases(dice, count).items():
        for rank, position in enumerate(chosen, start=1):
            one = cases[position]
            sample = inputs.store.sample(one.index, maps=inputs.card.network.takes_maps)
            multilabel = inputs.store.multilabel
            picture = draw_overlay(
                sample.image,
                _any_label(sample.mask) if multilabel else sample.mask,
                _any_label(one.prediction) if multilabel else one.prediction,
                2 if multilabel else len(inputs.card.classes),
                caption=f"{sample.id}  Dice {dice[position]:.3f}",
                attention=sample.attention if inputs.card.network.takes_maps else None,
            )
            picture.save(folder / f"{kind}_{rank}.png")


def _any_label(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 for pixels with a label, 0 for pixels without one, 255 for ignored pixels."""
    return np.where(mask == IGNORE, mask, mask > 0).astype(np.uint8)

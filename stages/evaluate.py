"""Stage `evaluate`: score a run on samples that it was not trained on.

    out/metrics.json     means over images with intervals; see `stages.segmentation.summary`
    out/per_sample.csv   the same scores, one row per sample
    out/overlays/        pictures of the worst, the median and the best samples

Scores are computed at the store's resolution. With the source masks they are also computed at each image's original
size: the probabilities are enlarged and compared with the original mask, so the ground truth is never resized. The
masks are found and read by the rules that the store records. With `instances` single objects are scored too
(`stages.segmentation.instances`).

Leakage is an error. Samples that the run was trained on are rejected, by image and by patient, also in another store
(`stages.segmentation.leakage`). Samples that were used to choose the checkpoint are rejected too, unless `--split val`
asks for them. `--include-training` overrides both; `metrics.json` then records it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.resizing import resize_probabilities
from stages.imaging.samples import LabelFile
from stages.imaging.source_masks import find_source_masks
from stages.outputs.kinds import METRICS_FILE, OVERLAYS, REPORT, ROWS_FILE
from stages.outputs.places import require_own_folder
from stages.pictures.overlays import draw_overlay, pick_cases
from stages.runtime.devices import resolve_device
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from stages.segmentation.checkpoint import SPLITS_FILE, ModelCard, load_model, require_fit
from stages.segmentation.decisions import decide
from stages.segmentation.instances import InstanceScores, score_instances, split_instances
from stages.segmentation.leakage import leaked_samples
from stages.segmentation.metrics import SampleScores, score_sample
from stages.segmentation.network import Segmenter
from stages.segmentation.score_files import (
    cells_of,
    summarise_instances,
    write_metrics,
    write_rows,
)
from stages.segmentation.scoring import Scored, lost_objects, score_store
from stages.segmentation.split_tables import read_splits
from stages.segmentation.summary import summarise
from stages.settings import EvaluateSettings, Instances
from store import AttentionStore
from store.disk.publish import published_folder
from store.records import IGNORE

BOOTSTRAP_SEED = 0
FEW = 20
"""Number of images below which the bootstrap's interval is clearly too narrow, see `stages.segmentation.bootstrap`."""


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Hold the result of an evaluation; `str()` is the summary that users see."""

    out: Path
    """The report folder."""
    metrics: dict[str, Any]
    """The content of `metrics.json`."""

    def __str__(self) -> str:
        dice, split = self.metrics["dice"], self.metrics["split"]
        lines = [
            f"{self.out}: Dice {_format_interval(dice)} over {counted(self.metrics['n'], 'sample')} of split {split}"
        ]
        if original := self.metrics.get("original"):
            lines.append(f"at original size: Dice {_format_interval(original['dice'])}")
        for title, scores in (
            ("objects", self.metrics),
            ("objects at original size", self.metrics.get("original", {})),
        ):
            if found := scores.get("instances"):
                values = ", ".join(f"{name.upper()} {_format_interval(found[name])}" for name in ("aji", "pq"))
                counts = f"{found['predicted_objects']} predicted, {found['true_objects']} true"
                lines.append(f"{title}: {values}; {counts}")
        if lost := self.metrics.get("lost"):
            lines.append(
                f"note: in {lost} of these samples the store's mask lost a class that the source mask has. These count "
                "as missed\n  (Dice 0 of this class). Extract at a larger --image-size"
            )
        if self.metrics["n"] < FEW:
            few = "1 image is" if self.metrics["n"] == 1 else f"{self.metrics['n']} images are"
            lines.append(
                f"note: {few} few: the 95 % intervals are too narrow. Measured, such "
                "intervals\n  hold the true mean in 64 % of cases for 5 images, 75 % for 8, 80 % for 13, 86 % for 20"
            )
        if self.metrics["includes_training_samples"]:
            lines.append(
                "note: some of these samples, or others of their group, were used in training: these scores are biased"
            )
        return "\n".join(lines)


def run(settings: EvaluateSettings, progress: Progress = SILENT) -> EvaluationReport:
    """Score a run and write the report folder.

    Raises:
        StoreError, CheckpointError: the store or the run cannot be read, or they do not fit each other.
        UsageError: the split is empty, or holds samples that were used in training or to choose the checkpoint; or
            objects are to be scored and the store has none.
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
    inputs = _load_inputs(settings)
    with published_folder(settings.out, ours=REPORT) as folder:
        scored = list(_score_all(inputs, settings.batch_size, progress))
        metrics = _summarise(inputs, scored, settings.split)
        write_metrics(folder / METRICS_FILE, metrics)
        write_rows(folder / ROWS_FILE, [_row(inputs.store, one, settings.split) for one in scored])
        _write_overlays(folder / OVERLAYS, inputs, scored, settings.overlays)
    return EvaluationReport(out=settings.out, metrics=metrics)


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """Hold everything that scoring needs, checked before the first sample is scored."""

    store: AttentionStore
    model: Segmenter
    card: ModelCard
    device: torch.device
    indices: NDArray[np.int64]
    """(sample,) positions in the store of the samples to score."""
    includes_training: bool
    """True if any of these samples, or others of their group, were used in training or to choose the checkpoint."""
    masks: Mapping[str, Sequence[LabelFile]]
    """Source label files by sample id; empty when neither folder nor table was given."""
    rules: LabelRules
    """Meaning of the source label files."""
    instances: Instances
    """Method by which predictions are split into objects; `none` scores no objects."""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """Hold one sample with all of its scores."""

    index: int
    """Position in the store."""
    prediction: NDArray[np.uint8]
    """(row, column) class index, or bits of labels, at the store's size."""
    scores: SampleScores
    """Scores at the store's size."""
    instances: InstanceScores | None
    """Scores of its objects at the store's size; None without `instances` in the settings."""
    original: SampleScores | None
    """Scores at the image's original size; None without its source mask."""
    original_instances: InstanceScores | None
    """Scores of its objects at the original size; None without its source mask, or if they were not asked for."""


def _load_inputs(settings: EvaluateSettings) -> _Inputs:
    """Load the run and open the store, choose the samples, and find their source masks."""
    device = resolve_device(settings.device)
    model, card = load_model(settings.run, device)
    store = AttentionStore.open(settings.store)
    require_fit(card, settings.run, store)
    if settings.instances != "none" and not store.has("instances"):
        raise UsageError(
            f"--instances {settings.instances}: {settings.store} has no objects to compare with.\n"
            "  Extract it with --labels instances, from masks in which every object has its own number."
        )
    indices, includes_training = _choose_samples(store, card, settings)
    return _Inputs(
        store=store,
        model=model,
        card=card,
        device=device,
        indices=indices,
        includes_training=includes_training,
        masks=find_source_masks(
            [str(store.ids[index]) for index in indices],
            store.description.masks,
            masks=settings.masks,
            csv=settings.csv,
        ),
        rules=LabelRules.from_source(store.description.masks, store.classes),
        instances=settings.instances,
    )


def _choose_samples(
    store: AttentionStore, card: ModelCard, settings: EvaluateSettings
) -> tuple[NDArray[np.int64], bool]:
    """Return the positions of the samples to score, and True if any of them are leaked.

    Raises:
        UsageError: no labelled sample is in the split, or leaked samples are among them and were not asked for.
    """
    rows = read_splits(settings.run / SPLITS_FILE, card.splits_sha256)
    split_of = {row["digest"]: row["split"] for row in rows if row["split"]}
    chosen = [
        index
        for index, digest in enumerate(store.column("digest"))
        if store.labelled[index] and settings.split in ("all", split_of.get(str(digest)))
    ]
    if not chosen:
        raise UsageError(
            f"{settings.store}: none of its samples with a mask is in the split `{settings.split}` of {settings.run}.\n"
            "  For a store that was not used in training, use --split all."
        )
    is_leaked = leaked_samples(store, rows, by={"train"} if settings.split == "val" else {"train", "val"})
    leaked = [index for index in chosen if is_leaked[index]]
    if leaked and not settings.include_training:
        some = ", ".join(str(store.ids[index]) for index in leaked[:3])
        raise UsageError(
            f"{settings.run} was trained on {len(leaked)} of these {len(chosen)} samples, or on others of their "
            f"group,\n  or its checkpoint was chosen by them ({some}, …): their scores would be biased.\n"
            "  Use --split test. To score them all the same, add --include-training."
        )
    return np.array(chosen, dtype=np.int64), bool(leaked)


def _score_all(inputs: _Inputs, batch_size: int, progress: Progress) -> Iterator[_Case]:
    """Predict and score the samples in the order of the store."""
    with progress.task("scoring", len(inputs.indices)) as task:
        for scored in score_store(
            inputs.store,
            inputs.indices,
            model=inputs.model,
            card=inputs.card,
            device=inputs.device,
            batch_size=batch_size,
            task=task,
        ):
            original, original_instances = _score_at_original(inputs, scored)
            yield _Case(  # without the probabilities, because those of a large test set would fill the memory
                index=scored.index,
                prediction=scored.prediction,
                scores=scored.scores,
                instances=_score_stored_objects(inputs, scored),
                original=original,
                original_instances=original_instances,
            )


def _score_stored_objects(inputs: _Inputs, scored: Scored) -> InstanceScores | None:
    """Score the objects of one sample at the store's size; None if this was not asked for."""
    if inputs.instances == "none":
        return None
    return score_instances(
        split_instances(scored.prediction == 1, inputs.instances),
        inputs.store.instances([scored.index])[0],
        ignored=scored.truth == IGNORE,
        lost=lost_objects(inputs.store, scored.index),
    )


def _score_at_original(inputs: _Inputs, scored: Scored) -> tuple[SampleScores | None, InstanceScores | None]:
    """Score one sample, and its objects if asked for, at its image's original size against its source mask.

    Raises:
        InputProblemsError: the mask cannot be used.
    """
    store = inputs.store
    files = inputs.masks.get(str(store.ids[scored.index]))
    if files is None:
        return None, None
    size = (int(store.column("height")[scored.index]), int(store.column("width")[scored.index]))
    labels = read_labels(files, inputs.rules, size)
    probabilities = resize_probabilities(scored.probabilities, size)
    prediction = decide(probabilities, multilabel=store.multilabel)
    scores = score_sample(prediction, labels.mask, len(store.classes), multilabel=store.multilabel)
    if inputs.instances == "none" or labels.instances is None:
        return scores, None
    objects = split_instances(prediction == 1, inputs.instances)
    return scores, score_instances(objects, labels.instances, ignored=labels.mask == IGNORE)


def _summarise(inputs: _Inputs, cases: Sequence[_Case], split: str) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    names = inputs.card.classes
    metrics: dict[str, Any] = {
        "split": split,
        "includes_training_samples": inputs.includes_training,
        **summarise([case.scores for case in cases], seed=BOOTSTRAP_SEED, class_names=names),
    }
    if instances := [case.instances for case in cases if case.instances is not None]:
        metrics["instances"] = summarise_instances(instances, seed=BOOTSTRAP_SEED)
    if at_original := [case.original for case in cases if case.original is not None]:
        metrics["original"] = summarise(at_original, seed=BOOTSTRAP_SEED, class_names=names)
        if instances := [case.original_instances for case in cases if case.original_instances is not None]:
            metrics["original"]["instances"] = summarise_instances(instances, seed=BOOTSTRAP_SEED)
    return metrics


def _row(store: AttentionStore, case: _Case, split: str) -> dict[str, str]:
    """Return the row of one sample in `per_sample.csv`."""
    index = case.index
    row = {"id": str(store.ids[index]), "group": str(store.column("group")[index]), "split": split}
    row |= cells_of(case.scores, case.instances)
    if case.original is not None:
        row |= cells_of(case.original, case.original_instances, prefix="original_")
    return row


def _write_overlays(folder: Path, inputs: _Inputs, cases: Sequence[_Case], count: int) -> None:
    """Draw `count` of the worst, the median and the best samples by Dice."""
    folder.mkdir()
    dice = [case.scores.dice for case in cases]
    for kind, chosen in pick_cases(dice, count).items():
        for rank, position in enumerate(chosen, start=1):
            one = cases[position]
            sample = inputs.store[one.index]
            multilabel = inputs.store.multilabel
            picture = draw_overlay(
                sample.image,
                _any_label(sample.mask) if multilabel else sample.mask,
                _any_label(one.prediction) if multilabel else one.prediction,
                2 if multilabel else len(inputs.card.classes),
                caption=f"{sample.id}  Dice {dice[position]:.3f}",
                attention=None if inputs.card.network.branches == "image" else sample.attention,
            )
            picture.save(folder / f"{kind}_{rank}.png")


def _any_label(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 for pixels with a label, 0 for pixels without one, 255 for ignored pixels."""
    return np.where(mask == IGNORE, mask, mask > 0).astype(np.uint8)


def _format_interval(interval: dict[str, Any]) -> str:
    """Return a mean with its interval, such as `0.912 (0.900 to 0.924)`."""
    if interval["mean"] is None:
        return "not defined"
    return f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"

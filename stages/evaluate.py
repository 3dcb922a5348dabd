"""Stage `evaluate`: score a run on samples that it was not trained on.

    out/metrics.json     means over images with intervals; see `stages.segmentation.metrics`
    out/per_sample.csv   the same scores, one row per sample
    out/overlays/        pictures of the worst, the median and the best samples

Scores are computed at the store's resolution. With a folder of source masks they are also computed at each image's
original size: the probabilities are enlarged and compared with the original mask, so the ground truth is never resized.

Leakage is an error. Samples that the run was trained on are rejected, by image and by patient, also in another store
(`stages.segmentation.leakage`). Samples that were used to choose the checkpoint are rejected too, unless `--split val`
asks for them. `--include-training` overrides both; `metrics.json` then records it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.classes import ClassMap
from stages.imaging.masks import read_mask
from stages.imaging.pairing import PairingRule, find_masks
from stages.imaging.resizing import resize_probabilities
from stages.pictures.overlays import draw_overlay, pick_cases
from stages.runtime.devices import resolve_device
from stages.runtime.progress import SILENT, Progress
from stages.segmentation.batches import StreamedSamples, in_order
from stages.segmentation.checkpoint import SPLITS_FILE, ModelCard, load_model, require_fit
from stages.segmentation.inputs import adaptive_batch_for, predict_probabilities
from stages.segmentation.leakage import leaked_samples
from stages.segmentation.metrics import METRICS, SampleScores, score_sample, summarise
from stages.segmentation.network import Segmenter
from stages.segmentation.splits import read_splits
from stages.settings import EvaluateSettings
from store import AttentionStore
from store.disk.publish import holds_only, published_folder

METRICS_FILE = "metrics.json"
ROWS_FILE = "per_sample.csv"
OVERLAYS = "overlays"
BOOTSTRAP_SEED = 0


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Hold the result of an evaluation; `str()` is the summary that users see."""

    out: Path
    """The report folder."""
    metrics: dict[str, Any]
    """The content of `metrics.json`."""

    def __str__(self) -> str:
        dice, split = self.metrics["dice"], self.metrics["split"]
        lines = [f"{self.out}: Dice {_format_interval(dice)} over {self.metrics['n']} samples of split {split}"]
        if original := self.metrics.get("original"):
            lines.append(f"at original size: Dice {_format_interval(original['dice'])}")
        if self.metrics["includes_training_samples"]:
            lines.append(
                "note: some of these samples, or others of their group, were used in training: these scores are biased"
            )
        return "\n".join(lines)


def run(settings: EvaluateSettings, progress: Progress = SILENT) -> EvaluationReport:
    """Score a run and write the report folder.

    Raises:
        StoreError, CheckpointError: the store or the run cannot be read, or they do not fit each other.
        UsageError: the split is empty, or holds samples that were used in training or to choose the checkpoint.
        InputProblemsError: source masks are missing or cannot be used.
    """
    inputs = _load_inputs(settings)
    with published_folder(settings.out, ours=_is_report) as folder:
        scored = list(_score_all(inputs, settings.batch_size, progress))
        metrics = _summarise(inputs, scored, settings.split)
        _write_metrics(folder / METRICS_FILE, metrics)
        _write_rows(folder / ROWS_FILE, inputs.store, scored, settings.split)
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
    masks: dict[str, Path]
    """Source mask by sample id; empty when no folder of masks was given."""


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Hold one sample with its prediction and scores."""

    index: int
    """Position in the store."""
    prediction: NDArray[np.uint8]
    """(row, column) class index at the store's size."""
    scores: SampleScores
    """Scores at the store's size."""
    original: SampleScores | None
    """Scores at the image's original size; None without its source mask."""


def _load_inputs(settings: EvaluateSettings) -> _Inputs:
    """Load the run and open the store, choose the samples, and find their source masks."""
    device = resolve_device(settings.device)
    model, card = load_model(settings.run, device)
    store = AttentionStore.open(settings.store)
    require_fit(card, settings.run, store)
    indices, includes_training = _choose_samples(store, card, settings)
    return _Inputs(
        store=store,
        model=model,
        card=card,
        device=device,
        indices=indices,
        includes_training=includes_training,
        masks=_find_source_masks(store, indices, settings.masks),
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


def _find_source_masks(store: AttentionStore, indices: NDArray[np.int64], folder: Path | None) -> dict[str, Path]:
    """Return the source mask of each sample by id; nothing without a folder.

    Raises:
        InputProblemsError: a sample has no mask in the folder, or several.
    """
    if folder is None:
        return {}
    ids = {str(store.ids[index]) for index in indices}
    files, problems = find_masks(ids, PairingRule.from_dict(store.description.masks.pairing), masks=folder)
    masks = {identifier: labels[0].path for identifier, labels in files.items()}
    problems += [Problem(str(folder), f"no mask for `{missing}`") for missing in sorted(ids - masks.keys())]
    if problems:
        raise InputProblemsError(problems, "Give the folder that the store was extracted from, or leave --masks out.")
    return masks


def _score_all(inputs: _Inputs, batch_size: int, progress: Progress) -> Iterator[_Scored]:
    """Predict and score the samples in the order of the store, batch by batch."""
    store, card = inputs.store, inputs.card
    classes = ClassMap.from_mapping(values) if (values := store.description.mask_values) else ClassMap.binary()
    order = in_order(inputs.indices, batch_size)
    adaptive_batch = adaptive_batch_for(batch_size, card.network, inputs.device)
    with progress.task("scoring", len(inputs.indices)) as task:
        for positions, batch in zip(order, StreamedSamples(store, inputs.device).batches(order), strict=True):
            probabilities = predict_probabilities(inputs.model, batch, card.attention_norm, adaptive_batch)
            truths = batch.mask.cpu().numpy()
            for index, probability, truth in zip(positions.tolist(), probabilities.cpu().numpy(), truths, strict=True):
                prediction = probability.argmax(axis=0).astype(np.uint8)
                mask = inputs.masks.get(str(store.ids[index]))
                yield _Scored(
                    index=index,
                    prediction=prediction,
                    scores=score_sample(prediction, truth, len(card.classes)),
                    original=None if mask is None else _score_at_original(store, index, probability, mask, classes),
                )
                task.advance()


def _score_at_original(
    store: AttentionStore, index: int, probability: NDArray[np.float32], mask: Path, classes: ClassMap
) -> SampleScores:
    """Score one sample at its image's original size against its source mask.

    Args:
        store: Holds the original height and width.
        index: Position in the store.
        probability: (class, row, column) float32 at the store's size.
        mask: The source mask file.
        classes: Meaning of the values in the mask file.

    Raises:
        InputProblemsError: the mask cannot be used.
    """
    size = (int(store.column("height")[index]), int(store.column("width")[index]))
    truth = read_mask(mask, classes, size)
    prediction = resize_probabilities(probability, size).argmax(axis=0).astype(np.uint8)
    return score_sample(prediction, truth, len(classes.names))


def _summarise(inputs: _Inputs, scored: Sequence[_Scored], split: str) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    metrics: dict[str, Any] = {
        "split": split,
        "includes_training_samples": inputs.includes_training,
        **summarise([one.scores for one in scored], seed=BOOTSTRAP_SEED, class_names=inputs.card.classes),
    }
    if inputs.masks:
        at_original = [one.original for one in scored if one.original is not None]
        metrics["original"] = summarise(at_original, seed=BOOTSTRAP_SEED, class_names=inputs.card.classes)
    return metrics


def _write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def _write_rows(path: Path, store: AttentionStore, scored: Sequence[_Scored], split: str) -> None:
    """Write one row per sample; a score that is not defined (see `metrics`) is an empty cell."""
    with_original = any(one.original is not None for one in scored)
    columns = [*METRICS, *(f"original_{metric}" for metric in METRICS if with_original)]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "group", "split", *columns])
        for one in scored:
            values = [getattr(one.scores, metric) for metric in METRICS]
            if with_original:
                values += [getattr(one.original, metric, math.nan) for metric in METRICS]
            cells = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
            table.writerow([store.ids[one.index], store.column("group")[one.index], split, *cells])


def _write_overlays(folder: Path, inputs: _Inputs, scored: Sequence[_Scored], count: int) -> None:
    """Draw `count` of the worst, the median and the best samples by Dice."""
    folder.mkdir()
    dice = [one.scores.dice for one in scored]
    for kind, chosen in pick_cases(dice, count).items():
        for rank, position in enumerate(chosen, start=1):
            one = scored[position]
            sample = inputs.store[one.index]
            picture = draw_overlay(
                sample.image,
                sample.mask,
                one.prediction,
                len(inputs.card.classes),
                caption=f"{sample.id}  Dice {dice[position]:.3f}",
                attention=None if inputs.card.network.branches == "image" else sample.attention,
            )
            picture.save(folder / f"{kind}_{rank}.png")


def _is_report(folder: Path) -> bool:
    """Return True if the folder holds nothing but an earlier report, so that it may be replaced."""
    return holds_only(folder, {METRICS_FILE, ROWS_FILE, OVERLAYS})


def _format_interval(interval: dict[str, Any]) -> str:
    """Return a mean with its interval, such as `0.912 (0.900 to 0.924)`."""
    if interval["mean"] is None:
        return "not defined"
    return f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"

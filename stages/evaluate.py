"""The stage `evaluate`: how good a run is on samples it was not trained on.

    out/metrics.json     means over images with intervals; see `stages.segmentation.metrics`
    out/per_sample.csv   the same scores, one row per sample
    out/overlays/        pictures of the worst, the median and the best samples

Scores are at the store's resolution, and, with a folder of source masks, at the images' own: there the
probabilities are enlarged and the original mask is the truth, so nothing is lost to resizing the truth.

What a run was trained on is refused, by image and by patient, also in another store (`stages.segmentation.leakage`);
and so is what its checkpoint was chosen by, unless `--split val` asks for it. Where that was allowed explicitly,
`metrics.json` says so.
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
from stages.imaging.pairing import MASK_ENDINGS, find_masks
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
class Scored:
    """One sample with its prediction and scores."""

    index: int
    """Position in the store."""
    prediction: NDArray[np.uint8]
    """(row, column) class index at the store's size."""
    scores: SampleScores
    original: SampleScores | None
    """At the image's own size; None where its source mask is not at hand."""


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """What an evaluation came to."""

    out: Path
    metrics: dict[str, Any]

    def __str__(self) -> str:
        dice, split = self.metrics["dice"], self.metrics["split"]
        lines = [f"{self.out}: Dice {_told(dice)} over {self.metrics['n']} samples of split {split}"]
        if original := self.metrics.get("original"):
            lines.append(f"at original size: Dice {_told(original['dice'])}")
        if self.metrics["includes_training_samples"]:
            lines.append(
                "note: the run has seen some of these samples, or others of their group; this is no honest score"
            )
        return "\n".join(lines)


def run(settings: EvaluateSettings, progress: Progress = SILENT) -> EvaluationReport:
    """Score a run and write the report folder.

    Raises:
        StoreError, CheckpointError: store or run cannot be read, or do not fit each other.
        UsageError: the split is empty, or holds samples that the run was trained on.
        InputProblemsError: source masks that cannot be used, all of them.
    """
    device = resolve_device(settings.device)
    model, card = load_model(settings.run, device)
    store = AttentionStore.open(settings.store)
    require_fit(card, settings.run, store)
    indices, includes_training = _choose(store, card, settings)
    masks = _source_masks(store, indices, settings.masks)
    with published_folder(settings.out, ours=_is_report) as folder:
        scored = list(_score_all(store, indices, masks, model, card, settings, device, progress))
        metrics: dict[str, Any] = {
            "split": settings.split,
            "includes_training_samples": includes_training,
            **summarise([one.scores for one in scored], seed=BOOTSTRAP_SEED, class_names=card.classes),
        }
        if masks:
            at_original = [one.original for one in scored if one.original is not None]
            metrics["original"] = summarise(at_original, seed=BOOTSTRAP_SEED, class_names=card.classes)
        (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        _write_rows(folder / ROWS_FILE, store, scored, settings.split)
        _write_overlays(folder / OVERLAYS, store, scored, card, settings.overlays)
    return EvaluationReport(out=settings.out, metrics=metrics)


def _told(interval: dict[str, Any]) -> str:
    if interval["mean"] is None:
        return "not defined"
    return f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def _is_report(folder: Path) -> bool:
    return holds_only(folder, {METRICS_FILE, ROWS_FILE, OVERLAYS})


def _choose(store: AttentionStore, card: ModelCard, settings: EvaluateSettings) -> tuple[NDArray[np.int64], bool]:
    """Positions of the samples to score, and whether the run has seen any of them."""
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
            "  For a store that the run has not seen, use --split all."
        )
    is_seen = leaked_samples(store, rows, by={"train"} if settings.split == "val" else {"train", "val"})
    seen = [index for index in chosen if is_seen[index]]
    if seen and not settings.include_training:
        some = ", ".join(str(store.ids[index]) for index in seen[:3])
        raise UsageError(
            f"{settings.run} was trained on {len(seen)} of these {len(chosen)} samples, or on others of their group,\n"
            f"  or its checkpoint was chosen by them ({some}, …): their scores would not be honest.\n"
            "  Use --split test, or say --include-training if that is what you want to see."
        )
    return np.array(chosen, dtype=np.int64), bool(seen)


def _source_masks(store: AttentionStore, indices: NDArray[np.int64], folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    ids = {str(store.ids[index]) for index in indices}
    pairing = store.description.masks.pairing or {}
    masks, problems = find_masks(folder, ids, pairing.get("endings", MASK_ENDINGS))
    problems += [Problem(str(folder), f"no mask for `{missing}`") for missing in sorted(ids - masks.keys())]
    if problems:
        raise InputProblemsError(problems, "Give the folder that the store was extracted from, or leave --masks out.")
    return masks


def _score_all(
    store: AttentionStore,
    indices: NDArray[np.int64],
    masks: dict[str, Path],
    model: Segmenter,
    card: ModelCard,
    settings: EvaluateSettings,
    device: torch.device,
    progress: Progress,
) -> Iterator[Scored]:
    classes = ClassMap.from_mapping(values) if (values := store.description.mask_values) else ClassMap.binary()
    order = in_order(indices, settings.batch_size)
    portions = adaptive_batch_for(settings.batch_size, card.network, device)
    with progress.task("scoring", len(indices)) as task:
        for positions, batch in zip(order, StreamedSamples(store, device).batches(order), strict=True):
            probabilities = predict_probabilities(model, batch, card.attention_norm, portions).cpu().numpy()
            truths = batch.mask.cpu().numpy()
            for index, probability, truth in zip(positions.tolist(), probabilities, truths, strict=True):
                prediction = probability.argmax(axis=0).astype(np.uint8)
                mask = masks.get(str(store.ids[index]))
                yield Scored(
                    index=index,
                    prediction=prediction,
                    scores=score_sample(prediction, truth, len(card.classes)),
                    original=None if mask is None else _score_at_original(store, index, probability, mask, classes),
                )
                task.advance()


def _score_at_original(
    store: AttentionStore, index: int, probability: NDArray[np.float32], mask: Path, classes: ClassMap
) -> SampleScores:
    size = (int(store.column("height")[index]), int(store.column("width")[index]))
    truth = read_mask(mask, classes, size)
    prediction = resize_probabilities(probability, size).argmax(axis=0).astype(np.uint8)
    return score_sample(prediction, truth, len(classes.names))


def _write_rows(path: Path, store: AttentionStore, scored: Sequence[Scored], split: str) -> None:
    """One row per sample; a score that is not defined (see `metrics`) is left empty."""
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


def _write_overlays(folder: Path, store: AttentionStore, scored: Sequence[Scored], card: ModelCard, count: int) -> None:
    folder.mkdir()
    dice = [one.scores.dice for one in scored]
    for kind, chosen in pick_cases(dice, count).items():
        for rank, position in enumerate(chosen, start=1):
            one = scored[position]
            sample = store[one.index]
            picture = draw_overlay(
                sample.image,
                sample.mask,
                one.prediction,
                len(card.classes),
                caption=f"{sample.id}  Dice {dice[position]:.3f}",
                attention=None if card.network.branches == "image" else sample.attention,
            )
            picture.save(folder / f"{kind}_{rank}.png")

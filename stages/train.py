"""The stage `train`: train a segmentation model from an attention store. It never imports a transformer.

    out/model.safetensors    weights of the best epoch on the validation samples, and all that is needed to use them
    out/state.safetensors    weights and optimiser of the last epoch
    out/history.csv          one row per epoch
    out/splits.csv           the split of every sample
    out/dvclive/             the same history for DVC's tools, in a DVC repository

Training works in a hidden folder beside `out`, which replaces `out` after the last epoch. So the previous model stays
until then, and DVC may clear its outputs. `--resume` finds the state of an interrupted run in the hidden folder; only
the last seconds and the epoch in progress are lost. All random numbers of an epoch come from (seed, epoch): on a CPU, a
resumed run gives the same weights as an uninterrupted one, bit for bit.

With `folds` several such runs are trained, each tested on another part of the samples; see
`stages.segmentation.folds`. They work in one hidden folder, and finished folds are not trained again by `--resume`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.errors import UsageError
from stages.runs.live_log import live_log
from stages.runs.work_folder import WorkFolder, work_folder
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.progress import SILENT, Progress, Task
from stages.segmentation.checkpoint import SPLITS_FILE, STATE_FILE, is_run, load_model, load_state
from stages.segmentation.folds import fold_name, fold_splits, is_cross_validation, write_summary
from stages.segmentation.near_duplicates import across_splits
from stages.segmentation.scoring import Scored, score_store
from stages.segmentation.splits import resolve_rule, split_by_csv, split_by_rule, write_splits
from stages.segmentation.trainer import COLUMNS, SegmentationTrainer, TrainingReport, splits_digest
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import explain_disk_failures, refuse_foreign, replace_folder, restore_replaced

NAMED = 3
"""Number of pairs of images that a note names."""


@dataclass(frozen=True, kw_only=True)
class CrossValidationReport:
    """Summary of a finished cross-validation."""

    out: Path
    metrics: dict[str, Any]
    """The content of `metrics.json`."""
    notes: Sequence[str]

    def __str__(self) -> str:
        dice = self.metrics["dice"]
        mean = f"Dice {dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})"
        folds = len(self.metrics["folds"])
        lines = [
            f"{self.out}: {mean} over {self.metrics['n']} samples, each by the one of {folds} models that did not see it"
        ]
        lines += [
            f"fold {one['fold']}: Dice {one['dice']['mean']:.3f} over {one['n']}" for one in self.metrics["folds"]
        ]
        return "\n".join([*lines, *self.notes])


def run(settings: TrainSettings, progress: Progress = SILENT) -> TrainingReport | CrossValidationReport:
    """Train a segmentation model and put the run at `settings.out`; with `folds` a model for each fold.

    Raises:
        StoreError: the store cannot be read.
        UsageError: there is nothing to train on, or `out` holds something that is not a run.
        CheckpointError: the run cannot be resumed: its state is damaged, or settings or data differ.
        PipelineError: the loss is not finite, memory or disk space ran out, or another run works on the same output.
    """
    store = AttentionStore.open(settings.store)
    if not store.labelled.any():
        raise UsageError(
            f"{settings.store}: no sample has a mask, so there is nothing to learn from.\n"
            "  Extract a store with --masks."
        )
    if settings.folds:
        return _run_folds(settings, store, progress)
    splits = _split(store, settings)
    epochs = settings.epochs * splits.count("train")
    with progress.task("training", epochs, unit="samples") as task:
        report = _run_once(settings, store, splits, task)
    return replace(report, notes=[*report.notes, *_notes(store, splits, settings)])


def _run_once(settings: TrainSettings, store: AttentionStore, splits: list[str], task: Task) -> TrainingReport:
    """Train one model and put the run at `settings.out`."""
    device = resolve_device(settings.device)
    refuse_foreign(settings.out, is_run)
    trainer = SegmentationTrainer(settings, store, splits, device)
    out = settings.out.resolve()
    with (
        work_folder(out, "training") as work,
        explain_out_of_memory(_out_of_memory_message(settings, device)),
        explain_disk_failures(settings.out),
    ):
        restore_replaced(out)
        if settings.resume and _resume(trainer, work, out):
            work.remove()
            return trainer.report(out)
        if not trainer.history:
            work.clear()
        write_splits(work.path / SPLITS_FILE, store, splits)
        _train(trainer, work, task)
        trainer.finish(work.path)
        replace_folder(work.path, out, ours=is_run)
    return trainer.report(out)


def _run_folds(settings: TrainSettings, store: AttentionStore, progress: Progress) -> CrossValidationReport:
    """Train a model for every fold, predict every sample by the model that did not see it, and summarise."""
    if settings.folds == 1:
        raise UsageError("--folds 1: one fold leaves nothing to train on. Use 2 or more, or leave --folds out.")
    if settings.split_csv is not None:
        raise UsageError("--folds divides the samples itself. Give --folds or --split-csv, not both.")
    refuse_foreign(settings.out, is_cross_validation)
    divisions = fold_splits(store, folds=settings.folds, seed=settings.split_seed, val=settings.val)
    steps = settings.epochs * sum(splits.count("train") for splits in divisions)
    out = settings.out.resolve()
    scored: list[list[Scored]] = []
    with work_folder(out, "folds", keep=_holds_folds) as work, explain_disk_failures(settings.out):
        restore_replaced(out)
        if not settings.resume:
            work.clear()
        with progress.task("training", steps, unit="samples") as task:
            for number, splits in enumerate(divisions, start=1):
                one = replace(settings, out=work.path / fold_name(number))
                _run_once(one, store, splits, task)
        with progress.task("scoring", int(store.labelled.sum())) as task:
            for number, splits in enumerate(divisions, start=1):
                scored.append(_score(settings, store, splits, work.path / fold_name(number), task))
        metrics = write_summary(work.path, store, scored)
        replace_folder(work.path, out, ours=is_cross_validation)
    return CrossValidationReport(out=settings.out, metrics=metrics, notes=_fold_notes(store, divisions))


def _score(settings: TrainSettings, store: AttentionStore, splits: list[str], run: Path, task: Task) -> list[Scored]:
    """Predict and score the test part of one fold."""
    device = resolve_device(settings.device)
    model, card = load_model(run, device)
    indices = np.flatnonzero(np.array(splits) == "test").astype(np.int64)
    return list(
        score_store(store, indices, model=model, card=card, device=device, batch_size=settings.batch_size, task=task)
    )


def _holds_folds(folder: Path) -> bool:
    """Return True if a working folder holds folds, finished or not, that can be resumed."""
    return any(folder.glob("fold*")) or any(folder.glob(".fold*"))


def _split(store: AttentionStore, settings: TrainSettings) -> list[str]:
    """Return the split of every sample of the store, "" for samples without a split."""
    if settings.split_csv is not None:
        return split_by_csv(store, settings.split_csv)

    def by(rule: str) -> list[str]:
        return split_by_rule(
            store,
            rule="hash" if rule == "hash" else "exact",
            seed=settings.split_seed,
            val=settings.val,
            test=settings.test,
        )

    rule = resolve_rule(store, settings.split_rule)
    if settings.resume and settings.split_rule == "auto" and rule == "exact":
        # A run that was interrupted before there was this rule was split by the hash. It goes on with the same splits.
        recorded = _recorded_splits(settings)
        splits = by("exact")
        if recorded is not None and recorded != splits_digest(splits) and recorded == splits_digest(by("hash")):
            return by("hash")
        return splits
    return by(rule)


def _recorded_splits(settings: TrainSettings) -> str | None:
    """Return the digest of the splits in the state of the run that is resumed; None if there is no state."""
    out = settings.out.resolve()
    for state in (WorkFolder.beside(out, "training").state, out / STATE_FILE):
        if state.is_file():
            return str(load_state(state).settings.get("splits"))
    return None


def _notes(store: AttentionStore, splits: list[str], settings: TrainSettings) -> list[str]:
    """Return the sentences about the splits that a user should know."""
    notes = []
    if settings.split_csv is None:
        rule = resolve_rule(store, settings.split_rule)
        text = {"exact": "exact sizes, foreground alike in all splits", "hash": "a hash of each group"}[rule]
        notes.append(f"split by {text} (--split-rule {rule})")
    return [*notes, *_duplicates(across_splits(store, splits))]


def _fold_notes(store: AttentionStore, divisions: Sequence[Sequence[str]]) -> list[str]:
    """Return the note about images that look the same and are in different folds."""
    fold_of = [
        next((fold_name(number) for number, splits in enumerate(divisions, start=1) if splits[index] == "test"), "")
        for index in range(len(store))
    ]
    return _duplicates(across_splits(store, fold_of))


def _duplicates(pairs: Sequence[tuple[str, str, str, str]]) -> list[str]:
    if not pairs:
        return []
    some = "; ".join(f"{one} in {place}, {other} in {other_place}" for one, place, other, other_place in pairs[:NAMED])
    more = "; …" if len(pairs) > NAMED else ""
    count = f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''}"
    text = (
        f"note: {count} of images in different parts look the same ({some}{more}): scores may be too high. "
        "Give them one group (--csv with a column `group`), or remove one of each."
    )
    return [text]


def _resume(trainer: SegmentationTrainer, work: WorkFolder, out: Path) -> bool:
    """Restore an interrupted run, if there is one. Return True if the run at `out` is this run and has finished."""
    if work.state.is_file():
        state = load_state(work.state)
        if not (_is_finished(trainer, out) and not trainer.identity().matches(state.settings)):
            trainer.restore(state, work.path)
            return False
        # A run that was killed in the final exchange leaves the previous run in the working folder.
    if (out / STATE_FILE).is_file():
        trainer.restore(load_state(out / STATE_FILE), out)
        return True
    return False


def _is_finished(trainer: SegmentationTrainer, out: Path) -> bool:
    """Return whether the run that is asked for is at `out` with all its epochs."""
    if not (out / STATE_FILE).is_file():
        return False
    state = load_state(out / STATE_FILE)
    return trainer.identity().matches(state.settings) and state.done == trainer.settings.epochs


def _train(trainer: SegmentationTrainer, work: WorkFolder, task: Task) -> None:
    """Run the epochs that are left, and save the state from time to time."""
    done, epochs = len(trainer.history), trainer.settings.epochs
    figures = [name for name in COLUMNS if name != "epoch"]
    task.advance(done * len(trainer.indices["train"]))
    with live_log(work.path, trainer.history, figures) as log:
        for epoch in range(done + 1, epochs + 1):
            row = trainer.run_epoch(epoch, task)
            trainer.save_if_due(work.path)
            log(row)


def _out_of_memory_message(settings: TrainSettings, device: torch.device) -> str:
    return (
        f"{settings.out}: not enough memory on {device} to train with batches of {settings.batch_size}.\n"
        "  Start anew with a smaller --batch-size (a resumed run keeps its own); or end other programs that use memory "
        "and continue with --resume."
    )

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

Under `torchrun` several processes train together, see `stages.segmentation.following`. The first one does all that this
file describes; the others return the report of the last training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.errors import CheckpointError, UsageError
from stages.outputs.kinds import CROSS_VALIDATION, RUN
from stages.outputs.places import require_own_folder
from stages.runs.live_log import live_log
from stages.runs.whole_store import require_whole
from stages.runs.work_folder import WorkFolder, work_folder
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.processes import Processes, joined
from stages.runtime.progress import SILENT, Progress, Task
from stages.runtime.wording import counted
from stages.segmentation.budget import Budget
from stages.segmentation.checkpoint import SPLITS_FILE, STATE_FILE, load_model, load_state
from stages.segmentation.compact_splits import CompactSplits
from stages.segmentation.fold_predictions import require_file_names
from stages.segmentation.folds import fold_name, fold_splits, is_cross_validation, write_summary
from stages.segmentation.following import (
    agree_on,
    announce_end,
    announce_training,
    follow,
    out_of_memory_message,
)
from stages.segmentation.interval_text import figure, interval_text
from stages.segmentation.labelled_subset import labelled_subset
from stages.segmentation.near_duplicates import across_splits
from stages.segmentation.recorded_runs import recorded_splits, with_started_defaults, with_started_epochs
from stages.segmentation.score_files import SCORES_FILE, read_scores
from stages.segmentation.score_text import honest_lines, note_lines
from stages.segmentation.scoring import Scored, score_store
from stages.segmentation.split_notes import (
    describe_rule,
    duplicate_notes,
    fold_duplicate_notes,
    fold_notes,
    fold_store_notes,
    store_notes,
)
from stages.segmentation.split_tables import splits_digest, write_splits
from stages.segmentation.splits import resolve_rule, split_by_csv, split_by_rule
from stages.segmentation.trainer import COLUMNS, SegmentationTrainer
from stages.segmentation.training_report import TrainingReport
from stages.segmentation.unlabelled_samples import mark_unlabelled
from stages.settings import SplitRule, TrainSettings
from store import AttentionStore
from store.disk.contents import Output, refuse_foreign
from store.disk.publish import explain_disk_failures, replace_folder, restore_replaced
from store.disk.regular import present


@dataclass(frozen=True, kw_only=True)
class CrossValidationReport:
    """Summarise a finished cross-validation; `str()` is the text that users see."""

    out: Path
    metrics: dict[str, Any]
    """The content of `scores.json`."""
    notes: Sequence[str]

    def __str__(self) -> str:
        folds, spread = self.metrics["folds"], self.metrics["fold_dice"]
        samples = counted(self.metrics["n"], "sample")
        lines = [
            f"{self.out}: Dice {interval_text(self.metrics['dice'])}",
            f"{samples}, each predicted by the one of {len(folds)} models that did not see it",
            *(
                f"fold {one['fold']}: Dice {figure(one['dice']['mean'])} over {counted(one['n'], 'sample')}"
                for one in folds
            ),
            f"mean of the folds {figure(spread['mean'])}, standard deviation {figure(spread['sd'])}",
            *honest_lines(self.metrics),
            *note_lines(self.metrics),
        ]
        return "\n".join([*lines, *self.notes])


def run(settings: TrainSettings, progress: Progress = SILENT) -> TrainingReport | CrossValidationReport:
    """Train a segmentation model and put the run at `settings.out`; with `folds` a model for each fold.

    Raises:
        StoreError: the store cannot be read.
        UsageError: there is nothing to train on, or `out` holds something that is not a run, or lies inside another
            output.
        CheckpointError: the run cannot be resumed: its state is damaged, or settings or data differ.
        PipelineError: the loss is not finite, memory or disk space ran out, or another run works on the same output.
    """
    with joined(settings.device) as processes:
        if processes.leads:
            _require_place(settings, CROSS_VALIDATION if settings.folds else RUN)
        store = AttentionStore.open(settings.store)
        require_whole(store)
        _require_labels(settings, store)
        agree_on(settings, store, processes)
        if not processes.leads:
            return follow(settings, store, processes)
        report = _lead(settings, store, progress, processes)
        announce_end(processes)
    return report


def _require_labels(settings: TrainSettings, store: AttentionStore) -> None:
    """Make sure that the store has masks to learn from."""
    if not store.labelled.any():
        raise UsageError(
            f"{settings.store}: no sample has a mask, so there is nothing to learn from.\n"
            "  Extract a store with --masks."
        )


def _lead(
    settings: TrainSettings, store: AttentionStore, progress: Progress, processes: Processes
) -> TrainingReport | CrossValidationReport:
    """Train, and put the result at `settings.out`; the other processes follow."""
    if settings.folds:
        return _run_folds(settings, store, progress, processes)
    splits, rule = _split(store, settings)
    settings, kept = with_started_epochs(settings, {settings.out: splits})
    settings, defaults = with_started_defaults(settings, [settings.out])
    notes = [
        *rule,
        *kept,
        *defaults,
        *store_notes(store, splits, settings),
        *duplicate_notes(across_splits(store, splits)),
    ]  # now: after the training nothing may fail any more
    with progress.task("training", _samples_seen(settings, splits), unit="samples") as task:
        report = _run_once(settings, store, splits, task, processes)
    return replace(report, notes=[*report.notes, *notes])


def _require_place(settings: TrainSettings, kind: Output) -> None:
    """Make sure that the run can be put at `settings.out`, and that its working folder holds nothing of the user's."""
    require_own_folder(
        settings.out, kind, option="--out", others={"--store": settings.store, "--split-csv": settings.split_csv}
    )
    WorkFolder.beside(settings.out.resolve(), "folds" if settings.folds else "training").refuse_foreign()


def _run_once(
    settings: TrainSettings, store: AttentionStore, splits: Sequence[str], task: Task, processes: Processes
) -> TrainingReport:
    """Train one model and put the run at `settings.out`."""
    device = processes.device or resolve_device(settings.device)
    refuse_foreign(settings.out, RUN)
    trainer = SegmentationTrainer(settings, store, splits, device, processes)
    out = settings.out.resolve()
    with (
        work_folder(out, "training") as work,
        explain_out_of_memory(out_of_memory_message(settings, device)),
        explain_disk_failures(settings.out),
    ):
        restore_replaced(out, RUN)
        finished = settings.resume and _resume(trainer, work, out)
        announce_training(trainer, splits)
        if len(trainer.history) == trainer.budget.epochs:
            trainer.try_best_model()  # the report says again what is wrong with the model
        if finished:
            work.remove()
            task.advance(trainer.budget.samples_until(trainer.budget.epochs))
            return trainer.report()
        if not trainer.history:
            work.clear()
        write_splits(work.path / SPLITS_FILE, store, splits)
        _train(trainer, work, task)
        trainer.finish(work.path)
        replace_folder(work.path, out, ours=RUN)
    return trainer.report()


def _run_folds(
    settings: TrainSettings, store: AttentionStore, progress: Progress, processes: Processes
) -> CrossValidationReport:
    """Train a model for every fold, predict every sample by the model that did not see it, and summarise."""
    if settings.folds == 1:
        raise UsageError("--folds 1: one fold leaves nothing to train on. Use 2 or more, or leave --folds out.")
    if settings.split_csv is not None:
        raise UsageError("--folds divides the samples itself. Give --folds or --split-csv, not both.")
    require_file_names(store)
    divisions = [
        _drawn(store, settings, splits)
        for splits in fold_splits(store, folds=settings.folds, seed=settings.split_seed, val=settings.val)
    ]
    out = settings.out.resolve()
    with work_folder(out, "folds", keep=_holds_folds) as work, explain_disk_failures(settings.out):
        restore_replaced(out, CROSS_VALIDATION)
        finished = settings.resume and not _holds_folds(work.path) and out.is_dir() and is_cross_validation(out)
        folder = out if finished else work.path
        if not settings.resume:
            work.clear()
        runs = {folder / fold_name(number): splits for number, splits in enumerate(divisions, start=1)}
        settings, kept = with_started_epochs(settings, runs)
        settings, defaults = with_started_defaults(settings, list(runs))
        known = [*fold_store_notes(store, divisions, settings), *fold_duplicate_notes(store, divisions)]
        samples = sum(_samples_seen(settings, splits) for splits in divisions)
        with progress.task("training", samples, unit="samples") as task:
            reports = [
                _run_once(replace(settings, out=fold), store, splits, task, processes) for fold, splits in runs.items()
            ]
        if finished:
            work.remove()
            metrics = _finished_scores(out)
        else:
            with progress.task("scoring", int(store.labelled.sum())) as task:
                device = processes.device or resolve_device(settings.device)
                scored = (_score(settings, store, splits, fold, task, device) for fold, splits in runs.items())
                metrics = write_summary(folder, store, scored)
            replace_folder(folder, out, ours=CROSS_VALIDATION)
    notes = fold_notes(fewest=min(report.samples["val"] for report in reports))
    return CrossValidationReport(out=settings.out, metrics=metrics, notes=[*notes, *kept, *defaults, *known])


def _finished_scores(out: Path) -> dict[str, Any]:
    """Return the summary of a finished cross-validation, of this or an earlier version.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        scores = read_scores(out)
        str(CrossValidationReport(out=out, metrics=scores, notes=[]))
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be read ({error.strerror}).\n  Start without --resume.") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(f"{out / SCORES_FILE}: is damaged or was changed.\n  Start without --resume.") from None
    return scores


def _score(
    settings: TrainSettings, store: AttentionStore, splits: Sequence[str], run: Path, task: Task, device: torch.device
) -> Iterator[Scored]:
    """Predict and score the test part of one fold, sample by sample."""
    model, card = load_model(run, device)
    indices = np.flatnonzero(np.array(splits, object) == "test").astype(np.int64)
    return score_store(store, indices, model=model, card=card, device=device, batch_size=settings.batch_size, task=task)


def _holds_folds(folder: Path) -> bool:
    """Return True if a working folder holds folds, finished or not, that can be resumed."""
    return any(folder.glob("fold*")) or any(folder.glob(".fold*"))


def _split(store: AttentionStore, settings: TrainSettings) -> tuple[CompactSplits, list[str]]:
    """Return the split of every sample ("" for samples without one), and a sentence about the rule, if there is a rule.

    Raises:
        CheckpointError: the settings ask for another rule than the one that the resumed run was started with.
    """
    if settings.split_csv is not None:
        return _drawn(store, settings, split_by_csv(store, settings.split_csv)), []

    def by_rule(rule: SplitRule) -> CompactSplits:
        splits = split_by_rule(store, rule=rule, seed=settings.split_seed, val=settings.val, test=settings.test)
        return _drawn(store, settings, splits)

    rule = resolve_rule(store, settings.split_rule)
    recorded = recorded_splits(settings.out) if settings.resume else None
    other: SplitRule = "exact" if rule == "hash" else "hash"
    with contextlib.suppress(UsageError):  # the other rule may fail for these samples
        if recorded is not None and recorded == splits_digest(earlier := by_rule(other)):
            if settings.split_rule == "auto":  # all runs of version 0.2 and before were split by the hash
                return earlier, [f"split by the rule that the run was started with (--split-rule {other})"]
            if recorded != splits_digest(by_rule(rule)):
                raise CheckpointError(
                    f"{settings.out}: the run was started with --split-rule {other}, and other splits would mix "
                    f"training and test samples.\n  Resume with --split-rule {other}, or start anew without --resume."
                )
    return by_rule(rule), [describe_rule(settings, rule)]


def _drawn(store: AttentionStore, settings: TrainSettings, splits: Sequence[str]) -> CompactSplits:
    """Return the splits with only the labels that are asked for, and with the unlabelled samples that are learnt from.

    Raises:
        UsageError: there are fewer training samples, or no unlabelled ones.
    """
    drawn = labelled_subset(store, splits, count=settings.labels, seed=settings.seed)
    return CompactSplits(mark_unlabelled(store, splits, drawn, wanted=settings.unlabelled))


def _samples_seen(settings: TrainSettings, splits: Sequence[str]) -> int:
    """Return how many samples a training with these splits trains on, repeats included."""
    budget = Budget.of(settings, splits.count("train"))
    return budget.samples_until(budget.epochs)


def _resume(trainer: SegmentationTrainer, work: WorkFolder, out: Path) -> bool:
    """Restore an interrupted run, if there is one. Return True if the run at `out` is this run and has finished."""
    if present(work.state):
        state = load_state(work.state)
        if not (_is_finished(trainer, out) and not trainer.identity().matches(state.settings)):
            trainer.restore(state, work.path)
            return False
        # A run that was killed in the final exchange leaves the previous run in the working folder.
    if present(out / STATE_FILE):
        trainer.restore(load_state(out / STATE_FILE), out)
        load_model(out, torch.device("cpu"))  # a finished run is a model that can be used
        return True
    return False


def _is_finished(trainer: SegmentationTrainer, out: Path) -> bool:
    """Return whether the run that is asked for is at `out` with all its epochs."""
    if not present(out / STATE_FILE):
        return False
    state = load_state(out / STATE_FILE)
    return trainer.identity().matches(state.settings) and state.done == trainer.budget.epochs


def _train(trainer: SegmentationTrainer, work: WorkFolder, task: Task) -> None:
    """Run the epochs that are left, and save the state from time to time."""
    done, epochs, figures = len(trainer.history), trainer.budget.epochs, [name for name in COLUMNS if name != "epoch"]
    task.advance(trainer.budget.samples_until(done))
    with live_log(work.path, trainer.history, figures, offline=trainer.settings.offline) as log:
        for epoch in range(done + 1, epochs + 1):
            row = trainer.run_epoch(epoch, task)
            if epoch == epochs:  # before its state is saved: what failed here would fail again after --resume
                trainer.try_best_model()
            trainer.save_if_due(work.path)
            log(row)

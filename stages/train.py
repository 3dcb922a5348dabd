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
"""

from __future__ import annotations

from pathlib import Path

import torch

from stages.errors import UsageError
from stages.runs.live_log import live_log
from stages.runs.work_folder import WorkFolder, work_folder
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.progress import SILENT, Progress
from stages.segmentation.checkpoint import SPLITS_FILE, STATE_FILE, is_run, load_state
from stages.segmentation.splits import split_by_csv, split_by_hash, write_splits
from stages.segmentation.trainer import COLUMNS, SegmentationTrainer, TrainingReport
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import explain_disk_failures, refuse_foreign, replace_folder, restore_replaced


def run(settings: TrainSettings, progress: Progress = SILENT) -> TrainingReport:
    """Train a segmentation model and put the run at `settings.out`.

    Raises:
        StoreError: the store cannot be read.
        UsageError: there is nothing to train on, or `out` holds something that is not a run.
        CheckpointError: the run cannot be resumed: its state is damaged, or settings or data differ.
        PipelineError: the loss is not finite, memory or disk space ran out, or another run works on the same output.
    """
    device = resolve_device(settings.device)
    refuse_foreign(settings.out, is_run)
    store = AttentionStore.open(settings.store)
    splits = _split(store, settings)
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
        _train(trainer, work, progress)
        trainer.finish(work.path)
        replace_folder(work.path, out, ours=is_run)
    return trainer.report(out)


def _split(store: AttentionStore, settings: TrainSettings) -> list[str]:
    """Return the split of every sample of the store, "" for samples without a split."""
    if not store.labelled.any():
        raise UsageError(
            f"{settings.store}: no sample has a mask, so there is nothing to learn from.\n"
            "  Extract a store with --masks."
        )
    if settings.split_csv is not None:
        return split_by_csv(store, settings.split_csv)
    return split_by_hash(store, seed=settings.split_seed, val=settings.val, test=settings.test)


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


def _train(trainer: SegmentationTrainer, work: WorkFolder, progress: Progress) -> None:
    """Run the epochs that are left, and save the state from time to time."""
    done, epochs = len(trainer.history), trainer.settings.epochs
    figures = [name for name in COLUMNS if name != "epoch"]
    with (
        progress.task("training", (epochs - done) * len(trainer.indices["train"]), unit="samples") as task,
        live_log(work.path, trainer.history, figures) as log,
    ):
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

"""The stage `train`: an attention store in, a trained segmenter out. No transformer, not even an import.

    out/model.safetensors    weights of the best epoch on the validation samples, and all it takes to use them
    out/state.safetensors    weights and optimiser of the last epoch
    out/history.csv          one row per epoch
    out/splits.csv           which sample was in which split
    out/dvclive/             the same history for DVC's tools, in a DVC repository

Training works in a hidden folder beside `out`, which replaces `out` when the last epoch is done. So the
previous model stays until there is a better claim to its place, DVC may clear its outputs, and
`--resume` finds what an interruption left: all but the last seconds and the epoch it was in. All random
numbers of an epoch come from (seed, epoch):
going on after an interruption gives, on a CPU, the same weights bit for bit.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from stages.errors import UsageError
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.progress import SILENT, Progress
from stages.segmentation.checkpoint import SPLITS_FILE, STATE_FILE, is_run, load_state
from stages.segmentation.splits import split_by_csv, split_by_hash, write_splits
from stages.segmentation.trainer import COLUMNS, Row, SegmentationTrainer, TrainingReport
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import (
    exclusive_folder,
    explain_disk_failures,
    refuse_foreign,
    remove_partial_files,
    replace_folder,
    restore_replaced,
)


def run(settings: TrainSettings, progress: Progress = SILENT) -> TrainingReport:
    """Train, and put the result at `settings.out`.

    Raises:
        StoreError: the store cannot be read.
        UsageError: there is nothing to train on, or `out` holds something that is not a run.
        CheckpointError: `resume` was asked for and the interrupted run was told something else.
        PipelineError: the loss stopped being a number, or memory or the disk's room ran out.
    """
    device = resolve_device(settings.device)
    refuse_foreign(settings.out, is_run)
    store = AttentionStore.open(settings.store)
    splits = _split(store, settings)
    trainer = SegmentationTrainer(settings, store, splits, device)
    out = settings.out.resolve()
    work = out.with_name(f".{out.name}.training")
    with (
        _work_folder(work, out),
        explain_out_of_memory(_too_large(settings, device)),
        explain_disk_failures(settings.out),
    ):
        done = _resume(trainer, work, out) if settings.resume else None
        if done is not None:
            shutil.rmtree(work)
            return trainer.report(done)
        if not trainer.history:
            _empty(work)
        write_splits(work / SPLITS_FILE, store, splits)  # going on, too: the trainer has found them to be the same
        total = (settings.epochs - len(trainer.history)) * len(trainer.indices["train"])
        with progress.task("training", total, unit="samples") as task, _live(work, trainer.history) as live:
            for epoch in range(len(trainer.history) + 1, settings.epochs + 1):
                row = trainer.run_epoch(epoch, task)
                trainer.save_if_due(work)
                _log(live, row)
        trainer.finish(work)
        replace_folder(work, out, ours=is_run)
    return trainer.report(out)


def _too_large(settings: TrainSettings, device: torch.device) -> str:
    return (
        f"{settings.out}: not enough memory on {device} to train with batches of {settings.batch_size}.\n"
        "  Start anew with a smaller --batch-size (a resumed run keeps the one it began with); or end other programs "
        "that hold memory and go on with --resume."
    )


def _split(store: AttentionStore, settings: TrainSettings) -> list[str]:
    if not store.labelled.any():
        raise UsageError(
            f"{settings.store}: no sample has a mask, so there is nothing to learn from.\n"
            "  Extract a store with --masks."
        )
    if settings.split_csv is not None:
        return split_by_csv(store, settings.split_csv)
    return split_by_hash(store, seed=settings.split_seed, val=settings.val, test=settings.test)


@contextlib.contextmanager
def _work_folder(work: Path, out: Path) -> Iterator[None]:
    """The folder to train in for `out`, locked; removed when the block fails before there is anything to go on from."""
    with exclusive_folder(work, "training"):
        restore_replaced(out)
        remove_partial_files(work)
        try:
            yield
        except BaseException:
            if not (work / STATE_FILE).is_file():
                shutil.rmtree(work, ignore_errors=True)
            raise


def _empty(folder: Path) -> None:
    """Clear a folder without giving up the lock on it."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _resume(trainer: SegmentationTrainer, work: Path, out: Path) -> Path | None:
    """Restore an interrupted run; the folder of a run that is already finished, None where there is work to do."""
    for folder in (work, out):
        if (folder / STATE_FILE).is_file():
            state = load_state(folder / STATE_FILE)
            if folder == work and not trainer.continues(state) and _is_finished(trainer, out):
                continue  # killed after the last step, when `work` already held the model before
            trainer.restore(state, folder)
            return folder if folder == out else None
    return None


def _is_finished(trainer: SegmentationTrainer, out: Path) -> bool:
    """Whether the run asked for lies at `out`, all its epochs done."""
    if not (out / STATE_FILE).is_file():
        return False
    state = load_state(out / STATE_FILE)
    return trainer.continues(state) and state.epoch == trainer.settings.epochs


@contextlib.contextmanager
def _live(work: Path, history: list[Row]) -> Iterator[Any]:
    """DVCLive, which writes the history in the form that DVC's plots and its editor extension follow.

    An interrupted run may have logged epochs that were never saved, so the log is begun anew, from the history.
    None outside a DVC repository: DVCLive would make one there, unasked.
    """
    if not any((folder / ".dvc").is_dir() for folder in (Path.cwd(), *Path.cwd().parents)):
        yield None
        return
    from dvclive.live import Live

    shutil.rmtree(work / "dvclive", ignore_errors=True)
    with Live(
        str(work / "dvclive"),
        report=None,
        save_dvc_exp=False,
        dvcyaml=None,
        cache_images=False,
        monitor_system=False,
    ) as live:
        for row in history:
            _log(live, row)
        yield live


def _log(live: Any, row: Row) -> None:
    if live is None:
        return
    # By name: a row that was read back from a saved state has its values in another order, and DVCLive writes
    # them in the order they come.
    for name in COLUMNS:
        if name != "epoch" and (value := row[name]) is not None:
            live.log_metric(name, value)
    live.next_step()

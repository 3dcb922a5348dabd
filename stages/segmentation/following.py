"""Train in several processes: the first one leads, the others follow.

The leader reads and writes the run: it chooses splits and settings, resumes, saves and publishes. For every training it
announces the settings, the splits and the state to begin with, so the others need neither the folder of the run nor the
number of processes that it had before. Then all of them train the same epochs together, each its part of every batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from stages.runs.state import decode_state, encode_state
from stages.runtime.collectives import broadcast_bytes
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.processes import Processes
from stages.runtime.progress import SILENT
from stages.segmentation.checkpoint import STATE_FORMAT
from stages.segmentation.split_tables import SPLITS, UNLABELLED
from stages.segmentation.trainer import SegmentationTrainer
from stages.segmentation.training_report import TrainingReport
from stages.settings import TrainSettings
from store import AttentionStore

__all__ = ["agree_on", "announce_end", "announce_training", "follow", "out_of_memory_message"]

NAMES = ("", *SPLITS, UNLABELLED)
"""Splits by the number that stands for each in an announcement."""


def agree_on(settings: TrainSettings, store: AttentionStore, processes: Processes) -> None:
    """Make sure that all processes have the same settings and the same store.

    Raises:
        UsageError: this process has others than the first one.
    """
    processes.agree({**_compared(settings), "the store's contents": store.description.contents_sha256})


def announce_training(trainer: SegmentationTrainer, splits: Sequence[str]) -> None:
    """Send settings, splits and the first state to the other processes. A single process sends nothing."""
    processes = trainer.processes
    if not processes.several:
        return
    processes.announce({"settings": _compared(trainer.settings)})
    broadcast_bytes(np.array([NAMES.index(split) for split in splits], dtype=np.uint8).tobytes(), trainer.device)
    broadcast_bytes(encode_state(trainer.state(), STATE_FORMAT), trainer.device)


def announce_end(processes: Processes) -> None:
    """Tell the other processes that all trainings are finished."""
    processes.announce({"settings": None})


def follow(settings: TrainSettings, store: AttentionStore, processes: Processes) -> TrainingReport:
    """Train with the leader until it announces the end. Write nothing.

    Args:
        settings: as this process was started with.
        store: as this process sees it.
        processes: this one and the others.

    Returns:
        The report of the last training.

    Raises:
        PipelineError: the training failed here or in another process.
    """
    device = processes.device or torch.device("cpu")
    report = None
    with explain_out_of_memory(out_of_memory_message(settings, device)):
        while (announced := processes.hear()["settings"]) is not None:
            report = _follow_one(replace(settings, **announced), store, device, processes)
    if report is None:
        raise ValueError("the leader announced no training")
    return report


def out_of_memory_message(settings: TrainSettings, device: torch.device) -> str:
    """Return what happened and what to do if the memory is not sufficient for a training."""
    return (
        f"{settings.out}: not enough memory on {device} to train with batches of {settings.batch_size}.\n"
        "  Start anew with a smaller --batch-size (a resumed run keeps its own); or end other programs that use memory "
        "and continue with --resume."
    )


def _follow_one(
    settings: TrainSettings, store: AttentionStore, device: torch.device, processes: Processes
) -> TrainingReport:
    """Train one run with the leader."""
    splits = [NAMES[number] for number in broadcast_bytes(None, device)]
    state = decode_state(broadcast_bytes(None, device), settings.out, STATE_FORMAT)
    trainer = SegmentationTrainer(settings, store, splits, device, processes)
    trainer.restore(state, settings.out)
    with SILENT.task("training", 1) as task:
        for epoch in range(len(trainer.history) + 1, trainer.budget.epochs + 1):
            trainer.run_epoch(epoch, task)
    return trainer.report()


def _compared(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that decide the result, by name."""
    return {
        one.name: getattr(settings, one.name) for one in dataclasses.fields(settings) if not one.metadata["may_change"]
    }

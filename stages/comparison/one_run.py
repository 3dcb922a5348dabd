"""Train and score one run of a comparison.

The training is that of `pipeline train`: the same trainer, loss and augmentation. With `checkpoint="last"` no
validation sample chooses the model. Some of them are still scored now and then, only to see whether the training had
converged. With `checkpoint="best"` all are scored after every epoch, as in `train`, and the best epoch counts.

The model is written as an ordinary run folder and read back before it is scored. So the scores are those of the files
that `predict` and `evaluate` use.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stages.comparison.arms import HasTrainingLoss, Network
from stages.comparison.results import RunResult
from stages.outputs.kinds import RUN
from stages.runs.history import Row
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.progress import Task
from stages.segmentation.batches import open_samples
from stages.segmentation.checkpoint import SPLITS_FILE, STATE_FILE, ModelCard, described_by, load_model
from stages.segmentation.convergence import still_improving
from stages.segmentation.network import Segmenter
from stages.segmentation.scoring import score_store
from stages.segmentation.split_tables import write_splits
from stages.segmentation.trainer import SegmentationTrainer
from stages.segmentation.validation import Validation
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.contents import remove_ours

__all__ = ["new_trainer", "train_and_score"]

WATCHES = 20
"""Number of times in a training that validation samples are scored to see whether it has converged."""
WATCHED = 128
"""Most validation samples that are scored for this."""
SCORING_BATCH = 32


def train_and_score(
    settings: TrainSettings,
    store: AttentionStore,
    splits: Sequence[str],
    folder: Path,
    *,
    arm: str,
    score: str,
    checkpoint: str,
    device: torch.device,
    task: Task,
    network: Network | None = None,
) -> RunResult:
    """Train one run, score it, and leave its model in `folder`.

    Args:
        settings: of the training, with its seed and `steps`.
        store: the samples.
        splits: (sample,) in the store's order, with only the labelled subset in train.
        folder: of the run; what an earlier attempt left in it is replaced.
        arm: name of the arm.
        score: split that is scored, `test` or `val`.
        checkpoint: `last` or `best`.
        device: where to train.
        task: advanced by one per sample that is trained on.
        network: builds another network than ours. Its last model is scored, with any `checkpoint`, and not written.

    Raises:
        PipelineError: the loss or an output is not finite, or memory or disk space ran out.
    """
    with explain_out_of_memory(_out_of_memory(settings, device)):
        trainer = new_trainer(settings, store, splits, device, network)
        if isinstance(trainer.model, HasTrainingLoss):
            trainer._loss = trainer.model.training_loss(trainer._loss)  # noqa: SLF001 - a seam for experiments only
        watched = _Watch(trainer, store) if checkpoint == "last" else None
        seconds = _train(trainer, watched, task)
        if network is None:
            model, card = _written(trainer, store, splits, folder)
        else:
            model, card = trainer.evaluated.eval(), _card_of(trainer, store)
        dice, hd95 = _score(store, splits, score, model, card, device)
    history = watched.rows if watched and watched.rows else trainer.history
    val_dice = history[-1]["val_dice"] if watched else card.val_dice
    return RunResult(
        arm=arm,
        labels=len(trainer.indices["train"]),
        seed=settings.seed,
        dice=dice,
        hd95=hd95,
        seconds=seconds,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        steps=trainer.budget.steps,
        epochs=trainer.budget.epochs,
        improving=still_improving(history),
        val_dice=val_dice,
    )


def new_trainer(
    settings: TrainSettings,
    store: AttentionStore,
    splits: Sequence[str],
    device: torch.device,
    network: Network | None = None,
) -> SegmentationTrainer:
    """Return a trainer of our network, or of another one with the same loop, augmentation, loss and optimiser."""
    trainer = SegmentationTrainer(settings, store, list(splits), device)
    if network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = network(trainer.model.config).to(device).to(memory_format=torch.channels_last)
        trainer.use_network(model)
    return trainer


class _Watch:
    """Score some validation samples in the course of a training whose last model counts."""

    def __init__(self, trainer: SegmentationTrainer, store: AttentionStore) -> None:
        """Take the validation samples away from the trainer, so that they choose no epoch."""
        indices = trainer.indices["val"]
        trainer.indices["val"] = indices[:0]
        chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), WATCHED)).round().astype(np.int64))
        self._indices = indices[chosen]
        maps = trainer.model.config.takes_maps
        self._samples = open_samples(store, self._indices, trainer.device, maps=maps) if len(chosen) else None
        self._validation = Validation(trainer.settings, store, trainer.device, trainer.model.config)
        epochs = trainer.budget.epochs
        self._due = {math.ceil(epochs * number / WATCHES) for number in range(1, WATCHES + 1)}
        self.rows: list[Row] = []
        """Rows of the history, with the validation Dice."""

    def look(self, trainer: SegmentationTrainer, row: Row) -> None:
        """Record an epoch with its validation Dice, if it is one of the epochs to watch.

        The run's own history stays without it, as in a training without validation samples: it chose no epoch.
        """
        if self._samples is None or row["epoch"] not in self._due:
            return
        dice = self._validation.mean_dice(trainer.evaluated.eval(), self._samples, self._indices)
        self.rows.append({**row, "val_dice": dice})


def _train(trainer: SegmentationTrainer, watch: _Watch | None, task: Task) -> float:
    """Run all epochs and return the seconds they took, without those of the watch."""
    seconds = 0.0
    for epoch in range(1, trainer.budget.epochs + 1):
        began = time.perf_counter()
        row = trainer.run_epoch(epoch, task)
        seconds += time.perf_counter() - began
        if watch:
            watch.look(trainer, row)
    return seconds


def _written(
    trainer: SegmentationTrainer, store: AttentionStore, splits: Sequence[str], folder: Path
) -> tuple[Segmenter, ModelCard]:
    """Write the model, the history and the splits as `train` does, and read the model back."""
    remove_ours(folder, RUN.contents(folder))
    folder.mkdir(parents=True, exist_ok=True)
    trainer.finish(folder)
    (folder / STATE_FILE).unlink()  # a run of a comparison is not resumed by `train`
    write_splits(folder / SPLITS_FILE, store, splits)
    return load_model(folder, trainer.device)


def _score(
    store: AttentionStore, splits: Sequence[str], score: str, model: Segmenter, card: ModelCard, device: torch.device
) -> tuple[dict[str, float], dict[str, float]]:
    """Return Dice and HD95 of every sample of the scored split, by id."""
    indices = np.flatnonzero(np.array(splits, object) == score).astype(np.int64)
    ids = store.chosen_texts("sample", indices)
    dice, hd95 = {}, {}
    for one in score_store(
        store, indices, model=model, card=card, device=device, batch_size=SCORING_BATCH, task=Task()
    ):
        identifier = ids[one.index]
        dice[identifier], hd95[identifier] = one.scores.dice, one.scores.hd95
    return dice, hd95


def _card_of(trainer: SegmentationTrainer, store: AttentionStore) -> ModelCard:
    """Return what scoring needs to know of a model that is not written."""
    return ModelCard(
        network=trainer.model.config,
        **described_by(store),
        attention_norm=trainer.settings.attention_norm,
        epoch=len(trainer.history),
        val_dice=trainer.history[-1]["val_dice"],
    )


def _out_of_memory(settings: TrainSettings, device: torch.device) -> str:
    return (
        f"not enough memory on {device} to train with batches of {settings.batch_size}.\n"
        "  Use a smaller batch (--common batch_size=…), or end other programs that use memory. Finished runs are kept."
    )

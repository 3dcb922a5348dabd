"""Run one training, an epoch at a time, with its model, optimiser and history.

All random numbers of an epoch (order, augmentation, branch dropout) come from (seed, epoch), and the learning rate from
the step. So weights, optimiser and history are enough to resume a run exactly. They are not written after every epoch:
with eight labels an epoch is one step, and writing would take longer than the step.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from stages.errors import PipelineError
from stages.runs.history import Row, history_csv
from stages.runs.identity import RunIdentity
from stages.runs.precision import ARITHMETIC, Arithmetic, autocast, recorded_values, resumed, sentences
from stages.runs.schedules import WarmupCosine
from stages.runs.soundness import named_moments, require_finite, require_same_tensors
from stages.runs.state import RunState, explain_misfit, restore_optimizer
from stages.runtime.batch_norm import normalise_jointly
from stages.runtime.collectives import sum_gradients
from stages.runtime.processes import ALONE, Processes
from stages.runtime.progress import Task
from stages.segmentation.arithmetic import arithmetic_of
from stages.segmentation.averaging import TEACHER_DECAY, WeightAverage
from stages.segmentation.batches import ResidentSamples, StreamedSamples, open_samples, shuffled
from stages.segmentation.best_epoch import BestEpoch
from stages.segmentation.budget import Budget, with_epochs
from stages.segmentation.checkpoint import (
    HISTORY_FILE,
    MODEL_FILE,
    STATE_FILE,
    ModelCard,
    described_by,
    save_model,
    save_state,
)
from stages.segmentation.consistency import Consistency, joint_losses
from stages.segmentation.convergence import still_improving
from stages.segmentation.label_losses import loss_for
from stages.segmentation.network import NetworkConfig, Segmenter, require_values_to_normalise
from stages.segmentation.split_tables import SPLITS, UNLABELLED, splits_digest, store_splits_sha256
from stages.segmentation.training_report import FEWEST_TO_CHOOSE, ONE_CLASS, TrainingReport, progress_note
from stages.segmentation.validation import Validation
from stages.segmentation.views import View, training_views
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import replace_file

__all__ = ["COLUMNS", "FEWEST_TO_CHOOSE", "SAVE_SECONDS", "SegmentationTrainer", "TrainingReport"]

COLUMNS = ("epoch", "loss", "val_dice", "lr")
"""Columns of the history, one row per epoch."""

SAVE_SECONDS = 10.0
"""Shortest time between two writes of the state: what a killed run loses, beside the epoch it was in."""


class SegmentationTrainer:
    """Train a segmentation network on the samples of a store, an epoch at a time.

    With several processes each has such an object and calls its methods in the same order. Each computes its part of
    every batch; weights, optimiser and history are the same in all of them. Only the first one needs to save.

    Raises:
        UsageError: a batch has too few values for batch normalisation, or a setting names an entry that does not exist.
    """

    def __init__(
        self,
        settings: TrainSettings,
        store: AttentionStore,
        splits: Sequence[str],
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.settings = with_epochs(settings, splits.count("train"))
        self.store = store
        self.device = device
        self.processes = processes
        self.history: list[Row] = []
        self._splits = splits
        self.indices = {
            split: np.flatnonzero(np.array(splits, object) == split).astype(np.int64)
            for split in (*SPLITS, *([UNLABELLED] if settings.unlabelled else []))
        }
        config = NetworkConfig.of(settings, store)
        require_values_to_normalise(settings, config, len(self.indices["train"]))
        self._loss = loss_for(settings.loss, multilabel=config.multilabel)
        # Channels last: on a CPU a step takes up to a quarter less time (no less on one with AMX). On a GPU the tensor
        # cores need this layout.
        self.use_network(_new_model(settings.seed, config).to(device).to(memory_format=torch.channels_last))
        self.budget = Budget.of(settings, len(self.indices["train"]))
        steps = self.budget.steps
        self._learning_rate = WarmupCosine(peak=settings.lr, warmup=round(settings.warmup * steps), total=steps)
        self._chosen_here = arithmetic_of(settings, config, device)
        self._compute_in(self._chosen_here)
        self._samples: dict[str, ResidentSamples | StreamedSamples] = {}
        self._best = BestEpoch(few=len(self.indices["val"]) < FEWEST_TO_CHOOSE)
        self._saved_at = -math.inf
        self.one_class = False  # the finished model predicts one class everywhere in samples that hold several

    def use_network(self, model: Segmenter) -> None:
        """Train this network, which is on the device, from its present weights. Call before the first epoch."""
        if self.processes.several:
            normalise_jointly(model)
        self.model = model
        self.optimizer = AdamW(model.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay)
        decay = self.settings.ema or (TEACHER_DECAY if self.settings.unlabelled else 0)
        self._average = WeightAverage(model, decay) if decay else None

    @property
    def evaluated(self) -> Segmenter:
        """Return the network that is validated and saved: the average of the weights, if there is one."""
        return self._average.model if self._average else self.model

    def run_epoch(self, epoch: int, task: Task) -> Row:
        """Train on every training sample once, then score the validation samples.

        Args:
            epoch: counted from 1.
            task: advanced by one per sample.

        Returns:
            The new row of the history.

        Raises:
            PipelineError: the loss, a weight, a moment of the optimiser, or an output for a validation sample is not
                finite.
        """
        loss = self._train(epoch, task)
        self._require_finite(epoch)
        row: Row = {
            "epoch": epoch,
            "loss": loss,
            "val_dice": self._validate() if self.budget.validates_after(epoch) else None,
            "lr": self._learning_rate.at(min(epoch * self.budget.steps_per_epoch, self.budget.steps)),
        }
        self.history.append(row)
        if self._best.record(len(self.history), row["val_dice"]):
            self._best.keep(self.evaluated.state_dict(), self.device)
        return row

    def save_if_due(self, folder: Path) -> None:
        """Write the state, unless that was done less than `SAVE_SECONDS` ago."""
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save_state(folder)

    def try_best_model(self) -> None:
        """Predict one batch with the best weights, as every user of the model will: in evaluation mode.

        Raises:
            PipelineError: the output is NaN or infinite, or there is not enough memory.
        """
        split = "val" if len(self.indices["val"]) else "train"
        model = _new_model(self.settings.seed, self.model.config).to(self.device)
        model.load_state_dict(self._best.weights)
        some = self.indices[split][: self.settings.batch_size]
        self.one_class = self._validation.predicts_one_class(model.eval(), self._open(split), some)

    def finish(self, folder: Path) -> None:
        """Write the files of a finished run: the best model, the history, the state."""
        save_model(folder / MODEL_FILE, self._best.weights, self._card())
        self._save_state(folder)

    def restore(self, state: RunState, source: Path) -> None:
        """Continue from the state of an interrupted run.

        Args:
            state: of that run.
            source: where it comes from, for messages.

        Raises:
            CheckpointError: the run was started with other settings or data.
        """
        self.identity().require_match(state.settings, source)
        self._compute_in(resumed(state.settings, self.settings.precision, self.device))
        with explain_misfit(source):
            self._restore(state)

    def _restore(self, state: RunState) -> None:
        weights = self.model.state_dict()
        if state.done != len(state.history):
            raise ValueError(f"{state.done} epochs are done, and the history has {len(state.history)}")
        require_same_tensors(state.tensors["model"], weights)
        restore_optimizer(self.optimizer, state)
        self.model.load_state_dict(state.tensors["model"])
        if self._average:
            require_same_tensors(state.tensors["average"], weights)
            self._average.model.load_state_dict(state.tensors["average"])
        for row in state.history:
            self.history.append({name: row[name] for name in COLUMNS})
            self._best.record(len(self.history), row["val_dice"])
        last = "average" if self._average else "model"
        best = state.tensors[last if self._best.epoch == state.done else "best"]
        require_same_tensors(best, weights)
        self._best.keep(best, self.device)
        self._require_finite(state.done)

    def identity(self) -> RunIdentity:
        """Return the settings and data that must be the same for the run to be resumed."""
        splits = splits_digest(self._splits)
        description = self.store.description
        return RunIdentity.of(
            self.settings,
            {"store_contents": description.contents_sha256, "splits": splits, ARITHMETIC: self._arithmetic},
            equivalent={"store_contents": description.upgraded_from, ARITHMETIC: recorded_values()},
        )

    def report(self) -> TrainingReport:
        """Summarise the finished run."""
        best = self.history[self._best.epoch - 1]
        return TrainingReport(
            out=self.settings.out,
            samples={split: len(indices) for split, indices in self.indices.items()},
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            best_epoch=self._best.epoch,
            val_dice=best["val_dice"],
            epochs=len(self.history),
            steps=self.budget.steps,
            improving=still_improving(self.history),
            notes=[
                *([ONE_CLASS] if self.one_class else []),
                *sentences(self.settings.precision, self.device, self._arithmetic, here=self._chosen_here),
            ],
        )

    def _train(self, epoch: int, task: Task) -> float:
        """Train on every training sample once, or until no step is left. Return the mean loss of these samples."""
        self.model.train()
        order = shuffled(self.indices["train"], self.settings.batch_size, seed=self.settings.seed, epoch=epoch)
        first = (epoch - 1) * len(order)
        order = order[: self.budget.steps_in(epoch)]
        losses = []
        note = progress_note(self.history, epoch, self.budget.epochs)
        views = training_views(self._open("train"), order, self.model.config, self.settings, epoch, self.processes)
        both = zip(views, self._views(epoch, first, len(order)), strict=True)
        for step, ((count, view), unlabelled) in enumerate(both, start=first):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate.at(step + 0.5)  # mid-step: neither the first nor the last is zero
            loss, own = self._losses(view, unlabelled, step)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            sum_gradients(self.model.parameters())
            self.optimizer.step()
            if self._average:
                self._average.update(self.model, step)
            losses.append(own.detach())
            task.advance(count + self.budget.unlabelled, note)
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise PipelineError(
                f"epoch {epoch}: the loss is {mean}.\n  Train with a lower --lr, or with --precision float32."
            )
        return mean

    def _views(self, epoch: int, first: int, count: int) -> Iterator[View | None]:
        """Yield the unlabelled samples of each step of an epoch; None in a training without such samples."""
        if self._consistency is None:
            return itertools.repeat(None, count)
        steps = range(first, first + count)
        return self._consistency.views(self.evaluated, self._open(UNLABELLED), epoch, steps)

    def _losses(self, view: View, unlabelled: View | None, step: int) -> tuple[Tensor, Tensor]:
        """Return the loss of a step, and its part that comes from the labelled samples."""
        with self._autocast():
            if unlabelled is None or self._consistency is None:
                own = self._loss(self.model(view.image, view.attention, view.silenced), view.mask)
                return own, own
            own, agreement = joint_losses(self.model, self._loss, view, unlabelled)
            return own + self._consistency.weight_at(step) * agreement, own

    def _validate(self) -> float | None:
        """Return the mean Dice of the validation samples; None where there are none."""
        if not len(self.indices["val"]):
            return None
        return self._validation.mean_dice(self.evaluated.eval(), self._open("val"), self.indices["val"])

    def _require_finite(self, epoch: int) -> None:
        """Make sure that weights and moments are numbers: the loss was computed before the last step.

        Raises:
            PipelineError: one holds NaN or infinity.
        """
        require_finite(self.model.state_dict() | named_moments(self.optimizer), f"epoch {epoch}")

    def _compute_in(self, arithmetic: Arithmetic) -> None:
        """Use this arithmetic in training, in validation and for the answers of the teacher."""
        self._arithmetic = arithmetic
        settings, config = replace(self.settings, precision=arithmetic), self.model.config
        self._validation = Validation(settings, self.store, self.device, config, self.processes)
        self._consistency = None
        if settings.unlabelled:
            unlabelled, steps, processes = self.indices[UNLABELLED], self.budget.steps, self.processes
            self._consistency = Consistency(settings, self.store, unlabelled, self.device, config, steps, processes)

    def _autocast(self) -> torch.autocast:
        return autocast(self._arithmetic, self.device)

    def _open(self, split: str) -> ResidentSamples | StreamedSamples:
        if split not in self._samples:
            needs = {"maps": self.model.config.takes_maps, "several": self.processes.several}
            self._samples[split] = open_samples(self.store, self.indices[split], self.device, **needs)
        return self._samples[split]

    def state(self) -> RunState:
        """Return all that is needed to go on after the last epoch, in this process or in others."""
        tensors = {"model": self.model.state_dict()}
        if self._average:
            tensors["average"] = self._average.model.state_dict()
        if self._best.epoch != len(self.history):  # otherwise they are those of `evaluated`
            tensors["best"] = self._best.weights
        return RunState(
            done=len(self.history),
            tensors=tensors,
            optimizer=self.optimizer.state_dict(),
            history=self.history,
            settings=self.identity().values,
        )

    def _save_state(self, folder: Path) -> None:
        replace_file(folder / HISTORY_FILE, history_csv(self.history, COLUMNS))
        save_state(folder / STATE_FILE, self.state())
        self._saved_at = time.monotonic()

    def _card(self) -> ModelCard:
        return ModelCard(
            network=self.model.config,
            attention_norm=self.settings.attention_norm,
            **described_by(self.store),
            epoch=self._best.epoch,
            val_dice=self.history[self._best.epoch - 1]["val_dice"],
            splits_sha256=store_splits_sha256(self.store, self._splits),
        )


def _new_model(seed: int, config: NetworkConfig) -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(config)

"""Run one training, an epoch at a time, with its model, optimiser and history.

All random numbers of an epoch (order, augmentation, branch dropout) come from (seed, epoch), and the learning rate from
the step. So weights, optimiser and history are enough to resume a run exactly. They are not written after every epoch:
with eight labels an epoch is one step, and writing would take longer than the step.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim import AdamW

from stages.errors import PipelineError
from stages.runs.history import Row, history_csv
from stages.runs.identity import RunIdentity
from stages.runs.precision import ARITHMETIC, Arithmetic, autocast, recorded_values, resumed, sentences
from stages.runs.schedules import WarmupCosine, mixed_seed
from stages.runs.soundness import first_not_finite, named_moments, require_same_tensors
from stages.runs.state import RunState, explain_misfit, restore_optimizer
from stages.runtime.progress import Task
from stages.segmentation.arithmetic import arithmetic_of
from stages.segmentation.batches import ResidentSamples, StreamedSamples, open_samples, shuffled
from stages.segmentation.budget import Budget
from stages.segmentation.checkpoint import (
    HISTORY_FILE,
    MODEL_FILE,
    STATE_FILE,
    ModelCard,
    save_model,
    save_state,
)
from stages.segmentation.convergence import still_improving
from stages.segmentation.inputs import augmented_inputs
from stages.segmentation.label_losses import loss_for
from stages.segmentation.network import NetworkConfig, Segmenter, require_values_to_normalise
from stages.segmentation.split_tables import split_rows, splits_digest, splits_sha256
from stages.segmentation.training_report import FEWEST_TO_CHOOSE, TrainingReport
from stages.segmentation.validation import Validation
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import replace_file

__all__ = ["COLUMNS", "FEWEST_TO_CHOOSE", "SAVE_SECONDS", "SegmentationTrainer", "TrainingReport"]

COLUMNS = ("epoch", "loss", "val_dice", "lr")
"""Columns of the history, one row per epoch."""

ONE_CLASS = (
    "warning: the model predicts one class everywhere. Train longer or with another --lr, and look at the masks "
    "(`pipeline inspect STORE --picture FILE`)"
)

SAVE_SECONDS = 10.0
"""Shortest time between two writes of the state: what a killed run loses, beside the epoch it was in."""


class SegmentationTrainer:
    """Train a segmentation network on the samples of a store, an epoch at a time.

    Raises:
        UsageError: a batch has too few values for batch normalisation, or a setting names an entry that does not exist.
    """

    def __init__(self, settings: TrainSettings, store: AttentionStore, splits: list[str], device: torch.device) -> None:
        self.settings = settings
        self.store = store
        self.device = device
        self.history: list[Row] = []
        self._splits = splits
        self.indices = {
            split: np.flatnonzero(np.array(splits) == split).astype(np.int64) for split in ("train", "val", "test")
        }
        config = NetworkConfig.of(settings, store)
        require_values_to_normalise(settings, config, len(self.indices["train"]))
        self._loss = loss_for(settings.loss, multilabel=config.multilabel)
        # Channels last: on a CPU a step takes up to a quarter less time (no less on one with AMX). On a GPU the tensor
        # cores need this layout.
        self.model = _new_model(settings.seed, config).to(device).to(memory_format=torch.channels_last)
        self.optimizer = AdamW(self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self.budget = Budget.of(settings, len(self.indices["train"]))
        self._learning_rate = _learning_rate(settings, self.budget.steps)
        self._chosen_here = arithmetic_of(settings, config, device)
        self._compute_in(self._chosen_here)
        self._samples: dict[str, ResidentSamples | StreamedSamples] = {}
        self._best_score = -math.inf
        self._best_epoch = 0
        self._best_weights: dict[str, Tensor] = {}
        self._saved_at = -math.inf
        self.one_class = False  # the finished model predicts one class everywhere in samples that hold several

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
            "val_dice": self._validate(),
            "lr": self._learning_rate.at(min(epoch * self.budget.steps_per_epoch, self.budget.steps)),
        }
        self.history.append(row)
        if self._record_if_best(row["val_dice"]):
            self._best_weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
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
        model.load_state_dict(self._best_weights)
        some = self.indices[split][: self.settings.batch_size]
        self.one_class = self._validation.predicts_one_class(model.eval(), self._open(split), some)

    def finish(self, folder: Path) -> None:
        """Write the files of a finished run: the best model, the history, the state."""
        save_model(folder / MODEL_FILE, self._best_weights, self._card())
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
        for row in state.history:
            self.history.append({name: row[name] for name in COLUMNS})
            self._record_if_best(row["val_dice"])
        best = state.tensors["model" if self._best_epoch == state.done else "best"]
        require_same_tensors(best, weights)
        self._best_weights = {name: tensor.to(self.device, copy=True) for name, tensor in best.items()}
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
        best = self.history[self._best_epoch - 1]
        return TrainingReport(
            out=self.settings.out,
            samples={split: len(indices) for split, indices in self.indices.items()},
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            best_epoch=self._best_epoch,
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
        """Train on every training sample once, or until no step is left, and return the mean loss."""
        self.model.train()
        generator = Generator().manual_seed(mixed_seed(self.settings.seed, epoch))
        order = shuffled(self.indices["train"], self.settings.batch_size, seed=self.settings.seed, epoch=epoch)
        first = (epoch - 1) * len(order)
        order = order[: self.budget.steps_in(epoch)]
        losses = []
        for step, batch in enumerate(self._open("train").batches(order), start=first):
            image, mask, attention = augmented_inputs(
                batch,
                self.model.config,
                self.settings.attention_norm,
                self.settings.augment,
                generator,
                border=self.settings.border,
                map_dropout=self.settings.map_dropout,
                map_noise=self.settings.map_noise,
            )
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate.at(step + 0.5)  # mid-step: neither the first nor the last is zero
            silenced = self._draw_silenced(len(image), generator)
            with self._autocast():
                loss = self._loss(self.model(image, attention, silenced), mask)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.detach())
            task.advance(len(image), self._note(epoch))
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise PipelineError(
                f"epoch {epoch}: the loss is {mean}.\n  Train with a lower --lr, or with --precision float32."
            )
        return mean

    def _validate(self) -> float | None:
        """Return the mean Dice of the validation samples; None where there are none."""
        if not len(self.indices["val"]):
            return None
        return self._validation.mean_dice(self.model.eval(), self._open("val"), self.indices["val"])

    def _require_finite(self, epoch: int) -> None:
        """Make sure that weights and moments are numbers: the loss was computed before the last step.

        Raises:
            PipelineError: one holds NaN or infinity.
        """
        name = first_not_finite(self.model.state_dict() | named_moments(self.optimizer))
        if name is not None:
            raise PipelineError(
                f"epoch {epoch}: `{name}` holds NaN or infinity; nothing was published.\n"
                "  Train with a lower --lr or --weight-decay, or with --precision float32."
            )

    def _draw_silenced(self, count: int, generator: Generator) -> Tensor:
        """Draw the samples whose image features, and whose attention features, are set to zero: (count, 2) bool."""
        chosen = torch.rand(count, generator=generator) < self.settings.branch_dropout
        attention = torch.rand(count, generator=generator) < 0.5  # noqa: PLR2004 - both branches are equally likely
        return torch.stack([chosen & ~attention, chosen & attention], dim=1).to(self.device)

    def _compute_in(self, arithmetic: Arithmetic) -> None:
        """Use this arithmetic in training and validation."""
        self._arithmetic = arithmetic
        settings = replace(self.settings, precision=arithmetic)
        self._validation = Validation(settings, self.store, self.device, self.model.config)

    def _autocast(self) -> torch.autocast:
        return autocast(self._arithmetic, self.device)

    def _open(self, split: str) -> ResidentSamples | StreamedSamples:
        if split not in self._samples:
            self._samples[split] = open_samples(self.store, self.indices[split], self.device)
        return self._samples[split]

    def _record_if_best(self, val_dice: float | None) -> bool:
        """Record the last epoch as the best if its score is strictly higher than every earlier one.

        Ties keep the earlier epoch. With fewer than `FEWEST_TO_CHOOSE` validation samples the latest epoch is the best.
        """
        few = val_dice is None or len(self.indices["val"]) < FEWEST_TO_CHOOSE
        score = float(len(self.history)) if few or val_dice is None else float(val_dice)
        if score <= self._best_score:
            return False
        self._best_score, self._best_epoch = score, len(self.history)
        return True

    def _save_state(self, folder: Path) -> None:
        replace_file(folder / HISTORY_FILE, history_csv(self.history, COLUMNS))
        tensors = {"model": self.model.state_dict()}
        if self._best_epoch != len(self.history):  # otherwise they are the same tensors
            tensors["best"] = self._best_weights
        state = RunState(
            done=len(self.history),
            tensors=tensors,
            optimizer=self.optimizer.state_dict(),
            history=self.history,
            settings=self.identity().values,
        )
        save_state(folder / STATE_FILE, state)
        self._saved_at = time.monotonic()

    def _card(self) -> ModelCard:
        return ModelCard(
            network=self.model.config,
            classes=self.store.classes,
            attention_norm=self.settings.attention_norm,
            recipe=self.store.recipe,
            recipe_sha256=self.store.description.recipe_sha256,
            store_contents_sha256=self.store.description.contents_sha256,
            epoch=self._best_epoch,
            val_dice=self.history[self._best_epoch - 1]["val_dice"],
            splits_sha256=splits_sha256(split_rows(self.store, self._splits)),
            masks=asdict(self.store.description.masks),
        )

    def _note(self, epoch: int) -> str:
        """Return the line beside the progress bar: epoch, loss and validation Dice."""
        last = self.history[-1] if self.history else {"loss": None, "val_dice": None}
        figures = [f"{name} {last[key]:.3f}" for name, key in (("loss", "loss"), ("val Dice", "val_dice")) if last[key]]
        return f"epoch {epoch}/{self.budget.epochs} {' '.join(figures)}"


def _new_model(seed: int, config: NetworkConfig) -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(config)


def _learning_rate(settings: TrainSettings, steps: int) -> WarmupCosine:
    return WarmupCosine(peak=settings.lr, warmup=round(settings.warmup * steps), total=steps)

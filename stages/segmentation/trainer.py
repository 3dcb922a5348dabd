"""One run of training: model, optimiser and history, an epoch at a time.

All random numbers of an epoch (order, augmentation, branch dropout) come from (seed, epoch), and the
learning rate from the step, so weights, optimiser and history are all it takes to go on exactly. They are
not written after every epoch: with eight labels an epoch is one step, and writing would take longer.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim import AdamW

from stages.errors import CheckpointError, PipelineError, UsageError
from stages.runtime.progress import Task
from stages.segmentation.batches import ResidentSamples, StreamedSamples, in_order, open_samples, shuffled
from stages.segmentation.checkpoint import (
    HISTORY_FILE,
    MODEL_FILE,
    STATE_FILE,
    ModelCard,
    TrainingState,
    load_model,
    save_model,
    save_state,
)
from stages.segmentation.inputs import adaptive_batch_for, augmented_inputs, predict_probabilities
from stages.segmentation.losses import dice_cross_entropy, foreground_dice
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.splits import split_rows, splits_sha256
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import replace_file

Row = dict[str, float | None]
"""One epoch: a value for each of `COLUMNS`."""

COLUMNS = ("epoch", "loss", "val_dice", "lr")

SAVE_SECONDS = 10.0
"""How long an epoch's result may wait to be written: what a killed run loses, beside the epoch it was in."""

FREE_TO_CHANGE = {"out", "device", "resume", "store", "split_csv"}
"""Settings that may differ between a run and its continuation; store and splits are compared by what they hold."""


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a finished run came to."""

    out: Path
    samples: dict[str, int]
    """Samples per split."""
    parameters: int
    best_epoch: int
    val_dice: float | None

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.samples.items())
        score = "no validation samples" if self.val_dice is None else f"validation Dice {self.val_dice:.3f}"
        return f"{self.out}: {self.parameters / 1e6:.2f} M parameters, {counts}; best epoch {self.best_epoch}, {score}"


class SegmentationTrainer:
    """Model, optimiser and history of one run; one epoch at a time.

    Raises:
        UsageError: a batch would hold too little to normalise over.
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
        _require_values_to_normalise(settings, store, len(self.indices["train"]))
        # Channels last: up to a quarter less time for a step on a CPU (none on one with AMX); tensor cores want it too.
        self.model = _new_model(settings, store).to(device).to(memory_format=torch.channels_last)
        self.optimizer = AdamW(self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self._portions = adaptive_batch_for(settings.batch_size, self.model.config, device)
        self._samples: dict[str, ResidentSamples | StreamedSamples] = {}
        self._best: float = -math.inf
        self._best_epoch = 0
        self._best_weights: dict[str, Tensor] = {}
        self._saved_at = -math.inf

    def run_epoch(self, epoch: int, task: Task) -> Row:
        """Train on every training sample once, then score the validation samples; epochs count from 1."""
        loss = self._train(epoch, task)
        val_dice = self._validate()
        row: Row = {
            "epoch": epoch,
            "loss": loss,
            "val_dice": val_dice,
            "lr": self._learning_rate(epoch * self._steps_per_epoch),
        }
        self.history.append(row)
        if self._note_best(val_dice):
            self._best_weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return row

    def save_if_due(self, folder: Path) -> None:
        """Write what it takes to go on, unless that was done less than `SAVE_SECONDS` ago."""
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save_state(folder)

    def finish(self, folder: Path) -> None:
        """Write all that a finished run leaves behind: the best model, the history, the state."""
        save_model(folder / MODEL_FILE, self._best_weights, self._card())
        self._save_state(folder)

    def _save_state(self, folder: Path) -> None:
        replace_file(folder / HISTORY_FILE, _as_csv(self.history))
        state = TrainingState(
            epoch=len(self.history),
            model=self.model.state_dict(),
            best=self._best_weights,
            best_epoch=self._best_epoch,
            optimizer=self.optimizer.state_dict(),
            history=self.history,
            settings=self.identity(),
        )
        save_state(folder / STATE_FILE, state)
        self._saved_at = time.monotonic()

    def restore(self, state: TrainingState, source: Path) -> None:
        """Go back to where a run stopped.

        Raises:
            CheckpointError: that run was told something else.
        """
        identity = self.identity()
        if differing := self._differing(state):
            told = "\n".join(f"    {key}: was {state.settings.get(key)!r}, now {identity[key]!r}" for key in differing)
            raise CheckpointError(
                f"{source}: cannot go on, the run was started with other settings:\n{told}\n"
                "  Resume with the same settings, or start anew without --resume."
            )
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(dict(state.optimizer))
        for row in state.history:
            self.history.append(row)
            self._note_best(row["val_dice"])
        self._best_weights = {name: tensor.to(self.device, copy=True) for name, tensor in state.best.items()}

    def continues(self, state: TrainingState) -> bool:
        """Whether a state is of this very run: the same settings, samples and attention."""
        return not self._differing(state)

    def _differing(self, state: TrainingState) -> list[str]:
        identity = self.identity()
        return [key for key in identity if state.settings.get(key) != identity[key]]

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued: its settings, its samples, its attention."""
        told = {key: value for key, value in asdict(self.settings).items() if key not in FREE_TO_CHANGE}
        told = {key: str(value) if isinstance(value, Path) else value for key, value in told.items()}
        splits = hashlib.sha256("\n".join(self._splits).encode()).hexdigest()
        return {**told, "store_contents": self.store.description.contents_sha256, "splits": splits}

    def report(self, out: Path) -> TrainingReport:
        """What the run at `out` came to."""
        model, card = load_model(out, torch.device("cpu"))
        return TrainingReport(
            out=self.settings.out,
            samples={split: len(indices) for split, indices in self.indices.items()},
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            best_epoch=card.epoch,
            val_dice=card.val_dice,
        )

    def _train(self, epoch: int, task: Task) -> float:
        self.model.train()
        generator = Generator().manual_seed(_mixed(self.settings.seed, epoch))
        order = shuffled(self.indices["train"], self.settings.batch_size, seed=self.settings.seed, epoch=epoch)
        losses = []
        for step, batch in enumerate(self._open("train").batches(order), start=(epoch - 1) * len(order)):
            image, mask, attention = augmented_inputs(
                batch, self.model.config, self.settings.attention_norm, self.settings.augment, generator
            )
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(step + 0.5)  # mid-step: neither the first nor the last is zero
            silenced = self._draw_silenced(len(image), generator)
            with self._autocast():
                loss = dice_cross_entropy(self.model(image, attention, silenced), mask)
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
        if not len(self.indices["val"]):
            return None
        self.model.eval()
        order = in_order(self.indices["val"], self.settings.batch_size)
        scores = []
        for batch in self._open("val").batches(order):
            with self._autocast():
                probabilities = predict_probabilities(self.model, batch, self.settings.attention_norm, self._portions)
            scores.append(foreground_dice(probabilities.argmax(dim=1), batch.mask, self.model.config.classes))
        return float(torch.cat(scores).mean())

    def _draw_silenced(self, count: int, generator: Generator) -> Tensor:
        """(count, 2) bool: which samples' image features, and which samples' attention features, are zeroed."""
        chosen = torch.rand(count, generator=generator) < self.settings.branch_dropout
        attention = torch.rand(count, generator=generator) < 0.5  # noqa: PLR2004 - either branch alike
        return torch.stack([chosen & ~attention, chosen & attention], dim=1).to(self.device)

    def _learning_rate(self, step: float) -> float:
        """Linear warm-up, then a cosine to zero over all steps (Loshchilov & Hutter 2017)."""
        total = self.settings.epochs * self._steps_per_epoch
        warmup = round(self.settings.warmup * total)
        if step <= warmup:
            return self.settings.lr * step / warmup
        return self.settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

    @property
    def _steps_per_epoch(self) -> int:
        return max(1, math.ceil(len(self.indices["train"]) / self.settings.batch_size))

    def _autocast(self) -> torch.autocast:
        wanted = self.settings.precision
        enabled = wanted == "bfloat16" or (wanted == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _open(self, split: str) -> ResidentSamples | StreamedSamples:
        if split not in self._samples:
            self._samples[split] = open_samples(self.store, self.indices[split], self.device)
        return self._samples[split]

    def _note_best(self, val_dice: float | None) -> bool:
        """Whether the last epoch is the best: the earliest of equals; without validation samples, always."""
        score = float(len(self.history)) if val_dice is None else float(val_dice)
        if score <= self._best:
            return False
        self._best, self._best_epoch = score, len(self.history)
        return True

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
        )

    def _note(self, epoch: int) -> str:
        last = self.history[-1] if self.history else {"loss": None, "val_dice": None}
        told = [f"{name} {last[key]:.3f}" for name, key in (("loss", "loss"), ("val Dice", "val_dice")) if last[key]]
        return f"epoch {epoch}/{self.settings.epochs} {' '.join(told)}"


def _require_values_to_normalise(settings: TrainSettings, store: AttentionStore, samples: int) -> None:
    """Batch normalisation takes its mean over samples and pixels: at the deepest level that must be more than one."""
    smallest = samples // max(1, math.ceil(samples / settings.batch_size))
    if smallest == 1 and _configuration(settings, store).deepest_size == (1, 1):
        rows, columns = store.size
        raise UsageError(
            f"{settings.store}: {samples} training samples in batches of {settings.batch_size} leave a batch of one, "
            f"and images of {rows} x {columns} are too small to normalise over one alone.\n"
            f"  Train on two samples or more with a larger --batch-size (3 and above always will do), or extract with "
            "a larger --image-size."
        )


def _new_model(settings: TrainSettings, store: AttentionStore) -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Segmenter(_configuration(settings, store))


def _configuration(settings: TrainSettings, store: AttentionStore) -> NetworkConfig:
    return NetworkConfig(
        size=store.size,
        grid=store.grid,
        heads=len(store.heads),
        classes=len(store.classes),
        branches=settings.branches,
        width=settings.width,
        blocks=settings.blocks,
        fusion=settings.fusion,
        stem=settings.stem,
    )


def _mixed(seed: int, epoch: int) -> int:
    """One seed out of two, so that neighbouring seeds and epochs have nothing in common."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


def _as_csv(history: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=COLUMNS)
    table.writeheader()
    table.writerows(history)
    return text.getvalue().encode()

"""One run of training: model, optimiser and history, an epoch at a time.

All random numbers of an epoch (order, augmentation, branch dropout) come from (seed, epoch), and the
learning rate from the step, so weights, optimiser and history are all it takes to go on exactly.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim import AdamW

from stages.errors import CheckpointError, PipelineError
from stages.progress import Task
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
from stages.segmentation.inputs import augmented_inputs, predict_probabilities
from stages.segmentation.losses import dice_cross_entropy, foreground_dice
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.splits import split_rows, splits_sha256
from stages.settings import TrainSettings
from store import AttentionStore
from store.publish import replace_file

Row = dict[str, float | None]
"""One epoch: a value for each of `COLUMNS`."""

COLUMNS = ("epoch", "loss", "val_dice", "lr")

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


class Trainer:
    """Model, optimiser and history of one run; one epoch at a time."""

    def __init__(self, settings: TrainSettings, store: AttentionStore, splits: list[str], device: torch.device) -> None:
        self.settings = settings
        self.store = store
        self.device = device
        self.history: list[Row] = []
        self._splits = splits
        self.indices = {
            split: np.flatnonzero(np.array(splits) == split).astype(np.int64) for split in ("train", "val", "test")
        }
        # Channels last: a step takes a fifth to a quarter less time on a CPU, and tensor cores want it too.
        self.model = _new_model(settings, store).to(device).to(memory_format=torch.channels_last)
        self.optimizer = AdamW(self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self._samples: dict[str, ResidentSamples | StreamedSamples] = {}
        self._best: float = -math.inf
        self._is_best = False

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
        self._note_best(val_dice)
        return row

    def save(self, folder: Path) -> None:
        """Write the model if this epoch was the best so far, and what it takes to go on."""
        if self._is_best:
            save_model(folder / MODEL_FILE, self.model, self._card())
        replace_file(folder / HISTORY_FILE, _as_csv(self.history))
        state = TrainingState(
            epoch=len(self.history),
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            history=self.history,
            settings=self.identity(),
        )
        save_state(folder / STATE_FILE, state)

    def restore(self, state: TrainingState, source: Path) -> None:
        """Go back to where a run stopped.

        Raises:
            CheckpointError: that run was told something else.
        """
        identity = self.identity()
        differing = [key for key in identity if state.settings.get(key) != identity[key]]
        if differing:
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
                f"epoch {epoch}: the loss is {mean}. The epochs before it are kept.\n"
                "  Train with a lower --lr, or with --precision float32."
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
                probabilities = predict_probabilities(self.model, batch, self.settings.attention_norm)
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

    def _note_best(self, val_dice: float | None) -> None:
        """Keep the earliest of the best epochs; without validation samples, the last epoch."""
        score = float(len(self.history)) if val_dice is None else float(val_dice)
        self._is_best = score > self._best
        self._best = max(score, self._best)

    def _card(self) -> ModelCard:
        return ModelCard(
            network=self.model.config,
            classes=self.store.classes,
            attention_norm=self.settings.attention_norm,
            recipe=self.store.recipe,
            recipe_sha256=self.store.description.recipe_sha256,
            store_contents_sha256=self.store.description.contents_sha256,
            epoch=len(self.history),
            val_dice=self.history[-1]["val_dice"],
            splits_sha256=splits_sha256(split_rows(self.store, self._splits)),
        )

    def _note(self, epoch: int) -> str:
        last = self.history[-1] if self.history else {"loss": None, "val_dice": None}
        told = [f"{name} {last[key]:.3f}" for name, key in (("loss", "loss"), ("val Dice", "val_dice")) if last[key]]
        return f"epoch {epoch}/{self.settings.epochs} {' '.join(told)}"


def _new_model(settings: TrainSettings, store: AttentionStore) -> Segmenter:
    config = NetworkConfig(
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Segmenter(config)


def _mixed(seed: int, epoch: int) -> int:
    """One seed out of two, so that neighbouring seeds and epochs have nothing in common."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


def _as_csv(history: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=COLUMNS)
    table.writeheader()
    table.writerows(history)
    return text.getvalue().encode()

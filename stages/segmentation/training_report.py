"""Summarise a finished training in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.runs.history import Row
from stages.runtime.wording import counted
from stages.segmentation.budget import FEW_STEPS

__all__ = ["FEWEST_TO_CHOOSE", "ONE_CLASS", "TrainingReport", "progress_note"]

FEWEST_TO_CHOOSE = 10
"""Smallest number of validation samples that choose the best epoch. With fewer the choice would be chance, so the last
epoch is used."""

ONE_CLASS = (
    "warning: the model predicts one class everywhere. Train longer or with another --lr, and look at the masks "
    "(`pipeline inspect STORE --picture FILE`)"
)


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Summarise a finished run; `str()` is the text that users see."""

    out: Path
    samples: dict[str, int]
    """Samples per split."""
    parameters: int
    """Number of parameters of the network."""
    best_epoch: int
    """Counted from 1."""
    val_dice: float | None
    """Mean Dice on the validation samples at that epoch; None when there were none."""
    epochs: int
    steps: int
    """Steps of the optimiser."""
    improving: bool | None = None
    """True if the model was still getting better at the end; None if there were too few epochs to say."""
    notes: Sequence[str] = ()
    """Sentences that the user should know."""

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.samples.items())
        trained = f"{counted(self.steps, 'step')} in {counted(self.epochs, 'epoch')}"
        lines = [f"{self.out}: {self.parameters / 1e6:.2f} M parameters; {counts}; {trained}", self._choice()]
        if self.steps < FEW_STEPS:
            lines.append(
                f"note: {counted(self.steps, 'step')} of the optimiser are few: below {FEW_STEPS:,} many trainings "
                f"are too short.\n  Give --steps {FEW_STEPS} or more"
            )
        elif self.improving:
            lines.append("note: the model was still improving at the last step: train longer (--steps or --epochs)")
        return "\n".join([*lines, *self.notes])

    def _choice(self) -> str:
        """Return which epoch's weights are kept, and why."""
        samples = counted(self.samples["val"], "validation sample")
        if self.val_dice is None:
            return f"weights of the last epoch, {self.best_epoch}; there are no validation samples"
        if self.samples["val"] < FEWEST_TO_CHOOSE:
            return (
                f"weights of the last epoch, {self.best_epoch}, because fewer than {FEWEST_TO_CHOOSE} validation "
                f"samples cannot choose one; Dice on {samples}: {self.val_dice:.3f}"
            )
        return (
            f"weights of epoch {self.best_epoch}, the best of {self.epochs} by its Dice on {samples}: "
            f"{self.val_dice:.3f}.\n"
            "  The best of many is too high an estimate; `pipeline evaluate` scores the test samples"
        )


def progress_note(history: Sequence[Row], epoch: int, epochs: int) -> str:
    """Return the line beside the progress bar: the epoch, and loss and validation Dice of the one before."""
    last = history[-1] if history else {"loss": None, "val_dice": None}
    figures = [f"{name} {last[key]:.3f}" for name, key in (("loss", "loss"), ("val Dice", "val_dice")) if last[key]]
    return f"epoch {epoch}/{epochs} {' '.join(figures)}"

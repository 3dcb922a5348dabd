"""Count the steps of a training: given in epochs, in steps of the optimiser, or not at all.

| given | length of the training |
|---|---|
| epochs | exactly these; each is a pass over all training samples |
| steps | exactly these; the last epoch ends where they are used up |
| neither | `LEAST_EPOCHS`, or the fewest whole epochs that have `FEW_STEPS` steps if that is more |

Trainings with different numbers of samples can be compared after the same number of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stages.settings import TrainSettings

__all__ = ["EARLIER_EPOCHS", "FEW_STEPS", "LEAST_EPOCHS", "VALIDATIONS", "Budget", "with_epochs"]

FEW_STEPS = 2000
"""Steps below which a training may be too short. From 65 images of ISIC 2018, the network of the image alone gains .03
Dice between 400 and 2,000 steps, and is then ahead of one that was ahead of it (tests/benchmarks/RESULTS.md)."""
VALIDATIONS = 100
"""Most times that the validation samples are scored in a training."""
LEAST_EPOCHS = 40
"""Epochs of a training whose length is not given, if they have `FEW_STEPS` steps or more."""
EARLIER_EPOCHS: int = TrainSettings.__dataclass_fields__["epochs"].metadata["if_absent"]
"""Epochs that earlier versions recorded for every run without --epochs. In runs with --steps they mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Hold the length of a training."""

    samples: int
    """Training samples."""
    steps_per_epoch: int
    steps: int
    """Steps of the optimiser in the whole training."""
    unlabelled: int = 0
    """Samples of every step that are learnt from without labels."""

    @classmethod
    def of(cls, settings: TrainSettings, samples: int) -> Budget:
        """Return the length of a training with these settings on `samples` training samples."""
        each = _steps_per_epoch(settings, samples)
        steps = _epochs(settings, each) * each if settings.steps is None else settings.steps
        unlabelled = settings.batch_size if settings.unlabelled else 0
        return cls(samples=samples, steps_per_epoch=each, steps=steps, unlabelled=unlabelled)

    @property
    def epochs(self) -> int:
        """Return the number of epochs; the last may be shorter than the others."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Return the number of steps in an epoch, counted from 1."""
        return min(self.steps_per_epoch, self.steps - (epoch - 1) * self.steps_per_epoch)

    def validates_after(self, epoch: int) -> bool:
        """Return True if the validation samples are scored after an epoch, counted from 1.

        That is after every epoch of a training of up to `VALIDATIONS` epochs. A longer one is scored so many times, at
        equal distances and at the end: with few labels an epoch can be a single step, and scoring takes longer than it.
        """
        times = min(VALIDATIONS, self.epochs)
        return epoch * times // self.epochs > (epoch - 1) * times // self.epochs

    def samples_until(self, epoch: int) -> int:
        """Return how many samples are trained on, repeats included, until the end of an epoch, counted from 1."""
        if not epoch:
            return 0
        whole, extra = divmod(self.samples, self.steps_per_epoch)
        last = self.steps_in(epoch)  # the first batches are the larger ones, by at most one sample
        labelled = (epoch - 1) * self.samples + last * whole + min(last, extra)
        return labelled + ((epoch - 1) * self.steps_per_epoch + last) * self.unlabelled


def with_epochs(settings: TrainSettings, samples: int) -> TrainSettings:
    """Return the settings with the number of epochs as a run records it.

    A recorded number keeps an interrupted run at its length if the default changes later.

    Args:
        settings: of the run.
        samples: training samples.
    """
    return replace(settings, epochs=_epochs(settings, _steps_per_epoch(settings, samples)))


def _steps_per_epoch(settings: TrainSettings, samples: int) -> int:
    return max(1, math.ceil(samples / settings.batch_size))


def _epochs(settings: TrainSettings, each: int) -> int:
    """Return the number of epochs, if an epoch has `each` steps. Where steps are given, it has no effect."""
    if settings.epochs is not None:
        return settings.epochs
    if settings.steps is not None:
        return EARLIER_EPOCHS  # so runs of earlier versions with these steps can be resumed
    return max(LEAST_EPOCHS, math.ceil(FEW_STEPS / each))

"""Count the steps of a training: given in epochs, or in steps of the optimiser.

A number of steps is exact. The last epoch ends where they are used up, so that trainings with different numbers of
samples can be compared after the same number of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.settings import TrainSettings

__all__ = ["FEW_STEPS", "Budget"]

FEW_STEPS = 2000
"""Steps below which a training may be too short. From 65 images of ISIC 2018, the network of the image alone gains .03
Dice between 400 and 2,000 steps, and is then ahead of one that was ahead of it (tests/benchmarks/RESULTS.md)."""


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
        each = max(1, math.ceil(samples / settings.batch_size))
        steps = settings.epochs * each if settings.steps is None else settings.steps
        unlabelled = settings.batch_size if settings.unlabelled else 0
        return cls(samples=samples, steps_per_epoch=each, steps=steps, unlabelled=unlabelled)

    @property
    def epochs(self) -> int:
        """Return the number of epochs; the last may be shorter than the others."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Return the number of steps in an epoch, counted from 1."""
        return min(self.steps_per_epoch, self.steps - (epoch - 1) * self.steps_per_epoch)

    def samples_until(self, epoch: int) -> int:
        """Return how many samples are trained on, repeats included, until the end of an epoch, counted from 1."""
        if not epoch:
            return 0
        whole, extra = divmod(self.samples, self.steps_per_epoch)
        last = self.steps_in(epoch)  # the first batches are the larger ones, by at most one sample
        labelled = (epoch - 1) * self.samples + last * whole + min(last, extra)
        return labelled + ((epoch - 1) * self.steps_per_epoch + last) * self.unlabelled

"""Learning rate, weight decay, momentum and temperature by step, as in Caron et al. 2021, section 3.2.

Steps count from 1; what is asked for at step n is what step n is done with. Warm-up lasts a share of the steps, in the
paper 10 of 100 epochs for the learning rate and 30 for the temperature; here it is the same for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.settings import PretrainSettings

__all__ = ["Schedules"]

LEARNING_RATE_END = 1e-6
TEMPERATURE_START = 0.04


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """Every number that changes from step to step."""

    steps: int
    warmup: int
    """Steps of the warm-up; 0 for none."""
    frozen: int
    """Steps during which the head's last layer does not learn."""
    lr: float
    weight_decay: tuple[float, float]
    """At the first and at the last step."""
    momentum: float
    """The teacher's at the first step; 1 at the last."""
    temperature: float
    """The teacher's after the warm-up."""

    @classmethod
    def of(cls, settings: PretrainSettings) -> Schedules:
        """The schedules that the settings ask for."""
        return cls(
            steps=settings.steps,
            warmup=round(settings.warmup * settings.steps),
            frozen=round(settings.freeze_last * settings.steps),
            lr=settings.lr,
            weight_decay=(settings.weight_decay, settings.weight_decay_end),
            momentum=settings.momentum,
            temperature=settings.teacher_temperature,
        )

    def learning_rate(self, step: int) -> float:
        """A line from 0 to the peak, then a cosine to 1e-6."""
        if step <= self.warmup:
            return self.lr * step / self.warmup
        return _cosine(self.lr, min(LEARNING_RATE_END, self.lr), (step - self.warmup) / (self.steps - self.warmup))

    def weight_decay_at(self, step: int) -> float:
        """A cosine from the first to the last value."""
        return _cosine(*self.weight_decay, self._progress(step))

    def momentum_at(self, step: int) -> float:
        """A cosine from the first value to 1, which leaves the teacher as it is."""
        return _cosine(self.momentum, 1.0, self._progress(step))

    def teacher_temperature(self, step: int) -> float:
        """A line from 0.04, or less if the final temperature is less, over the warm-up; then constant."""
        start = min(TEMPERATURE_START, self.temperature)
        share = min(1.0, step / self.warmup) if self.warmup else 1.0
        return start + (self.temperature - start) * share

    def _progress(self, step: int) -> float:
        """0 at the first step, 1 at the last."""
        return (step - 1) / max(1, self.steps - 1)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))

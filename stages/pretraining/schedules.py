"""Schedules of learning rate, weight decay, momentum and temperature, as in Caron et al. 2021, section 3.2.

Steps count from 1; the value at step n is the one used in step n. Warm-up lasts a share of the steps. In the paper it
is 10 of 100 epochs for the learning rate and 30 for the temperature; here it is the same for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.runs.schedules import cosine
from stages.settings import PretrainSettings

__all__ = ["Schedules"]

LEARNING_RATE_END = 1e-6
TEMPERATURE_START = 0.04


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """Compute the learning rate, weight decay, momentum and temperature of every step."""

    steps: int
    warmup: int
    """Steps of the warm-up; 0 for none."""
    frozen: int
    """Steps during which the head's last layer is frozen."""
    lr: float
    """Peak learning rate."""
    weight_decay: tuple[float, float]
    """Weight decay at the first and at the last step."""
    momentum: float
    """Momentum of the teacher at the first step. At the last step it is 1."""
    temperature: float
    """Temperature of the teacher after the warm-up."""

    @classmethod
    def of(cls, settings: PretrainSettings) -> Schedules:
        """Return the schedules that the settings describe."""
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
        """Return the learning rate: a linear rise from 0 to the peak, then a cosine down to 1e-6."""
        if step <= self.warmup:
            return self.lr * step / self.warmup
        # Divide before multiplying by pi, unlike in `WarmupCosine`: another order rounds differently and changes the
        # weights of resumed runs.
        share = (step - self.warmup) / (self.steps - self.warmup)
        return cosine(self.lr, min(LEARNING_RATE_END, self.lr), math.pi * share)

    def weight_decay_at(self, step: int) -> float:
        """Return the weight decay: half a cosine from the first to the last value."""
        return cosine(*self.weight_decay, math.pi * self._progress(step))

    def momentum_at(self, step: int) -> float:
        """Return the teacher's momentum: half a cosine from the first value to 1, where the teacher stops changing."""
        return cosine(self.momentum, 1.0, math.pi * self._progress(step))

    def teacher_temperature(self, step: int) -> float:
        """Return the teacher's temperature: a linear rise during the warm-up, then a constant.

        The rise starts at 0.04, or at the final temperature if that is lower.
        """
        start = min(TEMPERATURE_START, self.temperature)
        share = min(1.0, step / self.warmup) if self.warmup else 1.0
        return start + (self.temperature - start) * share

    def _progress(self, step: int) -> float:
        """Return 0 at the first step and 1 at the last."""
        return (step - 1) / max(1, self.steps - 1)

"""Compute schedules (warm-up and cosine), and a seed for every epoch or step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["WarmupCosine", "cosine", "mixed_seed"]


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """A linear rise from 0 to the peak, then half a cosine down to 0 (Loshchilov & Hutter 2017)."""

    peak: float
    warmup: int
    """Steps of the rise; 0 for none."""
    total: int
    """Steps of the whole run, more than `warmup`."""

    def at(self, step: float) -> float:
        """Return the value at a position from 0 (above 0 without warm-up) to `total`; half steps are allowed."""
        if step <= self.warmup:
            return self.peak * step / self.warmup
        # Multiply before dividing: another order rounds differently and changes the weights of resumed runs.
        return cosine(self.peak, 0.0, math.pi * (step - self.warmup) / (self.total - self.warmup))


def cosine(start: float, end: float, angle: float) -> float:
    """Return a point of half a cosine: `start` at angle 0, `end` at angle pi."""
    return end + (start - end) * 0.5 * (1 + math.cos(angle))


def mixed_seed(seed: int, number: int) -> int:
    """Return one 64-bit seed made of a run's seed and the number of an epoch or step.

    Neighbouring seeds and numbers give unrelated seeds.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])

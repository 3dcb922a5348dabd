"""Compute a hierarchical bootstrap interval over splits, seeds and images.

In every resample P splits, S seeds and the images are drawn with replacement. A seed is drawn as often in every split,
because it gives the same weights and mostly the same labelled images there, and so is an image. The statistic is the
mean over the drawn values, with every drawn run counting the same. The interval is between the percentiles of 10,000
resamples. The same values always give the same interval.

With few splits and seeds this interval is too narrow: a sample of three has less spread than what it is a sample of. It
is given because it needs no model of the effects; claims are made by `tests.benchmarks.evidence.pooled_effects`.

Sources: Davison and Hinkley 1997, "Bootstrap methods and their application", section 3.8; Owen 2007, "The pigeonhole
bootstrap", for images that are crossed with runs.
"""

from __future__ import annotations

import numpy as np

from stages.comparison.results import Floats

__all__ = ["RESAMPLES", "bootstrap_interval"]

RESAMPLES = 10_000
AT_A_TIME = 1000
CONFIDENCE = 0.95


def bootstrap_interval(values: Floats, *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean.

    Args:
        values: (split, seed, image); nan for all seeds where a split does not test an image.
        resamples: number of resamples.
    """
    splits, seeds, images = values.shape
    random = np.random.default_rng(0)
    table = values.reshape(splits * seeds, images)
    there = ~np.isnan(table)
    filled, counted = np.where(there, table, 0.0), there.astype(np.float64)
    means = []
    for start in range(0, resamples, AT_A_TIME):
        size = min(AT_A_TIME, resamples - start)
        runs = _drawn_runs(random, size, splits, seeds)
        drawn = random.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        each = (drawn @ filled.T) / np.maximum(drawn @ counted.T, 1.0)
        means.append((runs * each).sum(axis=1) / runs.sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)


def _drawn_runs(random: np.random.Generator, size: int, splits: int, seeds: int) -> Floats:
    """Return how often every run is drawn, (resample, run): as often as its split times as often as its seed."""
    drawn = [random.multinomial(count, np.full(count, 1 / count), size=size) for count in (splits, seeds)]
    counts: Floats = (drawn[0][:, :, None] * drawn[1][:, None, :]).reshape(size, splits * seeds).astype(np.float64)
    return counts

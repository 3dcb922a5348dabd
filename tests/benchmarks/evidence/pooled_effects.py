"""Compute the error of a mean over splits, seeds and images, where splits share images.

This extends `stages.comparison.crossed_effects` to several splits of the same images. The values are a table of
splits × seeds × images; an image that a split does not test has no value there. Every split tests n images. The model,
for the Dice of an arm or for the paired difference of two arms:

    value[split, seed, image] = mean + split + seed + run + image (+ image within split) + rest

A seed gives the same initial weights in every split, and about 70 % of the same labelled images, because images are
ordered by a hash of (seed, id) and two splits share most training images. So seeds are crossed with splits, as images
are: P splits with S seeds are P S runs of S draws. An image has the same effect in every split that tests it. The error
of the mean over all values is the sum of three independent parts, each known as well as its own sample is large:

    error = sqrt(split) t[P-1] + sqrt(seed) t[S-1] + sqrt(image) t[G-1]

    seed  = A / (P S)
    split = max(0, S var(split means) - M - S D) / (P S)
    image = max(0, C G / (G - 1) - E / N)

| sign | |
|---|---|
| A | P × variance of the seeds' means over all splits |
| M | mean square of the runs' means that neither seed nor split explains; 0 with one seed |
| D | what the different test images add to var(split means) by themselves, see below |
| C | sum over the G images of their squared share in the deviation from the mean |
| E, N | mean square of the rest within splits, and the number of values |

D is (image variance within a split) × the sum, over images and splits, of (weight in the split's mean - mean weight)²
/ (P - 1). With one split this is `crossed_effects` exactly. The image part is the variance of cluster sums, as in
two-way clustering (Cameron, Gelbach and Miller 2011, "Robust inference with multiway clustering").

**What it covers.** New seeds (labels and weights), new images, and new splits as far as three splits show how much they
differ. Splits share most training images. If no effect of the split is seen in the data, the split part is 0. The
interval is for data of this kind, not for another hospital. One seed says nothing about seeds.

**Accuracy.** Simulated with 3 splits and 5 seeds, of whose variance the splits share 70 %; normal effects, standard
deviations as given; 60 test images a split out of 100 (300 times), and 372 out of 600 (200 times): how often "95 %"
intervals hold the true mean, in percent, and how often p < .005 occurs without a difference, at most.

| split | seed | image | rest | 60 of 100 | bootstrap | 372 of 600 | p < .005 |
|------:|-----:|------:|-----:|----------:|----------:|-----------:|---------:|
|     0 |    0 |   .05 |  .05 |        98 |        99 |         96 |      1.0 |
|     0 |  .02 |   .05 |  .05 |        97 |        94 |         96 |       .5 |
|     0 |  .01 |     0 |  .05 |        96 |        95 |         96 |       .5 |
|  .005 |  .01 |   .05 |  .05 |        98 |        98 |         98 |       .5 |
|   .01 |  .01 |   .05 |  .05 |        97 |        96 |         96 |       .7 |
|   .02 |  .01 |   .03 |  .05 |        97 |        85 |         98 |       0  |

With two or three seeds and the same effects it is 96 % and more, and p < .005 occurs in .5 % at most. With one seed it
is 72 to 97 %, the bootstrap 67 to 98 %, and p < .005 occurs in up to 8.5 %: worst where seeds differ most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from stages.comparison.crossed_effects import mean_squares
from stages.comparison.results import Floats

__all__ = ["CONFIDENCE", "PooledError", "pooled_error", "pooled_mean"]

CONFIDENCE = 0.95
NODES = np.linspace(-6.5, 6.5, 131)
"""Points of a standard normal variable for the integrals over t."""


@dataclass(frozen=True, kw_only=True)
class PooledError:
    """Hold the distribution of the error of a mean: a sum of independent scaled t variables."""

    parts: tuple[tuple[float, int], ...]
    """(scale, degrees of freedom) of every part; parts of scale 0 are left out."""

    @property
    def size(self) -> float:
        """Return the standard error: the root of the sum of the variances."""
        return math.hypot(*(scale for scale, _ in self.parts))

    def p(self, distance: float) -> float:
        """Return the probability that the error is at least as large, to either side, as a distance."""
        from scipy.stats import t

        if not self.parts:
            return 1.0 if distance == 0 else 0.0
        (scale, degrees), *others = sorted(self.parts, reverse=True)
        sums, weights = np.zeros(1), np.ones(1)
        for other, freedom in others:
            points, chances = _t_nodes(freedom)
            sums = (sums[:, None] + other * points).ravel()
            weights = (weights[:, None] * chances).ravel()
        return min(1.0, 2 * float(weights @ t.sf((abs(distance) - sums) / scale, degrees)))

    def half_width(self) -> float:
        """Return half the width of the 95 % interval; 0 if all values are equal."""
        from scipy.optimize import brentq
        from scipy.stats import t

        if not self.parts:
            return 0.0
        most = 2 * sum(scale * float(t.ppf((1 + CONFIDENCE) / 2, degrees)) for scale, degrees in self.parts)
        half: Any = brentq(lambda width: self.p(width) - (1 - CONFIDENCE), 0, most, rtol=1e-8)
        return float(half)


def pooled_mean(values: Floats) -> float:
    """Return the mean of the values; every split counts the same.

    Args:
        values: (split, seed, image); nan for all seeds where a split does not test an image.
    """
    return float(np.nanmean(values, axis=(1, 2)).mean())


def pooled_error(values: Floats) -> PooledError:
    """Return the error of `pooled_mean`; see the module.

    Args:
        values: (split, seed, image); nan for all seeds where a split does not test an image. At least two images a
            split.
    """
    splits, seeds, _ = values.shape
    there = ~np.isnan(values[:, 0])
    tested = there.any(axis=0)
    values, there = values[:, :, tested], there[:, tested]
    count, images = there.sum(axis=1), there.shape[1]
    by_run = np.nanmean(values, axis=2)
    by_split = by_run.mean(axis=1)
    squares = [
        [float(part[0, 0]) for part in mean_squares(values[split][None, :, there[split]])] for split in range(splits)
    ]
    rest = float(np.mean([e for _, _, e in squares]))
    image_variance = float(np.mean([max(0.0, b - e) / seeds for _, b, e in squares]))

    by_seed = by_run.mean(axis=0)
    seed = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    alone = by_run - by_split[:, None] - by_seed + by_run.mean()
    unexplained = float((alone**2).sum()) / max(1, (splits - 1) * (seeds - 1))

    split = 0.0
    if splits > 1:
        weights = there / count[:, None]
        apart = float(((weights - weights.mean(axis=0)) ** 2).sum()) / (splits - 1)
        excess = seeds * float(by_split.var(ddof=1)) - unexplained - seeds * image_variance * apart
        split = max(0.0, excess) / (splits * seeds)

    centred = np.where(there[:, None], values - by_split.mean(), 0.0).mean(axis=1)
    shares = (centred / count[:, None]).sum(axis=0) / splits
    cells = rest / (seeds * float(count.sum()))
    image = max(0.0, float((shares**2).sum()) * images / (images - 1) - cells)

    degrees = (splits - 1, seeds - 1, images - 1)
    parts = zip((split, seed, image), degrees, strict=True)
    return PooledError(parts=tuple((math.sqrt(part), freedom) for part, freedom in parts if part > 0))


@lru_cache(maxsize=32)
def _t_nodes(degrees: int) -> tuple[Floats, Floats]:
    """Return points and weights that integrate over Student's t: quantiles of evenly spaced normal values."""
    from scipy.stats import norm, t

    half = t.ppf(norm.cdf(NODES[NODES <= 0]), degrees)
    points: Floats = np.concatenate([half, -half[-2::-1]])
    weights: Floats = norm.pdf(NODES)
    return points, weights / weights.sum()

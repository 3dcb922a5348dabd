"""Compute the error of a mean over seeds and images that are both samples: two crossed random effects.

Dice is a table of seeds × images. Another seed draws other labelled images and other weights; another test set would
hold other images. The model, for the Dice of an arm or for the difference of two arms:

    value[seed, image] = mean + effect of the seed + effect of the image + rest

With S seeds and G images, the mean squares A of the seeds, B of the images and E of the rest (the two-way analysis of
variance) have the expectations below, and the mean over the table has the variance (E[A] + E[B] - E[E]) / (S G).

    E[A] = rest² + G seed²        E[B] = rest² + S image²        E[E] = rest²

Its error is taken as the sum of two independent parts, each known as well as its own sample is large:

    error = sqrt(A / (S G)) t[S-1] + sqrt(max(0, B - E) / (S G)) t[G-1]

with t[n] distributed as Student's t with n degrees of freedom. This is the fiducial solution of Behrens and Fisher for
a sum of two variances (a generalised confidence interval in the sense of Weerahandi 1993). One seed says nothing about
seeds; then the error is sqrt(B / G) t[G-1].

**Why this one.** Simulated with normal effects, 10 to 200 images, standard deviations of 0 to .03 for seeds, 0 to .1
for images and .02 to .1 for the rest: how often "95 %" intervals hold the true mean, in percent, lowest to highest.

| seeds | this module | Satterthwaite's t | bootstrap of seeds and images | t over seeds | t over images |
|------:|------------:|------------------:|------------------------------:|-------------:|--------------:|
|     2 |    94 to 99 |          76 to 96 |                     55 to 100 |     85 to 96 |       8 to 96 |
|     3 |    94 to 98 |          82 to 96 |                     72 to 100 |     64 to 96 |       7 to 96 |
|     5 |    95 to 97 |          90 to 98 |                     82 to 100 |     41 to 96 |       8 to 96 |
|    10 |    94 to 96 |          94 to 97 |                     88 to 100 |     26 to 96 |       7 to 96 |

Holm's correction also needs the level to be kept far out. Without a difference, p < .0025 occurred in at most .5 % of
the simulations, where Satterthwaite's t had up to 2.5 % with three seeds. With skewed effects (exponential), the lowest
coverage is 91, 88, 88 and 90 %, and p < .0025 occurred in up to 2.6 %.

**Groups.** Images of one patient are alike. The images of a group are summed to one column of the table first:
y[seed, group] = mean + G / I × the sum of (value - mean) over the group's images, for I images in G groups. The mean of
y is the mean over images, and B becomes the variance between groups (linearised, as in cluster sampling).

Sources: Searle, Casella and McCulloch 1992, "Variance Components", chapter 4; Weerahandi 1993, "Generalized confidence
intervals"; Satterthwaite 1946; Owen 2007, "The pigeonhole bootstrap".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from stages.comparison.results import Floats

__all__ = ["CrossedError", "crossed_error", "group_columns", "mean_squares"]

CONFIDENCE = 0.95
NODES = np.linspace(-8, 8, 513)
"""Points of a standard normal variable for the integral over t[G-1]."""


@dataclass(frozen=True, kw_only=True)
class CrossedError:
    """Hold the distribution of the error of a mean: the sum of two scaled t variables."""

    seed_scale: float
    seed_degrees: int
    """S - 1; 0 with one seed, whose scale is 0."""
    image_scale: float
    image_degrees: int
    """G - 1."""

    @property
    def size(self) -> float:
        """Return the standard error: the root of the sum of both variances."""
        return math.hypot(self.seed_scale, self.image_scale)

    def p(self, distance: float) -> float:
        """Return the probability that the error is at least as large, to either side, as a distance."""
        from scipy.stats import t

        far = abs(distance)
        if self.seed_scale == 0:
            return float(2 * t.sf(far / self.image_scale, self.image_degrees))
        points, weights = _t_nodes(self.image_degrees)
        tails = t.sf((far - self.image_scale * points) / self.seed_scale, self.seed_degrees)
        return min(1.0, 2 * float(weights @ tails))  # the points are symmetric, so both tails are equal

    def half_width(self) -> float:
        """Return half the width of the 95 % interval."""
        from scipy.optimize import brentq
        from scipy.stats import t

        tail = (1 + CONFIDENCE) / 2
        by_images = self.image_scale * float(t.ppf(tail, self.image_degrees))
        if self.seed_scale == 0:
            return by_images
        most = 2 * (by_images + self.seed_scale * float(t.ppf(tail, self.seed_degrees)))
        half: Any = brentq(self._excess, 0, most, rtol=1e-10)
        return float(half)

    def _excess(self, half: float) -> float:
        """Return by how much the probability beyond a half width is too large; 0 at that of the interval."""
        return self.p(half) - (1 - CONFIDENCE)


def crossed_error(columns: Floats) -> CrossedError:
    """Return the error of the mean of a (seed, group) table; see the module.

    Args:
        columns: (seed, group) of at least two groups, as `group_columns` returns them.
    """
    seeds, groups = columns.shape
    a, b, e = (float(part[0, 0]) for part in mean_squares(columns[None]))
    return CrossedError(
        seed_scale=math.sqrt(a / (seeds * groups)),
        seed_degrees=seeds - 1,
        image_scale=math.sqrt(max(0.0, b - e) / (seeds * groups)),
        image_degrees=groups - 1,
    )


def group_columns(values: Floats, clusters: Sequence[str]) -> Floats:
    """Return the values by group, (…, seed, group), so that their mean is the mean over images.

    Args:
        values: (…, seed, image).
        clusters: Group of each image, at least one.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    number = np.array([numbers[name] for name in clusters])
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(numbers)))
    grand = values.mean(axis=(-2, -1), keepdims=True)
    sums = np.add.reduceat((values - grand)[..., order], starts, axis=-1)
    columns: Floats = grand + (len(numbers) / len(clusters)) * sums
    return columns


def mean_squares(columns: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the mean squares of several tables over the same seeds and groups, and their mean products.

    Args:
        columns: (table, seed, group), as `group_columns` returns them; at least two groups.

    Returns:
        (table, table) each: A of the seeds, B of the groups and E of the rest. With one seed, A and E are 0.
    """
    count, seeds, groups = columns.shape
    by_seed, by_group, grand = columns.mean(axis=2), columns.mean(axis=1), columns.mean(axis=(1, 2))
    off_seed, off_group = by_seed - grand[:, None], by_group - grand[:, None]
    rest = (columns - by_seed[:, :, None] - by_group[:, None, :] + grand[:, None, None]).reshape(count, -1)
    freedom = max(1, seeds - 1)  # of the seeds; with one seed all their deviations are 0
    of_seeds: Floats = groups * (off_seed @ off_seed.T) / freedom
    of_groups: Floats = seeds * (off_group @ off_group.T) / (groups - 1)
    of_rest: Floats = rest @ rest.T / (freedom * (groups - 1))
    return of_seeds, of_groups, of_rest


@lru_cache(maxsize=16)
def _t_nodes(degrees: int) -> tuple[Floats, Floats]:
    """Return points and weights that integrate over Student's t: quantiles of evenly spaced normal values."""
    from scipy.stats import norm, t

    half = t.ppf(norm.cdf(NODES[NODES <= 0]), degrees)
    points: Floats = np.concatenate([half, -half[-2::-1]])
    weights: Floats = norm.pdf(NODES)
    return points, weights / weights.sum()

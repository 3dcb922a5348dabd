"""Scale images and attention maps before they enter the network.

A checkpoint records the name of the scaling of maps, because prediction must use the same. To add one, add an entry to
`NORMALISATIONS`; the setting `attention_norm` of `pipeline train` then has its name as a choice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stages.runs.tables import entry_of
from stages.settings import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["NORMALISATIONS", "Normalisation", "noise_unit", "normalise_attention", "normalise_image"]

SMALLEST = 1e-4
"""Lower bound before the logarithm, relative to uniform attention, so that the logarithm stays finite."""

FLATTEST = 1e-2
"""Lower bound of the deviation of a map's logarithm: in a flatter map, float16 rounding would be amplified."""

Normalisation = Callable[[Tensor], Tensor]
"""From (batch, head, row, column) float, probability × keys, to the same shape; every map by itself.

The argument must not be changed.
"""


def normalise_image(image: Tensor) -> Tensor:
    """Scale images by ImageNet's mean and deviation.

    Args:
        image: (batch, 3, row, column) float RGB in [0, 255].

    Returns:
        The same shape, mean near 0 and deviation near 1.
    """
    mean, std = (torch.tensor(of, device=image.device, dtype=image.dtype) for of in (IMAGENET_MEAN, IMAGENET_STD))
    scale, shift = 1 / (255 * std), mean / std
    return (image * scale[:, None, None]).sub_(shift[:, None, None])  # two passes over the pixels instead of three


def normalise_attention(attention: Tensor, how: str) -> Tensor:
    """Scale every map by itself.

    Args:
        attention: (batch, head, row, column) float, probability × keys.
        how: a name in `NORMALISATIONS`.

    Returns:
        The same shape.

    Raises:
        UsageError: there is no such normalisation.
    """
    return entry_of(NORMALISATIONS, how, "attention_norm")(attention)


def noise_unit(maps: Tensor, how: str) -> Tensor | float:
    """Return the unit of the noise that training adds to scaled maps.

    | scaling | unit | reason |
    |---|---|---|
    | log | 1 | the deviation of every map is 1 |
    | minmax | deviation of each map | it is .04 to .4 (maps of 20 images); noise of half the range would hide the map |
    | none | 1 | the values are used as stored, and not changed here |

    Args:
        maps: (batch, head, row, column) float, scaled.
        how: a name in `NORMALISATIONS`.

    Returns:
        (batch, head, 1, 1) float, or one number for all maps.
    """
    return maps.std(dim=(2, 3), keepdim=True, correction=0) if how == "minmax" else 1.0


def log_standardised(attention: Tensor) -> Tensor:
    """Take the logarithm, then scale to mean 0 and deviation 1; arguments as in `Normalisation`.

    Attention is close to log-normal, so a few very bright patches do not outweigh the rest. A constant map becomes
    zeros, up to rounding.
    """
    logarithm = attention.clamp_min(SMALLEST).log()
    centred = logarithm - logarithm.mean(dim=(2, 3), keepdim=True)
    return centred / centred.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp_min(FLATTEST)


def to_unit_range(attention: Tensor) -> Tensor:
    """Scale to [0, 1]; arguments as in `Normalisation`. A constant map becomes zeros."""
    low, high = attention.amin(dim=(2, 3), keepdim=True), attention.amax(dim=(2, 3), keepdim=True)
    return (attention - low) / (high - low).clamp_min(SMALLEST)


def as_stored(attention: Tensor) -> Tensor:
    """Return the maps unchanged; arguments as in `Normalisation`."""
    return attention


NORMALISATIONS: dict[str, Normalisation] = {
    "log": log_standardised,
    "minmax": to_unit_range,
    "none": as_stored,
}
"""Scalings of attention maps by the name that a user gives."""

"""How bytes become the network's inputs. Recorded in the checkpoint: prediction must do the same."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stages.settings import IMAGENET_MEAN, IMAGENET_STD

AttentionNorm = Literal["log", "minmax", "none"]

SMALLEST = 1e-4
"""Attention below a ten-thousandth of uniform counts as that much, so that its logarithm stays finite."""

FLATTEST = 1e-2
"""A map whose logarithm deviates by less is not blown up: float16 keeps three digits, the rest is rounding."""


def normalise_image(image: Tensor) -> Tensor:
    """(batch, 3, row, column) float RGB in [0, 255] → the same shape, mean near 0 and deviation near 1."""
    mean, std = (torch.tensor(of, device=image.device, dtype=image.dtype) for of in (IMAGENET_MEAN, IMAGENET_STD))
    scale, shift = 1 / (255 * std), mean / std
    return (image * scale[:, None, None]).sub_(shift[:, None, None])  # two passes over the pixels in place of three


def normalise_attention(attention: Tensor, how: AttentionNorm) -> Tensor:
    """Scale every map by itself.

    Args:
        attention: (batch, head, row, column) float, probability × keys.
        how: `log`: logarithm, then mean 0 and deviation 1 (attention is close to log-normal, so a few
            very bright patches do not drown the rest); `minmax`: to [0, 1]; `none`: as stored.

    Returns:
        The same shape. A constant map becomes zeros, to rounding.
    """
    if how == "none":
        return attention
    if how == "minmax":
        low, high = attention.amin(dim=(2, 3), keepdim=True), attention.amax(dim=(2, 3), keepdim=True)
        return (attention - low) / (high - low).clamp_min(SMALLEST)
    logarithm = attention.clamp_min(SMALLEST).log()
    centred = logarithm - logarithm.mean(dim=(2, 3), keepdim=True)
    return centred / centred.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp_min(FLATTEST)

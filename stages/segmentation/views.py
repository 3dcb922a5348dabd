"""Make the batch that a network is trained on: augmented inputs, and the branches that are silenced."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from stages.segmentation.batches import TensorBatch
from stages.segmentation.inputs import augmented_inputs
from stages.segmentation.network import NetworkConfig
from stages.settings import Border, TrainSettings

__all__ = ["View", "augmented_view", "draw_silenced", "joined"]


@dataclass(frozen=True)
class View:
    """Hold an augmented batch on its device."""

    image: Tensor
    """(sample, 3, row, column) float32, normalised."""
    mask: Tensor
    """(sample, row, column) uint8; 255 is ignored."""
    attention: Tensor
    """(sample, head, row, column) float32, normalised, at the size that the network takes."""
    silenced: Tensor
    """(sample, 2) bool: samples whose image features, and whose attention features, are set to zero."""


def augmented_view(
    batch: TensorBatch,
    config: NetworkConfig,
    settings: TrainSettings,
    generator: Generator,
    *,
    border: Border | None = None,
) -> View:
    """Augment a batch as the settings of a training say.

    Args:
        batch: samples, as stored.
        config: of the network.
        settings: of the training.
        generator: source of the random numbers, on the CPU.
        border: what the mask is outside the picture; None for that of the settings.
    """
    image, mask, attention = augmented_inputs(
        batch,
        config,
        settings.attention_norm,
        settings.augment,
        generator,
        border=border or settings.border,
        map_dropout=settings.map_dropout,
        map_noise=settings.map_noise,
    )
    silenced = draw_silenced(len(image), settings.branch_dropout, generator)
    return View(image, mask, attention, silenced.to(image.device))


def draw_silenced(count: int, share: float, generator: Generator) -> Tensor:
    """Draw the samples of which one branch is silenced: (count, 2) bool, image before attention, on the CPU."""
    chosen = torch.rand(count, generator=generator) < share
    attention = torch.rand(count, generator=generator) < 0.5  # noqa: PLR2004 - both branches are equally likely
    return torch.stack([chosen & ~attention, chosen & attention], dim=1)


def joined(one: View, other: View) -> View:
    """Return both batches as one, `one` first."""
    return View(
        torch.cat([one.image, other.image]),
        torch.cat([one.mask, other.mask]),
        torch.cat([one.attention, other.attention]),
        torch.cat([one.silenced, other.silenced]),
    )

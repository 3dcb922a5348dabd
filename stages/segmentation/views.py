"""Make the batch that a network is trained on: augmented inputs, and the branches that are silenced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from stages.runs.schedules import mixed_seed
from stages.runtime.parts import Part
from stages.runtime.processes import ALONE, Processes
from stages.segmentation.batches import ResidentSamples, StreamedSamples, TensorBatch
from stages.segmentation.inputs import augmented_inputs
from stages.segmentation.network import NetworkConfig
from stages.settings import Border, TrainSettings

__all__ = ["View", "augmented_view", "draw_silenced", "joined", "training_views"]


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
    part: Part | None = None,
) -> View:
    """Augment a batch as the settings of a training say.

    Args:
        batch: samples, as stored.
        config: of the network.
        settings: of the training.
        generator: source of the random numbers, on the CPU.
        border: what the mask is outside the picture; None for that of the settings.
        part: which samples of a larger batch these are; None if they are the batch.
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
        part=part,
    )
    part = part or Part.whole(len(image))
    silenced = part.of(draw_silenced(part.total, settings.branch_dropout, generator))
    return View(image, mask, attention, silenced.to(image.device))


def training_views(
    samples: ResidentSamples | StreamedSamples,
    order: Sequence[NDArray[np.int64]],
    config: NetworkConfig,
    settings: TrainSettings,
    epoch: int,
    processes: Processes = ALONE,
) -> Iterator[tuple[int, View]]:
    """Yield for every batch of an epoch its size, and the augmented samples of it that this process computes.

    Args:
        samples: hold the training samples.
        order: positions in the store of the samples of each batch, over all processes.
        config: of the network.
        settings: of the training.
        epoch: decides the random numbers, together with the seed.
        processes: this process, and how many there are.
    """
    generator = Generator().manual_seed(mixed_seed(settings.seed, epoch))
    parts = [processes.part(len(some)) for some in order]
    shares = [some[part.share] for some, part in zip(order, parts, strict=True)]
    for part, batch in zip(parts, samples.batches(shares), strict=True):
        yield part.total, augmented_view(batch, config, settings, generator, part=part)


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

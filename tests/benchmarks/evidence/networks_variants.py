"""Variants of our own network that join image and attention in another way.

| name | what differs from the network as shipped (both branches) |
|---|---|
| gated | attention scales the image's features in place of being mixed with them; equal parameters |
| prior | two networks, one for each branch; their logits are added; at most as many parameters |
| deep | the decoder's deeper levels are trained too (deep supervision) |
| narrow_image | the image's encoder has half the channels, the attention's all of them |

Each is a function with the signature of `stages.comparison.arms.Network`. The settings of the arm (width, blocks, stem,
fusion) hold for all of them; the branches must be `dual`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from stages.errors import UsageError
from stages.segmentation.blocks import block, convolution
from stages.segmentation.losses import Loss
from stages.segmentation.network import LEVELS, Encoder, NetworkConfig, Segmenter

__all__ = [
    "VARIANTS",
    "AddedLogits",
    "DeeplySupervised",
    "GatedFusion",
    "NarrowImage",
    "count_parameters",
    "deep",
    "gated",
    "narrow_image",
    "prior",
]


class GatedFusion(nn.Module):
    """Scale the image's features by a gate between 0 and 2 that the attention's features give.

    It has as many parameters as `stages.segmentation.fusions.ConvolutionFusion`: two 1×1 convolutions of C to C
    channels in place of one of 2C to C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(channels, channels, kernel_size=1, bias=False)

    def forward(self, image: Tensor, attention: Tensor) -> Tensor:
        """Join two tensors (batch, channel, row, column) to one of the same shape."""
        return F.relu(self.norm(self.value(image)) * (2 * self.gate(attention).sigmoid()))


class AddedLogits(nn.Module):
    """Add the logits of a network that sees the image and of one that sees the attention: a prior on every pixel.

    The image's network has the width of the configuration, the other one the largest width at which both together
    have no more parameters than our network with both branches.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.image = Segmenter(replace(config, branches="image"))
        allowed = count_parameters(Segmenter, config) - count_parameters(Segmenter, self.image.config)
        self.attention = Segmenter(_widest(replace(config, branches="attention"), allowed))

    def forward(self, image: Tensor, attention: Tensor, silenced: Tensor | None = None) -> Tensor:
        """Return logits; arguments as in `Segmenter.forward`. A silenced branch adds no logits."""
        logits = [self.image(image, attention), self.attention(image, attention)]
        if silenced is not None:
            kept = (~silenced).to(image.dtype)[:, :, None, None, None]
            logits = [one * kept[:, branch] for branch, one in enumerate(logits)]
        return logits[0] + logits[1]


class DeeplySupervised(Segmenter):
    """Give logits at every level of the decoder in training; at prediction only those of the first level.

    The loss of a level has half the weight of the level above it, as in nnU-Net; the weights sum to 1.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.deeper = nn.ModuleList(
            nn.Conv2d(config.channels(level), config.outputs, kernel_size=1) for level in range(1, LEVELS - 1)
        )
        self._climbed: dict[int, Tensor] = {}

    def forward(self, image: Tensor, attention: Tensor, silenced: Tensor | None = None) -> Tensor:
        """Return logits; arguments as in `Segmenter.forward`.

        In training (batch, level × class, row, column): the classes of the first level, then those of the next ones.
        """
        logits = super().forward(image, attention, silenced)
        climbed, self._climbed = self._climbed, {}
        if not self.training:
            return logits
        deeper = [
            F.interpolate(head(climbed[level]), size=image.shape[-2:], mode="bilinear", align_corners=False)
            for level, head in enumerate(self.deeper, start=1)
        ]
        return torch.cat([logits, *deeper], dim=1)

    def training_loss(self, loss: Loss) -> Loss:
        """Return the weighted sum of a loss over the levels."""
        weights = [0.5**level for level in range(LEVELS - 1)]

        def of_all_levels(logits: Tensor, mask: Tensor) -> Tensor:
            levels: Sequence[Tensor] = logits.chunk(len(weights), dim=1)
            losses = [weight * loss(one, mask) for weight, one in zip(weights, levels, strict=True)]
            return torch.stack(losses).sum() / sum(weights)

        return of_all_levels

    def _climb(self, level: int, below: Tensor, skip: Tensor | None, size: torch.Size) -> Tensor:
        self._climbed[level] = super()._climb(level, below, skip, size)
        return self._climbed[level]


class NarrowImage(Segmenter):
    """Give the image's encoder half the channels; the attention's encoder and the decoder keep theirs."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        narrow = replace(config, width=config.width // 2)
        self.image_encoder = Encoder(narrow, inputs=3, first_level=0, first_stride=config.first_stride)
        self.fusions = nn.ModuleDict(
            {level: _Mix(narrow.channels(int(level)), config.channels(int(level))) for level in self.fusions}
        )
        for level in range(LEVELS - 1):
            if level not in config.fused_levels:  # there the skip is the image's alone
                entering = config.channels(level + 1) + narrow.channels(level)
                self.decoder[level] = block(config.blocks, entering, config.channels(level))


class _Mix(nn.Module):
    """Join branches of different width by a 1×1 convolution."""

    def __init__(self, image: int, attention: int) -> None:
        super().__init__()
        self.mix = convolution(image + attention, attention, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor) -> Tensor:
        """Join two tensors (batch, channel, row, column) to one with the channels of the second."""
        mixed: Tensor = self.mix(torch.cat([image, attention], dim=1))
        return mixed


def gated(config: NetworkConfig) -> Segmenter:
    """Return our network with gates in place of fusions."""
    network = Segmenter(_both(config))
    for level in network.fusions:
        network.fusions[level] = GatedFusion(config.channels(int(level)))
    return network


def prior(config: NetworkConfig) -> Segmenter:
    """Return two networks whose logits are added."""
    return cast("Segmenter", AddedLogits(_both(config)))


def deep(config: NetworkConfig) -> Segmenter:
    """Return our network with deep supervision."""
    return DeeplySupervised(_both(config))


def narrow_image(config: NetworkConfig) -> Segmenter:
    """Return our network with a narrower image encoder."""
    return NarrowImage(_both(config))


VARIANTS: dict[str, Callable[[NetworkConfig], Segmenter]] = {
    "gated": gated,
    "prior": prior,
    "deep": deep,
    "narrow_image": narrow_image,
}


def count_parameters(network: Callable[[NetworkConfig], nn.Module], config: NetworkConfig) -> int:
    """Return the number of trained parameters of a network; no memory is used for it."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network(config).parameters())


def _widest(config: NetworkConfig, allowed: int) -> NetworkConfig:
    """Return the configuration at its largest width with at most so many parameters, and at least at width 1."""
    width = 1
    while count_parameters(Segmenter, replace(config, width=width + 1)) <= allowed:
        width += 1
    return replace(config, width=width)


def _both(config: NetworkConfig) -> NetworkConfig:
    if config.branches != "dual":
        raise UsageError(f"this network joins image and attention, but the arm's branches are {config.branches}.")
    return config

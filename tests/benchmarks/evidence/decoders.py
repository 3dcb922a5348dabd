"""A convolutional decoder on cached features, with the image beside them.

The layers are those of `ConvDecoderWithImage` in kaiko-eva (github.com/kaiko-ai/eva, 64, 32 and 32 channels): the
features are enlarged and pass a 3×3 convolution, then the image is concatenated at full resolution and two more 3×3
convolutions and a 1×1 convolution follow. Meant for the features of several blocks of a frozen transformer. Two things
differ: the features are enlarged once, after their convolution and bilinearly, and every feature is first scaled to
mean 0 and deviation 1 by batch normalisation without weights, because cached components differ in scale.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from stages.segmentation.blocks import convolution
from stages.segmentation.network import NetworkConfig, Segmenter

__all__ = ["ImageDecoder", "decoder"]

FEATURE_CHANNELS, *IMAGE_CHANNELS = 64, 32, 32
"""Channels of the convolution on the features, and of the two that see the image too."""


class ImageDecoder(nn.Module):
    """Compute logits from features and from the image at full resolution."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = nn.BatchNorm2d(config.heads, affine=False)
        self.features = convolution(config.heads, FEATURE_CHANNELS)
        first, second = IMAGE_CHANNELS
        self.joint = nn.Sequential(convolution(FEATURE_CHANNELS + 3, first), convolution(first, second))
        self.head = nn.Conv2d(second, config.outputs, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor, _silenced: Tensor | None = None) -> Tensor:
        """Return the logits at the size of the image.

        Args:
            image: (batch, 3, row, column) float, normalised.
            attention: (batch, head, row, column) float features at `config.attention_size`.

        Returns:
            (batch, class, row, column) float logits.
        """
        features = self.features(self.scale(attention))
        enlarged = F.interpolate(features, size=image.shape[-2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.head(self.joint(torch.cat([enlarged, image], dim=1)))
        return logits


def decoder(config: NetworkConfig) -> Segmenter:
    """Return the decoder, with the signature of `stages.comparison.arms.Network`."""
    return cast("Segmenter", ImageDecoder(config))

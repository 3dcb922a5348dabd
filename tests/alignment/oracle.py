"""Build a transformer and a network whose outputs on `tests.alignment.pictures` are known.

The transformer is a real ViT with weights set by hand. In its first block the CLS token's score of a patch is `SLOPE`
times the patch's mean red (head 0) or green (head 1), minus a constant. So the attention of a patch shows the patch's
position. The CLS token's score of itself is 0, so its share is one over the divisor of the softmax. With that a map
can be turned back into positions.

The network computes `likelihoods` from the colours of its image, or from its attention maps.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from stages.attention.architectures import build_transformer, find_architecture
from stages.segmentation.network import NetworkConfig
from tests.alignment.pictures import Array, likelihoods

ARCHITECTURE = "vit_tiny_patch8"
SLOPE = 3.0
"""Difference in score between a patch that is all red and one without red."""
MEAN, STD = (0.485, 0.456), (0.229, 0.224)
"""Mean and deviation that the extractor uses for red and green."""
ANCHOR = 100.0
"""Value in two dimensions of every token, so large that colours hardly change the layer norm's deviation."""


def write_transformer(path: Path) -> None:
    """Write the weights file of the transformer."""
    entry = find_architecture(ARCHITECTURE)
    tensors = {name: torch.zeros_like(value) for name, value in build_transformer(entry, 64).state_dict().items()}
    kernel = tensors["patch_embed.proj.weight"]  # (dim, colour, row, column)
    anchor = torch.zeros(entry.dim)
    anchor[4], anchor[5] = ANCHOR, -ANCHOR
    for colour in (0, 1):
        kernel[2 * colour, colour] = 1 / entry.patch**2
        kernel[2 * colour + 1, colour] = -1 / entry.patch**2  # so that the mean in the layer norm is zero
    tensors["patch_embed.proj.bias"] += anchor
    tensors["cls_token"] += anchor
    tensors["blocks.0.norm1.weight"] += ANCHOR * math.sqrt(2 / entry.dim)  # undoes the layer norm's division
    head_dim = entry.dim // entry.heads
    query_bias, key_weight = tensors["blocks.0.attn.qkv.bias"], tensors["blocks.0.attn.qkv.weight"]
    for colour in (0, 1):
        query_bias[colour * head_dim] = math.sqrt(head_dim)
        key_weight[entry.dim + colour * head_dim, 2 * colour] = SLOPE * STD[colour]
    save_file(tensors, path)


def attention_positions(maps: NDArray[np.float16], keys: int) -> tuple[Array, Array]:
    """Return the x and y of every patch according to the first two maps: two of (grid_row, grid_column).

    Args:
        maps: (head, grid_row, grid_column) as stored.
        keys: Number of keys; the stored values are divided by it.
    """
    found = []
    for colour in (0, 1):
        share = maps[colour].astype(np.float64) / keys
        found.append(MEAN[colour] + np.log(share / (1 - share.sum())) / SLOPE)
    return found[0], found[1]


def image_positions(image: Tensor) -> tuple[Array, Array, Array]:
    """Return the x, y and blue (0 or 1) of a normalised image, (3, row, column)."""
    mean, std = torch.tensor([*MEAN, 0.406]), torch.tensor([*STD, 0.225])
    red, green, blue = (image * std[:, None, None] + mean[:, None, None]).double().numpy()
    return red, green, (blue > 0.5).astype(np.float64)


def map_positions(attention: Tensor, grid: tuple[int, int]) -> tuple[Array, Array]:
    """Return the x and y from normalised maps: (head, row, column), mean 0, deviation 1, resized from `grid`."""
    x, y = (
        0.5 + attention[axis].double().numpy() * math.sqrt((count**2 - 1) / 12) / count  # deviation of equal steps
        for axis, count in enumerate((grid[1], grid[0]))
    )
    return x, y


class OracleNetwork(nn.Module):
    """Replace a trained network: answer from the image's colours only, or from the attention only."""

    def __init__(self, config: NetworkConfig, answers_from: Literal["image", "attention"]) -> None:
        super().__init__()
        self.config = config
        self.answers_from = answers_from

    def forward(self, image: Tensor, attention: Tensor) -> Tensor:
        """Return logits (batch, 3, row, column), whose softmax is `likelihoods`."""
        return torch.stack([self._answer(*pair) for pair in zip(image, attention, strict=True)])

    def _answer(self, image: Tensor, attention: Tensor) -> Tensor:
        x, y, blue = image_positions(image)
        if self.answers_from == "attention":
            rows, columns = image.shape[-2:]
            x, y = (_enlarged(axis, (rows, columns)) for axis in map_positions(attention, self.config.grid))
        return torch.from_numpy(likelihoods(x, y, blue).clip(1e-6)).log().float()


def _enlarged(field: Array, size: tuple[int, int]) -> Array:
    """Interpolate a field to another grid over the same picture, linearly and also beyond the cells' centres."""
    rows, columns = ((np.arange(count) + 0.5) / count for count in size)
    for axis, wanted in ((0, rows), (1, columns)):
        centres = (np.arange(field.shape[axis]) + 0.5) / field.shape[axis]
        field = np.apply_along_axis(lambda line: _straight(wanted, centres, line), axis, field)  # noqa: B023 - called in this iteration
    return field


def _straight(wanted: Array, centres: Array, line: Array) -> Array:
    """Interpolate like `numpy.interp`, and extrapolate beyond the ends."""
    slope, middle = np.polyfit(centres, line, 1)
    rest = line - (slope * centres + middle)
    return np.interp(wanted, centres, rest) + slope * wanted + middle

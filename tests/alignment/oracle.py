"""A transformer whose attention, and a network whose answer, are known for `tests.alignment.pictures`.

The transformer is a real ViT with weights set by hand: in its first block the CLS token's score of a patch is
`SLOPE` times the patch's mean red (head 0) or green (head 1), less a constant. So attention tells where a patch is.
The CLS token's own score is 0, so the share that the patches leave is the softmax's divisor, and a map
can be turned back into positions without knowing what else was on it.

The network answers with `likelihoods` of the colours, or of the attention, of what it is shown.
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
"""Score of a patch that is all red less that of one without red."""
MEAN, STD = (0.485, 0.456), (0.229, 0.224)
"""What the extractor takes from red and green, and divides them by."""
ANCHOR = 100.0
"""Value in two dimensions of every token, beside which the colours leave the layer norm's deviation as it is."""


def write_transformer(path: Path) -> None:
    """Write the weights file."""
    entry = find_architecture(ARCHITECTURE)
    tensors = {name: torch.zeros_like(value) for name, value in build_transformer(entry, 64).state_dict().items()}
    kernel = tensors["patch_embed.proj.weight"]  # (dim, colour, row, column)
    anchor = torch.zeros(entry.dim)
    anchor[4], anchor[5] = ANCHOR, -ANCHOR
    for colour in (0, 1):
        kernel[2 * colour, colour] = 1 / entry.patch**2
        kernel[2 * colour + 1, colour] = -1 / entry.patch**2  # so that the layer norm has no mean to take away
    tensors["patch_embed.proj.bias"] += anchor
    tensors["cls_token"] += anchor
    tensors["blocks.0.norm1.weight"] += ANCHOR * math.sqrt(2 / entry.dim)  # undoes the division
    head_dim = entry.dim // entry.heads
    query_bias, key_weight = tensors["blocks.0.attn.qkv.bias"], tensors["blocks.0.attn.qkv.weight"]
    for colour in (0, 1):
        query_bias[colour * head_dim] = math.sqrt(head_dim)
        key_weight[entry.dim + colour * head_dim, 2 * colour] = SLOPE * STD[colour]
    save_file(tensors, path)


def attention_positions(maps: NDArray[np.float16], keys: int) -> tuple[Array, Array]:
    """The x and y that the first two maps tell of every patch: two of (grid_row, grid_column).

    Args:
        maps: (head, grid_row, grid_column) as stored.
        keys: what to divide by.
    """
    found = []
    for colour in (0, 1):
        share = maps[colour].astype(np.float64) / keys
        found.append(MEAN[colour] + np.log(share / (1 - share.sum())) / SLOPE)
    return found[0], found[1]


def image_positions(image: Tensor) -> tuple[Array, Array, Array]:
    """The x, y and blue (0 or 1) of a normalised image, (3, row, column)."""
    mean, std = torch.tensor([*MEAN, 0.406]), torch.tensor([*STD, 0.225])
    red, green, blue = (image * std[:, None, None] + mean[:, None, None]).double().numpy()
    return red, green, (blue > 0.5).astype(np.float64)


def map_positions(attention: Tensor, grid: tuple[int, int]) -> tuple[Array, Array]:
    """The x and y of normalised maps (mean 0, deviation 1), (head, row, column), that had this grid."""
    x, y = (
        0.5 + attention[axis].double().numpy() * math.sqrt((count**2 - 1) / 12) / count  # deviation of even steps
        for axis, count in enumerate((grid[1], grid[0]))
    )
    return x, y


class OracleNetwork(nn.Module):
    """Stands in for a trained network: answers from the image's colours alone, or from the attention alone."""

    def __init__(self, config: NetworkConfig, answers_from: Literal["image", "attention"]) -> None:
        super().__init__()
        self.config = config
        self.answers_from = answers_from

    def forward(self, image: Tensor, attention: Tensor) -> Tensor:
        """Logits (batch, 3, row, column), whose softmax is what `likelihoods` says."""
        return torch.stack([self._answer(*pair) for pair in zip(image, attention, strict=True)])

    def _answer(self, image: Tensor, attention: Tensor) -> Tensor:
        x, y, blue = image_positions(image)
        if self.answers_from == "attention":
            rows, columns = image.shape[-2:]
            x, y = (_enlarged(axis, (rows, columns)) for axis in map_positions(attention, self.config.grid))
        return torch.from_numpy(likelihoods(x, y, blue).clip(1e-6)).log().float()


def _enlarged(field: Array, size: tuple[int, int]) -> Array:
    """A field on another grid over the same picture, straight lines between its cells' centres and beyond them."""
    rows, columns = ((np.arange(count) + 0.5) / count for count in size)
    for axis, wanted in ((0, rows), (1, columns)):
        centres = (np.arange(field.shape[axis]) + 0.5) / field.shape[axis]
        field = np.apply_along_axis(lambda line: _straight(wanted, centres, line), axis, field)  # noqa: B023 - used at once
    return field


def _straight(wanted: Array, centres: Array, line: Array) -> Array:
    """`numpy.interp`, but going on beyond the ends."""
    slope, middle = np.polyfit(centres, line, 1)
    rest = line - (slope * centres + middle)
    return np.interp(wanted, centres, rest) + slope * wanted + middle

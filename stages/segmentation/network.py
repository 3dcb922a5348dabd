"""The dual-branch segmenter: a convolutional encoder for the image, one for the attention, one decoder.

After DIAMANT (arXiv 2304.14571), which gives the idea but neither widths nor fusion; these are ours.
Five levels, each half the resolution of the one above. In the light form, which is the default, the
image enters at stride 2 and the attention at the level nearest to its own grid, so nothing is ever
computed at full resolution and the maps are never enlarged. Where both branches have a level, their
features are joined by a 1×1 convolution (`fusion="levels"`), or only at the bottom
(`fusion="bottleneck"`, as in Y-Net). The decoder climbs back to the first level; its logits are
enlarged bilinearly. `branches="image"` leaves the attention encoder out and is a plain U-Net:
the baseline is the same code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from annotated_types import Interval
from torch import Tensor, nn

from stages.settings import Size

LEVELS = 5
MAX_WIDENING = 8
"""The deepest levels have at most this many times the first level's channels."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """All that determines the network's shape.

    The ranges are checked where a model is read: its file may come from anywhere, and must not fill the memory.
    """

    size: Size
    """(rows, columns) of the image."""
    grid: Size
    """(rows, columns) of the attention maps as stored."""
    heads: Annotated[int, Interval(ge=1, le=16384)]
    """Attention maps, one input channel each."""
    classes: Annotated[int, Interval(ge=2, le=256)]
    """Classes, background included."""
    branches: Literal["dual", "image", "attention"] = "dual"
    width: Annotated[int, Interval(ge=1, le=1024)] = 8
    """Channels of the first level."""
    blocks: Literal["plain", "residual"] = "residual"
    fusion: Literal["levels", "bottleneck"] = "levels"
    stem: Literal["light", "full"] = "light"

    @property
    def first_stride(self) -> int:
        """Stride of the first level, of the image encoder and of the decoder."""
        return 2 if self.stem == "light" else 1

    @property
    def attention_level(self) -> int:
        """The level at which attention enters: the one whose cells are nearest to a patch in size."""
        if self.stem == "full":
            return 0
        patch = math.sqrt(self.size[0] / self.grid[0] * self.size[1] / self.grid[1])
        return min(max(round(math.log2(patch / self.first_stride)), 0), LEVELS - 2)

    @property
    def attention_size(self) -> tuple[int, int]:
        """(rows, columns) at which the network wants the attention maps."""
        return self._size_at(self.attention_level)

    @property
    def deepest_size(self) -> tuple[int, int]:
        """(rows, columns) of the deepest level."""
        return self._size_at(LEVELS - 1)

    def _size_at(self, level: int) -> tuple[int, int]:
        stride = self.first_stride * 2**level
        rows, columns = (math.ceil(extent / stride) for extent in self.size)
        return rows, columns

    def channels(self, level: int) -> int:
        """Channels of a level."""
        return self.width * min(1 << level, MAX_WIDENING)


class Segmenter(nn.Module):
    """Image and attention in, logits out. Weights are drawn from torch's global generator."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = self.attention_encoder = None
        if config.branches != "attention":
            self.image_encoder = Encoder(config, inputs=3, first_level=0, first_stride=config.first_stride)
        if config.branches != "image":
            self.attention_encoder = Encoder(
                config, inputs=config.heads, first_level=config.attention_level, first_stride=1
            )
        self.fusions = nn.ModuleDict(
            {str(level): Fusion(config.channels(level)) for level in range(LEVELS) if self._meet_at(level)}
        )
        self.decoder = nn.ModuleList(
            _block(
                config,
                config.channels(level + 1) + (config.channels(level) if self._has_skip(level) else 0),
                config.channels(level),
            )
            for level in range(LEVELS - 1)
        )
        self.head = nn.Conv2d(config.channels(0), config.classes, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor, silenced: Tensor | None = None) -> Tensor:
        """Logits of every class at the image's size.

        Args:
            image: (batch, 3, row, column) float, normalised.
            attention: (batch, head, row, column) float, normalised, at `config.attention_size`.
            silenced: (batch, 2) bool: whose image features, and whose attention features, are zeroed
                (branch dropout); none when left out. A network of one branch has nothing to silence.

        Returns:
            (batch, class, row, column) float logits.
        """
        by_branch = []
        for branch, (encoder, entering) in enumerate(
            ((self.image_encoder, image), (self.attention_encoder, attention))
        ):
            features = {} if encoder is None else encoder(entering.contiguous(memory_format=torch.channels_last))
            if silenced is not None and len(self.fusions):
                kept = (~silenced[:, branch]).to(entering.dtype)[:, None, None, None]
                features = {level: feature * kept for level, feature in features.items()}
            by_branch.append(features)
        joined = self._join(*by_branch)
        decoded = joined[LEVELS - 1]
        for level in reversed(range(LEVELS - 1)):
            decoded = self._climb(level, decoded, joined.get(level), image.shape[-2:])
        return F.interpolate(self.head(decoded), size=image.shape[-2:], mode="bilinear", align_corners=False)

    def _join(self, image: dict[int, Tensor], attention: dict[int, Tensor]) -> dict[int, Tensor]:
        """One feature map a level: fused where the branches meet, else the one the decoder uses."""
        joined = {**attention, **image}
        for level, fusion in self.fusions.items():
            joined[int(level)] = fusion(image[int(level)], attention[int(level)])
        return joined

    def _climb(self, level: int, below: Tensor, skip: Tensor | None, size: torch.Size) -> Tensor:
        stride = self.config.first_stride * 2**level
        rows, columns = (math.ceil(extent / stride) for extent in size)
        enlarged = F.interpolate(below, size=(rows, columns), mode="bilinear", align_corners=False)
        climbed: Tensor = self.decoder[level](enlarged if skip is None else torch.cat([enlarged, skip], dim=1))
        return climbed

    def _meet_at(self, level: int) -> bool:
        if self.config.branches != "dual":
            return False
        if self.config.fusion == "bottleneck":
            return level == LEVELS - 1
        return level >= self.config.attention_level

    def _has_skip(self, level: int) -> bool:
        return self.config.branches != "attention" or level >= self.config.attention_level


class Encoder(nn.Module):
    """Features of one branch at its first level and every level below."""

    def __init__(self, config: NetworkConfig, *, inputs: int, first_level: int, first_stride: int) -> None:
        super().__init__()
        self.first_level = first_level
        levels = range(first_level, LEVELS)
        self.stem = _convolution(inputs, config.channels(first_level), stride=first_stride)
        self.levels = nn.ModuleList(
            _block(
                config,
                config.channels(max(level - 1, first_level)),
                config.channels(level),
                stride=1 if level == first_level else 2,
            )
            for level in levels
        )

    def forward(self, entering: Tensor) -> dict[int, Tensor]:
        """(batch, channel, row, column) in; level → features out."""
        features = {}
        current = self.stem(entering)
        for level, block in enumerate(self.levels, start=self.first_level):
            current = block(current)
            features[level] = current
        return features


class Fusion(nn.Module):
    """Two branches' features into one: a 1×1 convolution over both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = _convolution(2 * channels, channels, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor) -> Tensor:
        """Two (batch, channel, row, column) in, one out."""
        mixed: Tensor = self.mix(torch.cat([image, attention], dim=1))
        return mixed


class ResidualBlock(nn.Module):
    """Two convolutions around which the input passes (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        # Pooled, then 1×1 (ResNet-D, He et al. 2019): a strided 1×1 convolution drops three of four pixels, and
        # its backward pass, channels last, corrupts memory on CPUs in torch 2.15.
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, kernel_size=1, bias=False))

    def forward(self, entering: Tensor) -> Tensor:
        """(batch, inputs, row, column) → (batch, outputs, row / stride, column / stride)."""
        return F.relu(self.second(self.first(entering)) + self.shortcut(entering), inplace=True)


def _block(config: NetworkConfig, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    if config.blocks == "residual":
        return ResidualBlock(inputs, outputs, stride)
    return nn.Sequential(_convolution(inputs, outputs, stride=stride), _convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int, *, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )

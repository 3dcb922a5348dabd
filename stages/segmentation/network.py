"""The segmentation network: one convolutional encoder for the image, one for the attention maps, one decoder.

The idea is that of DIAMANT (arXiv 2304.14571), which publishes neither widths nor fusion; these are our own. There are
five levels, each at half the resolution of the one above. In the light form, the default, the image starts at stride 2
and the attention at the level nearest to its own grid, so nothing is computed at full resolution and the maps are never
enlarged. A fusion joins the two branches (`stages.segmentation.fusions`). The decoder goes back up to the first level,
and its logits are enlarged bilinearly.

`branches="image"` leaves the attention encoder out and gives a plain U-Net, so the baseline is the same code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from annotated_types import Interval
from torch import Tensor, nn

from stages.errors import UsageError
from stages.runs.tables import entry_of
from stages.segmentation.blocks import block, convolution
from stages.segmentation.fusions import FUSIONS
from stages.settings import Blocks, Branches, Size, Stem, TrainSettings, Width
from store import AttentionStore

LEVELS = 5
MOST_LABELS = 7
"""Number of labels that may overlap: one bit of a mask each, and 255 stays free for ignored pixels."""
MAX_WIDENING = 8
"""The deepest levels have at most this many times the channels of the first level."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Hold everything that determines the shape of the network.

    The defaults are in `TrainSettings`. A field that is added later needs a default here: the value that reproduces
    earlier models, because their cards lack the field. Ranges are checked when a model file is read: the file may come
    from anywhere, and must not exhaust the memory.
    """

    size: Size
    """(rows, columns) of the image."""
    grid: Size
    """(rows, columns) of the attention maps as stored."""
    heads: Annotated[int, Interval(ge=1, le=16384)]
    """Number of attention maps; each is one input channel."""
    classes: Annotated[int, Interval(ge=2, le=256)]
    """Number of classes, background included."""
    branches: Branches
    width: Width
    """Channels of the first level."""
    blocks: Blocks
    fusion: str
    """A name in `FUSIONS`."""
    stem: Stem
    multilabel: bool = False
    """Labels may overlap: each class except the background has one output."""

    def __post_init__(self) -> None:
        """Make sure that a mask has a bit for every label.

        Raises:
            ValueError: there are too many labels.
        """
        if self.multilabel and self.classes - 1 > MOST_LABELS:
            raise ValueError(f"{self.classes - 1} labels; a mask has bits for {MOST_LABELS}")

    @classmethod
    def of(cls, settings: TrainSettings, store: AttentionStore) -> NetworkConfig:
        """Return the network that the settings describe, for the samples of a store."""
        return cls(
            size=store.size,
            grid=store.grid,
            heads=len(store.heads),
            classes=len(store.classes),
            branches=settings.branches,
            width=settings.width,
            blocks=settings.blocks,
            fusion=settings.fusion,
            stem=settings.stem,
            multilabel=store.multilabel,
        )

    @property
    def takes_maps(self) -> bool:
        """Return whether the network reads maps. They are neither fetched nor warped for one that does not."""
        return self.branches != "image"

    @property
    def outputs(self) -> int:
        """Return the number of logits per pixel."""
        return self.classes - 1 if self.multilabel else self.classes

    @property
    def first_stride(self) -> int:
        """Return the stride of the first level, in the image encoder and in the decoder."""
        return 2 if self.stem == "light" else 1

    @property
    def attention_level(self) -> int:
        """Return the level at which attention enters: the one whose cells are nearest to a patch in size."""
        if self.stem == "full":
            return 0
        patch = math.sqrt(self.size[0] / self.grid[0] * self.size[1] / self.grid[1])
        return min(max(round(math.log2(patch / self.first_stride)), 0), LEVELS - 2)

    @property
    def attention_size(self) -> tuple[int, int]:
        """Return the (rows, columns) of the attention maps that the network takes."""
        return self._size_at(self.attention_level)

    @property
    def deepest_size(self) -> tuple[int, int]:
        """Return the (rows, columns) of the deepest level."""
        return self._size_at(LEVELS - 1)

    @property
    def fused_levels(self) -> range:
        """Return the levels at which the branches meet; an empty range if there is only one branch."""
        if self.branches != "dual":
            return range(0)
        return entry_of(FUSIONS, self.fusion, "fusion").levels(range(self.attention_level, LEVELS))

    def channels(self, level: int) -> int:
        """Return the number of channels of a level."""
        return self.width * min(1 << level, MAX_WIDENING)

    def _size_at(self, level: int) -> tuple[int, int]:
        stride = self.first_stride * 2**level
        rows, columns = (math.ceil(extent / stride) for extent in self.size)
        return rows, columns


def require_values_to_normalise(settings: TrainSettings, config: NetworkConfig, samples: int) -> None:
    """Make sure that batch normalisation has more than one value per channel, also at the deepest level.

    Args:
        settings: of the training.
        config: of the network.
        samples: number of training samples.

    Raises:
        UsageError: a batch would have one value per channel there.
    """
    smallest = samples // max(1, math.ceil(samples / settings.batch_size))
    if settings.unlabelled:  # they are in the same batch, as many as the largest
        smallest += settings.batch_size
    if smallest == 1 and config.deepest_size == (1, 1):
        rows, columns = config.size
        raise UsageError(
            f"{settings.store}: {samples} training samples in batches of {settings.batch_size} leave a batch of one, "
            f"and images of {rows} x {columns} are too small to normalise over one alone.\n"
            f"  Train on two samples or more with a larger --batch-size (3 or more is always enough), or extract with "
            "a larger --image-size."
        )


class Segmenter(nn.Module):
    """Compute logits from image and attention. Weights are drawn from torch's global generator.

    Raises:
        UsageError: the configuration names a fusion that does not exist.
    """

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
        fusion = entry_of(FUSIONS, config.fusion, "fusion")
        self.fusions = nn.ModuleDict(
            {str(level): fusion.module(config.channels(level)) for level in config.fused_levels}
        )
        self.decoder = nn.ModuleList(
            block(
                config.blocks,
                config.channels(level + 1) + (config.channels(level) if self._has_skip(level) else 0),
                config.channels(level),
            )
            for level in range(LEVELS - 1)
        )
        self.head = nn.Conv2d(config.channels(0), config.outputs, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor, silenced: Tensor | None = None) -> Tensor:
        """Return the logits of every class at the size of the image.

        Args:
            image: (batch, 3, row, column) float, normalised.
            attention: (batch, head, row, column) float, normalised, at `config.attention_size`.
            silenced: (batch, 2) bool: samples whose image features, and samples whose attention features, are set to
                zero (branch dropout); None for none. A network of one branch ignores it.

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
        """Return one feature map per level: fused where the branches meet, else the image's if there is one."""
        joined = {**attention, **image}
        for level, fusion in self.fusions.items():
            joined[int(level)] = fusion(image[int(level)], attention[int(level)])
        return joined

    def _climb(self, level: int, below: Tensor, skip: Tensor | None, size: torch.Size) -> Tensor:
        """Return the decoder's features at a level, from those of the level below and the encoder's."""
        stride = self.config.first_stride * 2**level
        rows, columns = (math.ceil(extent / stride) for extent in size)
        enlarged = F.interpolate(below, size=(rows, columns), mode="bilinear", align_corners=False)
        climbed: Tensor = self.decoder[level](enlarged if skip is None else torch.cat([enlarged, skip], dim=1))
        return climbed

    def _has_skip(self, level: int) -> bool:
        return self.config.branches != "attention" or level >= self.config.attention_level


class Encoder(nn.Module):
    """Compute the features of one branch at its first level and every level below."""

    def __init__(self, config: NetworkConfig, *, inputs: int, first_level: int, first_stride: int) -> None:
        super().__init__()
        self.first_level = first_level
        levels = range(first_level, LEVELS)
        self.stem = convolution(inputs, config.channels(first_level), stride=first_stride)
        self.levels = nn.ModuleList(
            block(
                config.blocks,
                config.channels(max(level - 1, first_level)),
                config.channels(level),
                stride=1 if level == first_level else 2,
            )
            for level in levels
        )

    def forward(self, entering: Tensor) -> dict[int, Tensor]:
        """Return the features by level, each (batch, channels of the level, row, column).

        Args:
            entering: (batch, inputs, row, column) float.
        """
        features = {}
        current = self.stem(entering)
        for level, encode in enumerate(self.levels, start=self.first_level):
            current = encode(current)
            features[level] = current
        return features

"""Make control maps from a store alone: those of other images, colours, and the store's own in another form.

None of these needs the transformer or the original images.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.segmentation.normalisation import log_standardised
from stages.settings import IMAGENET_MEAN, IMAGENET_STD
from store import AttentionStore
from tests.benchmarks.evidence.stores_maps import Inputs, Maps
from tests.benchmarks.evidence.stores_writing import DERIVED

__all__ = ["average_cells", "colour_maps", "last_blocks", "other_samples", "shuffled", "standardised"]

COLOURS = ("mean_red", "mean_green", "mean_blue", "deviation_red", "deviation_green", "deviation_blue")

_HEAD = re.compile(r"L([0-9]+)H[0-9]+")


def shuffled(inputs: Inputs) -> Maps:
    """Give every sample the maps of a sample of another group. That sample may be in any split.

    Raises:
        UsageError: one group has more than half of the samples.
    """
    base = inputs.base
    others = other_samples([str(group) for group in base.column("group")], inputs.seed)

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return base.read_array("attention", others[positions]).astype(np.float32)

    return Maps(
        names=base.heads,
        grid=base.grid,
        read=read,
        keys=round(1 / base.scale_factor),
        signed=_is_signed(base),
        facts={"seed": inputs.seed, "other": "of another group, in any split"},
    )


def other_samples(groups: list[str], seed: int) -> NDArray[np.int64]:
    """Return for every sample the position of a sample of another group; every position occurs once.

    The groups are put in a random order, and the samples in it are shifted by the size of the largest group.

    Raises:
        UsageError: one group has more than half of the samples.
    """
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    largest = int(sizes.max())
    if 2 * largest > len(groups):
        raise UsageError(
            f"shuffled: the group {names[sizes.argmax()]} has {largest} of {len(groups)} samples, so not every sample "
            "can have the maps of another group. Use a store with more groups."
        )
    random = np.random.default_rng(seed)
    within = random.permutation(len(groups))
    order = within[np.argsort(random.permutation(len(names))[group_of[within]], kind="stable")]
    others = np.empty(len(groups), np.int64)
    others[order] = np.roll(order, -largest)
    return others


def colours(inputs: Inputs, *, white: bool = False) -> Maps:
    """Use the image's own colours as maps: mean and deviation of each channel in every cell of the grid.

    With `white` each map has mean 0 and deviation 1 over the images of the fit.
    """
    base = inputs.base
    centre, scale = np.zeros((len(COLOURS), 1, 1)), np.ones((len(COLOURS), 1, 1))
    if white:
        fitted = colour_maps(base.read_array("image", inputs.fit), base.grid).astype(np.float64)
        centre = fitted.mean(axis=(0, 2, 3))[:, None, None]
        scale = np.maximum(fitted.std(axis=(0, 2, 3)), np.finfo(np.float16).eps)[:, None, None]

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        maps = (colour_maps(base.read_array("image", positions), base.grid) - centre) / scale
        return maps.astype(np.float32)

    # The deviation of ImageNet's channels is 1 by the scaling. 8 bits then span 4 of them on either side of zero.
    facts = inputs.fit_facts if white else {}
    return Maps(names=COLOURS, grid=base.grid, read=read, deviations=np.ones(len(COLOURS)), facts=facts)


def colour_maps(images: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Return the mean and the deviation of red, green and blue in every cell of a grid.

    Args:
        images: (sample, row, column, 3).
        grid: (rows, columns) of the maps.

    Returns:
        (sample, 6, *grid): three means, by ImageNet's mean and deviation; three deviations, by ImageNet's deviation.
    """
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    values = images.astype(np.float64) / 255
    means, squares = average_cells(values, grid), average_cells(values**2, grid)
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    joined = np.concatenate([(means - mean) / std, deviations / std], axis=-1)
    return joined.transpose(0, 3, 1, 2).astype(np.float32)


def average_cells(values: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Average (sample, row, column, channel) values over the cells of a grid. A pixel in two cells counts by area."""
    rows, columns = (_shares(extent, cells) for extent, cells in zip(values.shape[1:3], grid, strict=True))
    by_row = np.tensordot(rows, values, axes=(1, 1))  # (grid row, sample, column, channel)
    averaged: NDArray[np.float64] = np.tensordot(columns, by_row, axes=(1, 2))  # (grid column, grid row, sample, …)
    by_sample: NDArray[np.float64] = averaged.transpose(2, 1, 0, 3)
    return by_sample


def _is_signed(base: AttentionStore) -> bool:
    return bool(base.recipe.get(DERIVED, {}).get("signed", False))


def _shares(extent: int, cells: int) -> NDArray[np.float64]:
    """Return (cell, pixel): the share of a cell's area that lies in each pixel, along one axis."""
    edges = np.arange(cells + 1) * extent / cells
    pixels = np.arange(extent)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    inside: NDArray[np.float64] = np.clip(overlap, 0, None)
    return inside * cells / extent


def standardised(inputs: Inputs) -> Maps:
    """Scale the store's attention as training does by default, so that `attention_norm=none` serves for it."""
    inputs.recipe  # noqa: B018 - refuses a derived store, whose maps are no attention
    base = inputs.base

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        attention = torch.from_numpy(base.read_array("attention", positions).astype(np.float32))
        return log_standardised(attention).numpy()

    return Maps(names=base.heads, grid=base.grid, read=read, deviations=np.ones(len(base.heads)))


def last_blocks(inputs: Inputs, count: int) -> Maps:
    """Keep the heads of the last `count` blocks that the store has.

    Raises:
        UsageError: the store has fewer blocks, or its heads are not named as `pipeline extract` names them.
    """
    base = inputs.base
    blocks = [int(found[1]) if (found := _HEAD.fullmatch(name)) else -1 for name in base.heads]
    kept = sorted(set(blocks))[-count:]
    if len(kept) < count or -1 in kept:
        raise UsageError(
            f"{base.path}: has heads of {len(set(blocks) - {-1})} blocks, not {count}.\n"
            "  Extract the store with more --layers."
        )
    heads = [position for position, block in enumerate(blocks) if block in kept]

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return base.read_array("attention", positions)[:, heads].astype(np.float32)

    return Maps(
        names=[base.heads[position] for position in heads],
        grid=base.grid,
        read=read,
        keys=round(1 / base.scale_factor),
        signed=_is_signed(base),
        facts={"layers": kept},
    )

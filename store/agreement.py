"""Measure how well each head's attention agrees with a mask.

Agreement is |AUROC - 0.5| of mask against background over the cells of the attention's grid, from 0 to 0.5. A head that
looks at the background only is as useful as one that looks at the lesion only, so both get 0.5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.records import IGNORE

__all__ = ["head_agreement"]


def head_agreement(attention: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how well every head separates mask and background.

    Args:
        attention: (sample, head, grid_row, grid_column), any scale.
        mask: (sample, row, column) class index, or one bit for each label; 255 is ignored. Every other value but 0 is
            the mask.

    Returns:
        (sample, head) |AUROC - 0.5|, 0 to 0.5; nan for a sample whose grid has no mask or no background.
    """
    maps = attention.astype(np.float64).reshape(*attention.shape[:2], -1)
    return _separation(maps, _inside(mask, attention.shape[2:]))


def _inside(mask: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.float64]:
    """Return (sample, grid cells): 1 for a cell of mask, 0 for background, nan if all of its pixels are ignored.

    A cell is mask if at least half of its pixels that are not ignored are mask.
    """
    rows, columns = (
        (np.arange(cells)[:, None] == (np.arange(extent) + 0.5) * cells // extent).astype(np.float64)
        for cells, extent in zip(grid, mask.shape[1:], strict=True)
    )
    known = rows @ (mask != IGNORE) @ columns.T
    covered = rows @ ((mask != IGNORE) & (mask != 0)) @ columns.T
    with np.errstate(invalid="ignore"):
        inside = np.where(known > 0, (covered / known >= 0.5).astype(np.float64), np.nan)  # noqa: PLR2004 - most
    return inside.reshape(len(mask), -1)


def _separation(maps: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (sample, head) |AUROC - 0.5|; nan for a map with nan.

    AUROC is the share of pairs of a cell of mask and a cell of background in which the mask has the higher value
    (Mann-Whitney U). A tie counts half. `scipy.stats` has it too, and takes half a second to import.
    """
    result = np.full(maps.shape[:2], np.nan)
    for sample, cells in enumerate(inside):
        mask, background = maps[sample][:, cells == 1], np.sort(maps[sample][:, cells == 0], axis=1)
        pairs = mask.shape[1] * background.shape[1]
        if pairs:
            for head, (values, others) in enumerate(zip(mask, background, strict=True)):
                below, not_above = (np.searchsorted(others, values, side=side).sum() for side in ("left", "right"))
                result[sample, head] = abs((below + not_above) / 2 / pairs - 0.5)
            result[sample, np.isnan(maps[sample]).any(axis=1)] = np.nan
    return result

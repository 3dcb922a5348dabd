"""Measure how well each head's attention agrees with a mask.

Agreement is |AUROC - 0.5| of mask against background over the cells of the attention's grid, from 0 to 0.5. A head that
looks at the background only is as useful as one that looks at the lesion only, so both get 0.5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

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
    """Return (sample, head) |AUROC - 0.5|. AUROC is computed from ranks (Mann-Whitney U); ties get their mean rank."""
    result = np.full(maps.shape[:2], np.nan)
    for sample, cells in enumerate(inside):
        known = np.isfinite(cells)
        positive = cells[known] == 1
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        if n_positive and n_negative:
            ranks = rankdata(maps[sample][:, known], axis=1)
            wins = ranks[:, positive].sum(axis=1) - n_positive * (n_positive + 1) / 2
            result[sample] = np.abs(wins / (n_positive * n_negative) - 0.5)
    return result

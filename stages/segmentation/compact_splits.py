"""Hold the split of every sample in one byte each. A comparison keeps such a sequence for each of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.split_tables import SPLITS, UNLABELLED

__all__ = ["CompactSplits"]

NAMES = (*SPLITS, UNLABELLED, "")
TOGETHER = 1 << 16
"""Splits that are converted together."""


class CompactSplits(Sequence[str]):
    """Be the sequence of the splits of samples, without a place in memory for each name.

    Args:
        splits: of every sample: names in `NAMES`.
    """

    def __init__(self, splits: Sequence[str]) -> None:
        code_of = {name: code for code, name in enumerate(NAMES)}
        self._codes = np.fromiter((code_of[split] for split in splits), np.uint8, len(splits))

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one split, or several."""
        if isinstance(index, slice):
            return [NAMES[code] for code in self._codes[index].tolist()]
        return NAMES[self._codes[index]]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), TOGETHER):
            yield from self[start : start + TOGETHER]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        """Return the names as an array of objects, which share the texts."""
        return np.array(NAMES, object)[self._codes].astype(dtype or object, copy=False)

    def count(self, value: str) -> int:
        """Return the number of samples in a split."""
        return len(self.positions(value))

    def positions(self, name: str) -> NDArray[np.int64]:
        """Return the positions of the samples of a split, in rising order."""
        if name not in NAMES:
            return np.empty(0, np.int64)
        return np.flatnonzero(self._codes == NAMES.index(name)).astype(np.int64)

"""Hold the texts of some samples of a store, such as the ids of a test split.

Only these texts stay in memory. The ids of all ten million samples would take some hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from store.columns import Columns
from store.texts import Texts

__all__ = ["ChosenTexts"]


class ChosenTexts:
    """Give the text of a sample by its position in the store.

    Args:
        columns: of the store.
        name: of the column.
        indices: positions of the samples, in any order; repeats are allowed.

    Raises:
        StoreIncompleteError, StoreCorruptError: the store has no such column, or its bytes are missing or damaged.
    """

    def __init__(self, columns: Columns, name: str, indices: Iterable[int] | NDArray[np.int64]) -> None:
        given = indices if isinstance(indices, np.ndarray) else list(indices)
        self._indices = np.unique(np.asarray(given, dtype=np.int64))
        self._texts = np.array(list(_read(columns, name, self._indices)), np.dtypes.StringDType())

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> str:
        """Return the text of one of the samples.

        Raises:
            KeyError: it is none of them.
        """
        at = int(np.searchsorted(self._indices, index))
        if at == len(self) or self._indices[at] != index:
            raise KeyError(index)
        return str(self._texts[at])


def _read(columns: Columns, name: str, indices: NDArray[np.int64]) -> Iterator[str]:
    """Yield the texts at positions in rising order. No chunk of the column stays in memory."""
    chunk = 0
    for number, (start, stop) in enumerate(columns.extents(name)):
        first, chunk = chunk, int(np.searchsorted(indices, stop))
        if first == chunk:
            continue
        values = columns.chunk(name, number)
        rows = indices[first:chunk] - start
        if isinstance(values, Texts):
            yield from (text.decode() for text in values.chosen(rows))
        else:
            yield from map(str, values[rows].tolist())

"""Turn the names of splits in a table into small numbers, without a Python object for each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.column_prints import prints_of
from stages.segmentation.split_blocks import texts_of
from store.texts import Texts

__all__ = ["split_codes"]


def split_codes(splits: Texts, names: Sequence[str]) -> NDArray[np.uint8]:
    """Return the position of each split in `names`, (row,); their number for any other text."""
    prints = prints_of(splits)
    codes = np.full(len(splits), len(names), np.uint8)
    for code, known in enumerate(prints_of(texts_of(names))):
        codes[prints == known] = code
    return codes

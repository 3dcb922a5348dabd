"""Read the facts about a store: recipe, classes, sizes, heads, ids, columns. `AttentionStore` adds the samples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.arrays import Arrays, is_known_part, is_multilabel
from store.chosen_texts import ChosenTexts
from store.columns import Columns
from store.description import Description
from store.errors import StoreCorruptError
from store.format import RESTORE, SIZES
from store.remote.address import RemoteAddress


class StoreFacts:
    """Hold the description, the arrays' metadata and the columns of a store."""

    path: Path | RemoteAddress
    description: Description
    arrays: Arrays
    columns: Columns

    @property
    def recipe(self) -> dict[str, Any]:
        """All that determines the attention: model, weights' hash, layers, input size."""
        return self.description.recipe

    @property
    def classes(self) -> list[str]:
        """Names of the mask's class indices; the first is the background."""
        return self.description.classes

    @property
    def multilabel(self) -> bool:
        """True if masks hold one bit for each class but the first, and classes may overlap."""
        return is_multilabel(self.arrays)

    def has(self, name: str) -> bool:
        """Return True if the store has this optional part, and this program can read it and knows its meaning.

        Args:
            name: `instances`, or a name of `store.format.OPTIONAL_COLUMNS`. False for the arrays of every store.
        """
        return name in self.arrays and is_known_part(name, self.arrays[name])

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of images and masks."""
        _, rows, columns, _ = self.arrays["image"].shape
        return rows, columns

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the attention maps."""
        _, _, rows, columns = self.arrays["attention"].shape
        return rows, columns

    @property
    def scale_factor(self) -> float:
        """The factor that turns stored attention into a probability, above 0 and at most 1."""
        return float(self.arrays["attention"].attributes["scale_factor"])

    @cached_property
    def heads(self) -> list[str]:
        """Names of the attention maps, such as `L11H0`."""
        return [str(name) for name in self.column("head")]

    @cached_property
    def ids(self) -> NDArray[Any]:
        """(sample,) ids, strings."""
        return self.column("sample")

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """(sample,) True where a mask was given."""
        return self.column("labelled")

    def chosen_texts(self, name: str, indices: Iterable[int] | NDArray[np.int64]) -> ChosenTexts:
        """Return the texts of a column for some samples, by their positions. The whole column is not kept in memory.

        Raises:
            StoreIncompleteError, StoreCorruptError: the store has no such column, or its bytes are missing or damaged.
        """
        return ChosenTexts(self.columns, name, indices)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, such as `sample`, `digest`, `group` or `labelled`. It is cached: do not write to it.

        Raises:
            StoreIncompleteError, StoreCorruptError: the store has no such column, or its bytes are missing or damaged.
        """
        values = self.columns.whole(name)
        if name in SIZES and values.size and values.min() < 1:
            raise StoreCorruptError(
                f"{self.path}: `{name}` has {values.min()}, which is no size of an image.\n  {RESTORE}"
            )
        return values

"""Find and read the samples of a store for the viewer. Several threads may ask at the same time.

A sample is read by its position. Only the columns' chunks that it needs are read, so the first sample of a store of
any size comes at once. The column of ids is read whenever somebody searches, the column `labelled` when somebody
first asks for an unlabelled sample. Nothing ever lists all samples.

The store stays the one that was opened. If another one is at the path by now, every request raises an error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from store.errors import StoreCorruptError
from store.files import files_of
from store.reader import AttentionStore
from store.records import Sample
from store.remote.address import Place, place_of

MOST_SUGGESTIONS = 20
"""Largest number of ids that a search returns."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Hold the result of a search for an id."""

    exact: int | None
    """Position of the sample with exactly this id; None if there is none."""
    suggestions: list[tuple[int, str]]
    """(position, id) of at most `MOST_SUGGESTIONS` ids: those that begin with the text, then those that contain it."""
    more: bool
    """True if further ids match."""


class Catalogue:
    """Answer the viewer's questions about one store."""

    def __init__(self, path: str | Place) -> None:
        """Open the store.

        Args:
            path: of the store, or its address.

        Raises:
            StoreError: it cannot be opened.
        """
        self._root = files_of(place_of(path)).root_bytes()
        self.store = AttentionStore.open(path)
        self._lock = threading.Lock()
        self._require_same_store()

    def sample(self, position: int) -> Sample:
        """Read one sample.

        Args:
            position: in the store, from 0.

        Raises:
            IndexError: there is no such sample.
            StoreError: its bytes are missing or damaged, or the store was replaced.
        """
        if not 0 <= position < len(self.store):
            raise IndexError(f"there is no sample {position}; the store has {len(self.store)}")
        with self._lock:
            self._require_same_store()
            return self.store[position]

    def id_of(self, position: int) -> str:
        """Return the id of a sample, also if its arrays are damaged.

        Raises:
            StoreError: the column of ids is damaged.
        """
        with self._lock:
            return str(self.store.columns.value("sample", position))

    def find(self, text: str) -> Found:
        """Search ids for a text. Capital and small letters differ.

        Raises:
            StoreError: the column of ids is damaged, or the store was replaced.
        """
        with self._lock:
            self._require_same_store()
            matching = list(_matching(self.store, text))
        matching.sort(key=lambda match: not match[1].startswith(text))  # stable: the order is kept otherwise
        return Found(
            exact=next((position for position, one in matching if one == text), None),
            suggestions=matching[:MOST_SUGGESTIONS],
            more=len(matching) > MOST_SUGGESTIONS,
        )

    def unlabelled_after(self, position: int) -> int | None:
        """Return the position of the next sample without a mask; after the last one the search starts again at 0.

        Args:
            position: the search starts behind it; -1 for the first one.

        Returns:
            None if every sample has a mask.

        Raises:
            StoreError: the column is damaged, or the store was replaced.
        """
        with self._lock:
            self._require_same_store()
            unlabelled = self._unlabelled
        if not unlabelled.size:
            return None
        following = int(np.searchsorted(unlabelled, position, side="right"))
        return int(unlabelled[following % unlabelled.size])

    @cached_property
    def _unlabelled(self) -> NDArray[np.intp]:
        """Return (n,) ascending positions of the samples without a mask."""
        return np.flatnonzero(~self.store.labelled)

    def _require_same_store(self) -> None:
        """Make sure that the store at the path is still the one that was opened.

        Raises:
            StoreCorruptError: another store is at the path by now, or none.
        """
        if self.store.files.may_be_replaced(failed=False) and self.store.files.root_bytes() != self._root:
            raise StoreCorruptError(
                f"{self.store.path}: the store was replaced or removed while it was being viewed.\n"
                "  End the viewer with Ctrl-C and start it again."
            )


def _matching(store: AttentionStore, text: str) -> Iterator[tuple[int, str]]:
    """Yield the position and the id of every sample whose id contains a text. Ids are read chunk by chunk."""
    try:
        wanted = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: no id has it
        return
    start = 0
    for ids in store.columns.texts("sample"):
        if wanted in ids.content.tobytes():  # else no id of the chunk has it
            for position, one in enumerate(ids.to_list(), start):
                if wanted in one:
                    yield position, one.decode()
        start += len(ids)

"""Name the faults of a store that `store.check` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from store.errors import (
    NotAStoreError,
    PipelineError,
    StoreIncompleteError,
    StoreNotFoundError,
    StoreUnreachableError,
    StoreVersionError,
)

__all__ = ["Fault"]

Kind = Literal["damaged", "missing", "unknown"]


@dataclass(frozen=True)
class Fault:
    """One fault of a store."""

    kind: Kind
    """`missing`: a file or the whole store is absent. `unknown`: the store needs another version of this program."""
    text: str

    @classmethod
    def of(cls, error: PipelineError) -> Fault:
        """Return the fault that an error reports. For a fault inside a store, the text is one line.

        Raises:
            StoreUnreachableError: it is one.
        """
        if isinstance(error, StoreUnreachableError):
            raise error  # it says nothing about the store
        if isinstance(error, StoreVersionError):
            return cls("unknown", str(error))
        if isinstance(error, StoreNotFoundError | NotAStoreError):
            return cls("missing", str(error))
        if isinstance(error, StoreIncompleteError):
            return cls("missing", str(error).splitlines()[0])
        return cls("damaged", str(error).splitlines()[0])

"""Refuse a part of a store where results for the whole are expected."""

from __future__ import annotations

from stages.errors import UsageError
from store.reader import AttentionStore

__all__ = ["require_whole"]


def require_whole(store: AttentionStore) -> None:
    """Make sure that a store is not one of the parts that `extract --shard` makes.

    Raises:
        UsageError: it is. What is trained or scored on it would count for all samples.
    """
    part = store.description.part
    if part is not None:
        raise UsageError(
            f"{store.path}: is only part {part['number']} of {part['of']} of a store.\n"
            "  Join all parts first: pipeline merge PART ... --store STORE"
        )

"""Open a store again in the process that a pickle of it was sent to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import StoreCorruptError
from store.remote.address import Place

if TYPE_CHECKING:
    from store.reader import AttentionStore

__all__ = ["opened_again"]


def opened_again(path: Place, contents_sha256: str) -> AttentionStore:
    """Open the store of a pickle.

    Args:
        path: of the store, or its address.
        contents_sha256: digest of the store that was pickled.

    Raises:
        StoreCorruptError: the path holds another store by now.
        StoreError: it cannot be opened.
    """
    from store.reader import AttentionStore

    store = AttentionStore.open(path)
    if store.description.contents_sha256 != contents_sha256:
        raise StoreCorruptError(
            f"{path}: the store was replaced after it had been opened in another process.\n  Open it again there."
        )
    return store

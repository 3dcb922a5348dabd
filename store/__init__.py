"""The attention store: written by the stage that runs a transformer, read by the stages that never do.

from store import AttentionStore

store = AttentionStore.open("store/isic.zarr")
sample = store[0]                # sample.image, sample.mask, sample.attention, …
batch = store.read([5, 2, 9])    # several samples, stacked
"""

from typing import TYPE_CHECKING, Any

from store.errors import (
    NotAStoreError,
    PipelineError,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreNotFoundError,
    StoreUnreachableError,
    StoreVersionError,
    UsageError,
)

if TYPE_CHECKING:
    from store.reader import AttentionStore
    from store.records import Batch, Sample

__all__ = [
    "AttentionStore",
    "Batch",
    "NotAStoreError",
    "PipelineError",
    "Sample",
    "StoreCorruptError",
    "StoreError",
    "StoreIncompleteError",
    "StoreNotFoundError",
    "StoreUnreachableError",
    "StoreVersionError",
    "UsageError",
]


def __getattr__(name: str) -> Any:
    # Zarr takes half a second to import, and `store.errors` alone is needed to answer `pipeline --help`.
    if name == "AttentionStore":
        from store.reader import AttentionStore

        return AttentionStore
    if name in {"Batch", "Sample"}:
        from store import records

        return getattr(records, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

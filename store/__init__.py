"""The attention store: the contract between the stage that runs a transformer and those that never do.

from store import AttentionStore

store = AttentionStore.open("store/isic.zarr")
sample = store[0]                # sample.image, sample.mask, sample.attention, …
batch = store.read([5, 2, 9])    # the same, stacked
"""

from store.errors import (
    NotAStoreError,
    PipelineError,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreNotFoundError,
    StoreVersionError,
    UsageError,
)
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
    "StoreVersionError",
    "UsageError",
]

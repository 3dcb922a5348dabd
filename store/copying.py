"""Copy samples from one store to another without decoding them."""

from __future__ import annotations

from collections.abc import Callable

from store.reader import AttentionStore
from store.writer import StoreWriter

__all__ = ["copy_samples"]


def copy_samples(source: AttentionStore, writer: StoreWriter, advance: Callable[[], None] = lambda: None) -> None:
    """Append all samples of a store to another one. Their bytes are compared with their checksums and copied.

    Memory holds one shard, and one chunk of every column.

    Args:
        source: a store of the writer's layout.
        writer: of the other store.
        advance: called after every sample.

    Raises:
        StoreIncompleteError, StoreCorruptError: bytes of `source` are missing or damaged.
    """
    names = list(writer.sample_columns)
    for start, stop in source.columns.extents("sample"):
        columns = [source.columns.read(name, start, stop).tolist() for name in names]
        for index, row in zip(range(start, stop), zip(*columns, strict=True), strict=True):
            chunks = {name: source.chunk(name, index) for name in source.description.sharded}
            writer.append_stored(chunks, dict(zip(names, row, strict=True)))
            advance()

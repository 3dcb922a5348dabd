"""Copy samples from one store to another without decoding them."""

from __future__ import annotations

from collections.abc import Callable

from store.reader import AttentionStore
from store.writer import StoreWriter

__all__ = ["copy_samples"]


def copy_samples(source: AttentionStore, writer: StoreWriter, advance: Callable[[int], None] = lambda _: None) -> None:
    """Append all samples of a store to another one. Their bytes are compared with their checksums and copied.

    Many samples are copied at a time: those that lie in one shard of the source and fit into one shard of the target.
    Memory holds one shard, and one chunk of every column. Checksums are taken over: they were compared with the bytes.

    Args:
        source: a local store of the writer's layout.
        writer: of the other store.
        advance: called with the number of samples that were copied.

    Raises:
        StoreIncompleteError, StoreCorruptError: bytes of `source` are missing or damaged.
    """
    per_shard = source.description.samples_per_shard
    names = (*writer.sample_columns, "checksum")
    for first, last in source.columns.extents("sample"):
        columns = {name: source.columns.read(name, first, last).tolist() for name in names}
        start = first
        while start < last:
            stop = min(last, start + writer.room, (start // per_shard + 1) * per_shard)
            chunks = {name: source.stored_run(name, start, stop) for name in writer.shards}
            values = {name: column[start - first : stop - first] for name, column in columns.items()}
            writer.append_stored(chunks, values)
            advance(stop - start)
            start = stop

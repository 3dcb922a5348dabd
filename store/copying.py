"""Copy samples from one store to another without decoding them.

A full shard of the source that becomes a full shard of the target is not written again: both stores get a hard link to
one file, which is read once, to compare its bytes with their checksums. No program of this package writes to a file of
a finished store, so the stores stay independent of each other. Where the disk has no hard links, between two disks, and
where samples change their positions within a shard, bytes are copied, and read once more when the store is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.disk.links import hard_link
from store.format import chunk_path
from store.reader import AttentionStore
from store.shards import MappedShard
from store.writer import StoreWriter

__all__ = ["SampleCopier"]


class SampleCopier:
    """Append the samples of stores to another one. Their bytes are compared with their checksums.

    Args:
        advance: called with the number of samples that were copied.
    """

    def __init__(self, advance: Callable[[int], None] = lambda _: None) -> None:
        self._advance = advance
        self._linked: list[range] = []
        """Positions in the target of samples in shards that were linked."""

    def written(self, samples: int) -> NDArray[np.int64]:
        """Return the positions, below `samples`, whose bytes were written and have to be read again."""
        written = np.ones(samples, dtype=np.bool_)
        for linked in self._linked:
            written[linked.start : linked.stop] = False
        return np.flatnonzero(written)

    def copy(self, source: AttentionStore, writer: StoreWriter) -> None:
        """Append all samples of a store to another one.

        Many samples are copied at a time: those that lie in one shard of the source and fit into one shard of the
        target. Memory holds one shard, and one chunk of every column. Checksums are taken over: they were compared with
        the bytes.

        Args:
            source: a local store of the writer's layout.
            writer: of the other store.

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
                values = {name: column[start - first : stop - first] for name, column in columns.items()}
                if stop - start == per_shard == writer.samples_per_shard and _link(source, start, writer):
                    self._linked.append(range(writer.samples, writer.samples + per_shard))
                    _adopt(writer, values)
                else:
                    chunks = {name: source.stored_run(name, start, stop) for name in writer.shards}
                    writer.append_stored(chunks, values)
                self._advance(stop - start)
                start = stop


def _adopt(writer: StoreWriter, values: Mapping[str, Sequence[Any]]) -> None:
    """Add the samples of a full shard whose files are in place, with their values in the columns."""
    for shards in writer.shards.values():
        shards.adopt()
    for name, column in values.items():
        writer.columns[name].extend(column)
    writer.samples += writer.samples_per_shard


def _link(source: AttentionStore, start: int, writer: StoreWriter) -> bool:
    """Link the next shard of every array to the shard of `source` that begins with sample `start`, and check it.

    Returns:
        False, without any link, if the disk refuses one, or a file is missing or not a regular one.

    Raises:
        StoreCorruptError: bytes of `source` are damaged.
    """
    per_shard = writer.samples_per_shard
    checksums = source.columns.run("checksum", start, start + per_shard)
    linked: list[Path] = []
    for name, shards in writer.shards.items():
        file = chunk_path(source.files.folder, name, start // per_shard, len(source.arrays[name].shape))
        if not hard_link(file, shards.next_file):
            for other in linked:
                other.unlink()
            return False
        linked.append(shards.next_file)
        shard = MappedShard(
            shards.next_file,  # this file and no other becomes a part of the store
            shown=str(file),
            capacity=per_shard,
            name=name,
            first=start,
            last=start + per_shard - 1,
        )
        column = source.description.sharded.index(name)
        shard.check_together(np.arange(start, start + per_shard, dtype=np.int64), checksums[:, column])
    return True

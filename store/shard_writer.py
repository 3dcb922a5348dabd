"""Write the shards of one array, chunk by chunk."""

from __future__ import annotations

import os
from pathlib import Path

from store.disk.regular import named_failures
from store.format import chunk_path
from store.metadata import dimensions_of
from store.shards import encode_index

__all__ = ["ShardWriter"]


class ShardWriter:
    """Gather the chunks of an array and write a shard whenever it is full.

    A shard of more than `most_bytes` is written in pieces of about this size, so that it never lies in memory as a
    whole.

    Args:
        root: folder of the store; the array's own folder is made in it.
        name: of the array.
        capacity: chunks in a full shard.
        most_bytes: bytes of chunks that are kept in memory.
    """

    def __init__(self, root: Path, name: str, *, capacity: int, most_bytes: int) -> None:
        self.shards = 0
        """The number of shards that are complete."""
        self._root = root
        self._name = name
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._lengths: list[int] = []
        """The length of every chunk of the present shard."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        (root / name).mkdir()

    def append(self, chunk: bytes) -> None:
        """Add one chunk, CRC-32C included."""
        self._lengths.append(len(chunk))
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if len(self._lengths) == self._capacity:
            self.finish()
        elif self._waiting_bytes >= self._most_bytes:
            self._write(complete=False)

    def finish(self) -> None:
        """Complete the present shard if it has any chunk."""
        if self._lengths:
            self._waiting.append(encode_index(self._lengths, self._capacity))
            self._write(complete=True)
            self._lengths.clear()
            self.shards += 1

    def _write(self, *, complete: bool) -> None:
        """Write what waits to the end of the present shard's file; if it is complete, wait until it is on the disk."""
        path = chunk_path(self._root, self._name, self.shards, len(dimensions_of(self._name)))
        begun = len(self._lengths) > len(self._waiting) - complete
        with named_failures(path), path.open("ab" if begun else "xb") as file:
            file.write(b"".join(self._waiting))
            if complete:
                file.flush()
                os.fsync(file.fileno())
        self._waiting.clear()
        self._waiting_bytes = 0

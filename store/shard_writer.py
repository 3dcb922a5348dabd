"""Write the shards of one array, chunk by chunk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from store.disk.regular import named_failures
from store.disk.syncing import Syncing
from store.format import chunk_path
from store.metadata import dimensions_of
from store.shards import encode_index

__all__ = ["ShardWriter"]

FEW = 8
"""Number of blocks below which they are written one by one, without putting them together in memory."""


class ShardWriter:
    """Gather the chunks of an array and write a shard whenever it is full.

    A shard of more than `most_bytes` is written in pieces of about this size, so that it never lies in memory as a
    whole.

    Args:
        root: folder of the store; the array's own folder is made in it.
        name: of the array.
        capacity: chunks in a full shard.
        most_bytes: bytes of chunks that are kept in memory.
        syncing: secures complete shards on the disk.
    """

    def __init__(
        self, root: Path, name: str, *, capacity: int, most_bytes: int, syncing: Syncing | None = None
    ) -> None:
        self.shards = 0
        """The number of shards that are complete."""
        self._root = root
        self._name = name
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._syncing = syncing or Syncing()
        self._lengths: list[int] = []
        """The length of every chunk of the present shard."""
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._begun = False
        """True if a part of the present shard is in its file."""
        (root / name).mkdir()

    def append(self, chunk: bytes) -> None:
        """Add one chunk, CRC-32C included."""
        self.append_run(chunk, [len(chunk)])

    def append_run(self, chunks: bytes | memoryview, lengths: Sequence[int]) -> None:
        """Add chunks that follow each other in memory, as in a shard of another store.

        Args:
            chunks: their bytes.
            lengths: of every chunk.

        Raises:
            ValueError: there are more than the present shard has room for.
        """
        if len(self._lengths) + len(lengths) > self._capacity:
            raise ValueError(f"{len(self._lengths)} + {len(lengths)} chunks in a shard of {self._capacity}")
        self._lengths.extend(lengths)
        self._waiting.append(chunks)
        self._waiting_bytes += len(chunks)
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

    @property
    def next_file(self) -> Path:
        """The path of the first shard that is not complete."""
        return chunk_path(self._root, self._name, self.shards, len(dimensions_of(self._name)))

    def adopt(self) -> None:
        """Count the file at `next_file`, which somebody else has put there, as a full shard, and secure it on the disk.

        Raises:
            OSError: it cannot be read.
        """
        path = self.next_file
        if sys.platform != "win32":  # Windows secures only files that are open for writing
            with named_failures(path):
                file = path.open("rb")
            self._syncing.close(file, path)
        self.shards += 1

    def _write(self, *, complete: bool) -> None:
        """Write what waits to the end of the present shard's file; if it is complete, secure it on the disk."""
        path = self.next_file
        with named_failures(path):
            file = path.open("ab" if self._begun else "xb")
            try:
                file.writelines(self._waiting if len(self._waiting) < FEW else [b"".join(self._waiting)])
            except BaseException:
                with contextlib.suppress(OSError):  # what is in the buffer fails again
                    file.close()
                raise
        if complete:
            self._syncing.close(file, path)
        else:
            with named_failures(path):
                file.close()
        self._begun = not complete
        self._waiting.clear()
        self._waiting_bytes = 0

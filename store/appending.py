"""Write a store that begins with all samples of an older one: shards that are full are linked, and not written again.

The samples of the older store keep their positions, and new ones follow. The files of full shards and of full chunks of
columns are the same in both stores, so they become hard links, or copies where the disk has no links. They are never
written to. The chunks of the last shard are copied as they are, without unpacking. So the cost follows from the number
of new samples, apart from columns, which are read.

The older store stays as it was until the new one takes its place. Of the samples of linked shards only the presence of
their files is checked; `pipeline verify` checks their bytes, and so does every reader.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.check import check_store
from store.disk.links import hard_link
from store.disk.publish import published_folder
from store.disk.regular import IrregularFileError, open_regular
from store.errors import StoreCorruptError, StoreError, StoreIncompleteError
from store.format import COLUMN_CHUNK, RESTORE, VERSION, chunk_path
from store.reader import AttentionStore
from store.root import STORE
from store.upgrade import layout_of
from store.writer import StoreWriter

__all__ = ["appended_store"]


@contextlib.contextmanager
def appended_store(previous: AttentionStore) -> Iterator[StoreWriter]:
    """Open a writer whose store holds the samples of `previous` and replaces it when the block ends without an error.

    Args:
        previous: the store at the path to write to, of the present version.

    Raises:
        StoreError: it cannot be read, or it has parts that this program cannot write.
        StoreCorruptError: the written store fails verification; nothing is published.
    """
    _require_writable(previous)
    path = previous.files.folder
    with published_folder(path, ours=STORE) as folder:
        layout = replace(layout_of(previous), per_shard=previous.description.samples_per_shard)
        writer = StoreWriter(folder, layout=layout, recipe=previous.recipe)
        _adopt(writer, previous, folder)
        yield writer
        writer.finish()
        linked = len(previous) - len(previous) % previous.description.samples_per_shard
        chosen = lambda samples: np.arange(linked, samples, dtype=np.int64)  # noqa: E731 - one use
        found = check_store(folder, choose=chosen, known=min(linked, len(previous) // COLUMN_CHUNK * COLUMN_CHUNK))
        if found.faults:
            faults = [fault.text for fault in found.faults]
            raise StoreCorruptError("\n".join([f"{path}: the written store does not read back:", *faults]))


def _require_writable(previous: AttentionStore) -> None:
    """Make sure that the writer can write all parts of a store.

    Raises:
        StoreError: it cannot.
    """
    written = {*layout_of(previous).sharded, *layout_of(previous).sample_columns, "checksum", "head"}
    foreign = sorted(set(previous.description.arrays) - written)
    if foreign or previous.description.version != VERSION or previous.description.upgraded_from:
        what = f"has the parts {', '.join(foreign)}" if foreign else "was written by an older version"
        raise StoreError(f"{previous.path}: {what}, so samples cannot be added to it.\n  Extract the store again.")


def _adopt(writer: StoreWriter, previous: AttentionStore, folder: Path) -> None:
    """Begin a store with all samples of the previous one."""
    samples, per_shard = len(previous), previous.description.samples_per_shard
    full = samples // per_shard
    for name, shards in writer.shards.items():
        dimensions = len(previous.arrays[name].shape)
        for number in range(full):
            _link(
                chunk_path(previous.files.folder, name, number, dimensions),
                chunk_path(folder, name, number, dimensions),
            )
        shards.shards = full
        if samples % per_shard:
            shards.append_run(*previous.stored_run(name, full * per_shard, samples))
    writer.samples = samples
    for name in (*writer.sample_columns, "checksum"):
        _adopt_column(writer, previous, folder, name)


def _adopt_column(writer: StoreWriter, previous: AttentionStore, folder: Path, name: str) -> None:
    """Link the full chunks of a column and add the values of the last one."""
    column, metadata = writer.columns[name], previous.arrays[name]
    digests = previous.description.columns_sha256[name]
    full = len(previous) // COLUMN_CHUNK if metadata.chunk_shape[0] == COLUMN_CHUNK else 0
    for number in range(full):
        parts = (name, number, len(metadata.shape))
        _link(chunk_path(previous.files.folder, *parts), chunk_path(folder, *parts))
    column.adopt(digests[:full], full * COLUMN_CHUNK)
    extents = previous.columns.extents(name)[full:]
    if len(extents) == 1 and len(previous) - extents[0][0] < COLUMN_CHUNK:
        column.begin(previous.columns.chunk(name, full))
    else:  # no values are left, or another program has written chunks of another size
        rest: NDArray[Any] = previous.columns.read(name, full * metadata.chunk_shape[0], len(previous))
        column.extend(rest.tolist())


def _link(source: Path, target: Path) -> None:
    """Make a hard link to a file, or a copy where the disk has none.

    Raises:
        StoreIncompleteError: the file is missing, or cannot be read.
        StoreCorruptError: it is a FIFO, a device or a socket.
    """
    if hard_link(source, target):
        return
    try:
        old = open_regular(source)
    except IrregularFileError as error:
        raise StoreCorruptError(f"{source}: {error.strerror}.\n  {RESTORE}") from None
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise StoreIncompleteError(f"{source}: {what}.\n  {RESTORE}") from None
    with old, target.open("xb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())

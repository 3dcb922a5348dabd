"""Check the chunks of one shard's samples, in all sharded arrays: against their checksums, then their values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from store.disk.regular import MIB, IrregularFileError
from store.errors import PipelineError
from store.faults import Fault
from store.format import SHARDED, chunk_path
from store.reader import AttentionStore
from store.values import wrong_values

__all__ = ["faults_of_shard"]

AT_ONCE = 64 * MIB
"""Bytes of unpacked values that are in memory at the same time; a shard of this program has about 32 MiB."""


def faults_of_shard(store: AttentionStore, shard: int, samples: NDArray[np.int64], *, values: bool) -> list[Fault]:
    """Return the faults of a shard in all arrays.

    Args:
        store: the store.
        shard: number of the shard.
        samples: (sample,) positions in the store of those samples of the shard that are read, sorted. If there are
            none, only the presence of the files is checked.
        values: False to compare the chunks with their checksums only, without unpacking them.
    """
    faults: list[Fault] = []
    for name in store.description.sharded:
        if not len(samples):
            faults += _missing_shard(store, name, shard)
        step = _samples_at_once(store, name)
        for start in range(0, len(samples), step):
            faults += _faults_of_array(store, name, samples[start : start + step], values=values)
    return faults


def _samples_at_once(store: AttentionStore, name: str) -> int:
    """Return the number of samples of an array that are checked together: as many as fit in `AT_ONCE` bytes."""
    array = store.arrays[name]
    size = math.prod(array.shape[1:]) * (array.known_dtype or np.dtype(np.uint8)).itemsize
    return max(1, AT_ONCE // max(1, size))


def _faults_of_array(store: AttentionStore, name: str, samples: NDArray[np.int64], *, values: bool) -> list[Fault]:
    """Return the faults of some samples of one shard. A damaged sample does not hide the others."""
    try:
        return _faults_of_samples(store, name, samples, values=values)
    except PipelineError as whole:
        faults = []
        for sample in samples:
            try:
                faults += _faults_of_samples(store, name, np.array([sample]), values=values)
            except PipelineError as error:
                faults.append(Fault.of(error))
        # A missing shard gives the same fault for each of its samples: once is enough.
        return list(dict.fromkeys(faults)) or [Fault.of(whole)]


def _faults_of_samples(store: AttentionStore, name: str, samples: NDArray[np.int64], *, values: bool) -> list[Fault]:
    """Return the faults of some samples' values; raises a `PipelineError` when their bytes are damaged."""
    if name not in SHARDED and not store.has(name):  # the meaning of its values is not known
        store.check_array(name, samples)
        return []
    if not values:
        store.stored_run(name, int(samples[0]), int(samples[-1]) + 1)
        return []
    read = store.read_array(name, samples)
    return [
        Fault("damaged", f"`{name}` {what} in sample {samples[position]} ({store.ids[samples[position]]})")
        for what, where in wrong_values(store, name, read, samples).items()
        for position in np.flatnonzero(where)
    ]


def _missing_shard(store: AttentionStore, name: str, shard: int) -> list[Fault]:
    """Return a fault if the file of a shard is absent. The file is not read."""
    file = chunk_path(store.files.folder, name, shard, len(store.arrays[name].shape))
    try:
        store.files.require_present(file)
    except FileNotFoundError:
        return [Fault("missing", f"`{name}`: {file.name} is missing")]
    except IrregularFileError as error:
        return [Fault("damaged", f"`{name}`: {file.name} {error.strerror}")]
    except OSError as error:
        return [Fault("missing", f"`{name}`: {file.name} cannot be read ({error.strerror})")]
    return []

"""`pipeline verify`: read and check every byte of a store, and name what is wrong.

From the top of the hash tree down: description and metadata, which opening checks; every column; every
sample's three chunks against their checksums; then what the values mean: mask values that are classes,
attention that is finite, not negative, and sums to at most one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import PipelineError
from store.format import ATTRIBUTE, DIMENSIONS, READ_AS_COLUMNS, SHARDED, chunk_path
from store.reader import AttentionStore
from store.records import IGNORE

ROUNDING = 2e-3
"""How far above one a row of probabilities may sum: float16 keeps 11 bits of each."""

JSON_STYLES = ((2, True), (2, False), (None, True), (None, False))
"""How zarr may have written a group's metadata: indentation, and whether other letters than ASCII's are escaped."""

Progress = Callable[[Sequence[int], str], Iterable[int]]


def verify_store(path: Path, progress: Progress = lambda shards, _: shards) -> list[str]:
    """Every fault of a store, a line each; empty when it is sound.

    Args:
        path: where the store lies.
        progress: wraps the loop over shards, to show how far it is.
    """
    try:
        store = AttentionStore.open(path)
    except PipelineError as error:
        return [str(error)]
    faults = [*_faults_of_root(path), *_faults_of_columns(store)]
    per_shard = store.description.samples_per_shard
    shards = range(-(-len(store) // per_shard))
    for shard in progress(shards, "verifying"):
        samples = range(shard * per_shard, min((shard + 1) * per_shard, len(store)))
        for name in SHARDED:
            faults += _faults_of_shard(store, name, samples)
    return faults + _stray_files(store, len(shards))


def _faults_of_root(path: Path) -> list[str]:
    """What stands in the group's own metadata beside the description, which no checksum covers."""
    text = (path / "zarr.json").read_bytes().decode()
    root = json.loads(text)
    if root != {"attributes": {ATTRIBUTE: root["attributes"][ATTRIBUTE]}, "zarr_format": 3, "node_type": "group"}:
        return [
            f"{path}: zarr.json holds more than the store's description; it was changed after the store was written."
        ]
    if text not in {json.dumps(root, indent=indent, ensure_ascii=escaped) for indent, escaped in JSON_STYLES}:
        return [f"{path}: zarr.json says what it should, but not in the bytes that were written."]
    return []


def _faults_of_columns(store: AttentionStore) -> list[str]:
    faults = []
    for name in READ_AS_COLUMNS:
        for start, stop in store.columns.extents(name):
            try:
                store.columns.read(name, start, stop)  # and nothing of it is kept: it may be too large for memory
            except PipelineError as error:
                faults.append(str(error).splitlines()[0])
    return faults


def _faults_of_shard(store: AttentionStore, name: str, samples: range) -> list[str]:
    """The faults of one array's shard. A damaged sample does not hide the others."""
    try:
        return _faults_of_values(store, name, samples, store.read_array(name, np.arange(samples.start, samples.stop)))
    except PipelineError as whole:
        faults = []
        for sample in samples:
            try:
                faults += _faults_of_values(store, name, range(sample, sample + 1), store.read_array(name, [sample]))
            except PipelineError as error:
                faults.append(str(error).splitlines()[0])
        # A missing shard says the same for each of its samples: once is enough.
        return list(dict.fromkeys(faults)) or [str(whole).splitlines()[0]]


def _faults_of_values(store: AttentionStore, name: str, samples: range, values: NDArray[Any]) -> list[str]:
    if name == "mask":
        wrong = {"has values that are no class": ((values >= len(store.classes)) & (values != IGNORE)).any(axis=(1, 2))}
    elif name == "attention":
        maps = values.astype(np.float32) * store.scale_factor
        wrong = {
            "is not finite": ~np.isfinite(maps).all(axis=(1, 2, 3)),
            "is negative": (maps < 0).any(axis=(1, 2, 3)),
            "sums to more than one": (maps.sum(axis=(2, 3)) > 1 + ROUNDING).any(axis=1),
        }
    else:
        wrong = {}
    return [
        f"`{name}` {what} in sample {samples[position]} ({store.ids[samples[position]]})"
        for what, where in wrong.items()
        for position in np.flatnonzero(where)
    ]


def _stray_files(store: AttentionStore, shards: int) -> list[str]:
    """Files among the chunks that belong to no sample, and beside the arrays."""
    chunks = {name: len(digests) for name, digests in store.description.columns_sha256.items()}
    expected = {
        name: {chunk_path(store.path, name, number) for number in range(chunks.get(name, shards))}
        for name in DIMENSIONS
    }
    beside = [entry.name for entry in sorted(store.path.iterdir()) if entry.name not in {*DIMENSIONS, "zarr.json"}]
    return [f"{store.path}: {name} does not belong to the store" for name in beside] + [
        f"`{name}`: {file.name} does not belong to the store"
        for name in DIMENSIONS
        for file in sorted((store.path / name).iterdir())
        if file.name != "zarr.json" and file not in expected[name]
    ]

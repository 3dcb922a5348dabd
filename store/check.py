"""Read and check every byte of a store, or the bytes of some samples, and name every fault: `pipeline verify`.

The hash tree is checked from the top down: description and metadata, which opening checks; every column; every
sample's chunks against their checksums. Then the values are checked (`store.values`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from store.check_processes import processes_for, shard_checks
from store.column_chunks import is_decodable
from store.errors import PipelineError, UsageError
from store.faults import Fault
from store.format import ATTRIBUTE, chunk_path, written_json
from store.reader import AttentionStore
from store.remote.address import Place, RemoteAddress, place_of
from store.remote.cache import CacheSettings
from store.strict_json import parse_json
from store.values import wrong_column_values

VERSION_1_STYLES = ((2, True), (2, False), (None, True), (None, False))
"""The styles in which zarr may have written a version 1 group's `zarr.json`.

Each is the indentation, and True if letters outside ASCII are escaped.
"""

Progress = Callable[[Sequence[int], str], Iterable[int]]
Choose = Callable[[int], NDArray[np.int64]]
"""Returns the positions of the samples to check, sorted and distinct, for a number of samples."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of checking a store."""

    faults: list[Fault]
    samples: int
    """Number of samples in the store; 0 when it could not be opened."""
    checked: int
    """Number of samples whose bytes were read."""

    @property
    def verdict(self) -> Literal["sound", "damaged", "missing", "unknown"]:
        """The most serious kind of fault: damage, then an unknown version, then absence."""
        kinds = {fault.kind for fault in self.faults}
        for kind in ("damaged", "unknown", "missing"):
            if kind in kinds:
                return kind
        return "sound"


def all_samples(samples: int) -> NDArray[np.int64]:
    """Choose every sample."""
    return np.arange(samples, dtype=np.int64)


def verify_store(path: str | Path | RemoteAddress, progress: Progress = lambda shards, _: shards) -> list[str]:
    """Return every fault of a store, one text each. The list is empty if the store is sound.

    Args:
        path: of the store.
        progress: wraps the loop over shards, to show how far it is.
    """
    return [fault.text for fault in check_store(path, progress).faults]


def check_store(
    path: str | Path | RemoteAddress,
    progress: Progress = lambda shards, _: shards,
    *,
    choose: Choose = all_samples,
    known: int = 0,
    values: bool = True,
    processes: int | None = 1,
) -> Verification:
    """Check a store: all metadata and columns, and the chunks of the chosen samples.

    Args:
        path: of the store, or its address. Then every byte comes from there, not from the cache, and files that do not
            belong to the store are not looked for.
        progress: wraps the loop over shards, to show how far it is.
        choose: the samples whose chunks are read. Of a shard without such a sample, only the presence of its file is
            checked.
        known: number of samples at the beginning whose chunks of columns are not read, because they were checked
            before.
        values: False to compare the chunks of samples with their checksums only, without unpacking them.
        processes: number of processes that read a local store; None for one per processor if there is much to read.
            With several, a script that calls this must be protected by `if __name__ == "__main__":`.

    Raises:
        UsageError: the address cannot be used.
        StoreUnreachableError: the server of the address cannot be reached, or refuses.
    """
    place = place_of(path)
    if not isinstance(place, RemoteAddress):
        return _check_place(place, progress, choose, known, values, processes)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return _check_place(
            place.with_cache(CacheSettings(folder=Path(folder), size=0)), progress, choose, known, values, processes
        )


def _check_place(
    place: Place,
    progress: Progress,
    choose: Choose,
    known: int,
    values: bool,  # noqa: FBT001 - as `check_store`
    processes: int | None,
) -> Verification:
    try:
        store = AttentionStore.open(place)
    except UsageError:
        raise
    except PipelineError as error:
        text = str(error)
        return Verification(faults=[Fault(Fault.of(error).kind, text)], samples=0, checked=0)
    chosen = choose(len(store))
    per_shard = store.description.samples_per_shard
    shards = range(-(-len(store) // per_shard))
    places = np.searchsorted(chosen, np.arange(len(shards) + 1) * per_shard)
    parts = [(shard, chosen[places[shard] : places[shard + 1]]) for shard in shards]
    faults = _faults_of_root(store.path, store.files.root_bytes(), store.description.version)
    with shard_checks(store, parts, values=values, processes=processes_for(store, parts, processes)) as checks:
        faults += _faults_of_columns(store, known)
        for _ in progress(shards, "verifying"):
            faults += next(checks)
    faults += _stray_files(store, len(shards))
    return Verification(faults=faults, samples=len(store), checked=len(chosen))


def _faults_of_root(path: Place, content: bytes, version: int) -> list[Fault]:
    """Return the faults of the group's `zarr.json` outside the description. No checksum covers this part.

    Args:
        path: of the store.
        content: the bytes of its `zarr.json`, which describe a store.
        version: of the store.
    """
    root = parse_json(content)
    attribute = root["attributes"][ATTRIBUTE]
    if root != {"attributes": {ATTRIBUTE: attribute}, "zarr_format": 3, "node_type": "group"}:
        return [
            Fault(
                "damaged",
                f"{path}: zarr.json holds more than the store's description; it was changed after the store was "
                "written.",
            )
        ]
    styles = {written_json(root)}
    if version == 1:
        styles = {
            json.dumps(root, indent=indent, ensure_ascii=escaped).encode() for indent, escaped in VERSION_1_STYLES
        }
    if content not in styles:
        return [Fault("damaged", f"{path}: zarr.json has the right values, but not in the bytes that were written.")]
    return []


def _faults_of_columns(store: AttentionStore, known: int) -> list[Fault]:
    faults = []
    for name in store.description.columns_sha256:
        decodable = is_decodable(store.arrays[name])
        for number, (start, stop) in enumerate(store.columns.extents(name)):
            if stop <= known:
                continue
            try:
                if not decodable:
                    store.columns.check(name, number)
                    continue
                values = store.columns.chunk(name, number)  # nothing is kept: it may be too large for memory
                faults += [
                    Fault("damaged", f"`{name}` {what} in sample {start + row} ({store.ids[start + row]})")
                    for what, where in wrong_column_values(store, name, values, start).items()
                    for row in np.flatnonzero(where)
                ]
            except PipelineError as error:
                faults.append(Fault.of(error))
    return list(dict.fromkeys(faults))  # a damaged column is met again where another one is compared with it


def _stray_files(store: AttentionStore, shards: int) -> list[Fault]:
    """Return a fault for each file among the chunks that belongs to no sample, and for each one beside the arrays."""
    if isinstance(store.path, RemoteAddress):
        return []
    numbers = {name: len(digests) for name, digests in store.description.columns_sha256.items()}
    faults = [
        Fault("damaged", f"{store.path}: {entry.name} does not belong to the store")
        for entry in sorted(store.path.iterdir())
        if entry.name not in {*store.arrays, "zarr.json"}
    ]
    for name, array in store.arrays.items():
        count = numbers.get(name, shards)
        expected = {chunk_path(store.path, name, number, len(array.shape)) for number in range(count)}
        faults += [
            Fault("damaged", f"`{name}`: {file.name} does not belong to the store")
            for file in sorted((store.path / name).iterdir())
            if file.name != "zarr.json" and file not in expected
        ]
    return faults

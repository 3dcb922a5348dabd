"""Change single bits and bytes of a store, hundreds of thousands of times, and ask whether each change is noticed.

    python -m tests.faults.changed_bytes 1000000

Verifying the whole store after each change would take hours. So only the check of the changed file is made, with the
functions that opening, reading and `verify` use for it:

| file | check |
|---|---|
| the group's `zarr.json` | `store.root.describe`, then the comparison of its bytes by `verify` |
| an array's `zarr.json` | `store.format.metadata_sha256` against the description |
| a column's chunk | `store.columns.Columns.check` |
| a shard | `store.shards.MappedShard`, and its `check` of every sample |

For some of the changes `check_store` verifies the whole store, and must agree.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

from store import AttentionStore, StoreError
from store.check import _faults_of_root, check_store
from store.format import SHARDED, metadata_sha256
from store.root import describe
from store.shards import MappedShard
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

SAMPLES, PER_SHARD = 5, 2
SHM = Path("/dev/shm")  # noqa: S108 - a disk in memory, where there is one
KINDS = ("flip", "cut", "insert", "swap", "repeat")
WEIGHTS = (0.8, 0.05, 0.05, 0.05, 0.05)
"""The shares of the kinds of change. Single flipped bits are the most frequent damage."""


@dataclass(frozen=True)
class Change:
    """One change of one file."""

    kind: str
    file: Path
    content: bytes
    """The bytes of the changed file."""


def write_store(path: Path) -> AttentionStore:
    """Write a store of five samples in three shards per array, with chunks of a few hundred bytes."""
    layout = Layout(size=(6, 8), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "Läsion"])
    with patch("store.writer.MAX_SAMPLES_PER_SHARD", PER_SHARD), new_store(path, layout=layout, recipe=RECIPE) as new:
        for index in range(SAMPLES):
            new.append(random_sample(index, layout))
    return AttentionStore.open(path)


class Subject:
    """A sound store, whose files are changed one at a time."""

    def __init__(self, path: Path) -> None:
        self.store = write_store(path)
        self.files = sorted(file for file in path.rglob("*") if file.is_file())
        self.sound = {file: file.read_bytes() for file in self.files}
        self.metadata = {name: self.sound[path / name / "zarr.json"] for name in self.store.arrays}
        self.checksums = self.store.column("checksum")

    def changes(self, count: int, seed: int) -> Iterator[Change]:
        """Yield changes of random files: every file is equally likely, whatever its size."""
        chosen, left = np.random.default_rng(seed), count
        while left:
            kinds = chosen.choice(len(KINDS), 1000, p=WEIGHTS)
            files = chosen.integers(len(self.files), size=1000)
            places = chosen.random((1000, 3))
            for kind, number, (where, other, bit) in zip(kinds, files, places, strict=True):
                file = self.files[number]
                content = _changed(KINDS[kind], self.sound[file], where, other, int(bit * 256))
                if left and content != self.sound[file]:  # a byte may be exchanged with an equal one
                    left -= 1
                    yield Change(KINDS[kind], file, content)

    def is_noticed(self, change: Change) -> str:
        """Return who notices a change: `opening`, `reading`, `verify` alone, or `nobody`."""
        root, file = self.store.path, change.file
        name = file.parent.name
        if file.parent == root:
            try:
                found = describe(root, change.content)
            except StoreError:
                return "opening"
            return "verify" if _faults_of_root(root, change.content, found.version) else "nobody"
        if file.name == "zarr.json":
            changed = metadata_sha256({**self.metadata, name: change.content})
            return "opening" if changed != self.store.description.metadata_sha256 else "nobody"
        file.write_bytes(change.content)
        try:
            self._read(file, name)
        except StoreError:
            return "reading"
        finally:
            file.write_bytes(self.sound[file])
        return "nobody"

    def _read(self, file: Path, name: str) -> None:
        number = int(file.name.split(".")[1])
        if name not in SHARDED:
            self.store.columns.check(name, number)
            return
        first = number * PER_SHARD
        last = min(first + PER_SHARD, SAMPLES) - 1
        shard = MappedShard(file, capacity=PER_SHARD, name=name, first=first, last=last)
        column = self.store.description.sharded.index(name)
        for sample in range(first, last + 1):
            shard.check(sample, int(self.checksums[sample, column]))

    def is_noticed_by_verify(self, change: Change) -> bool:
        """Return True if verifying the whole store finds a fault."""
        change.file.write_bytes(change.content)
        try:
            return bool(check_store(self.store.path).faults)
        finally:
            change.file.write_bytes(self.sound[change.file])


def _changed(kind: str, content: bytes, where: float, other: float, bit: int) -> bytes:
    at, to = int(where * len(content)), int(other * len(content))
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ 1 << bit % 8]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        added = content[at : at + 1] if bit % 2 else bytes([bit])  # the next byte once more, or any other
        return content[:at] + added + content[at:]
    if kind == "repeat":  # a block of the file once more, as a disk may write it
        return content[:at] + content[min(at, to) : max(at, to)] + content[at + abs(to - at) :]
    swapped = bytearray(content)
    swapped[at], swapped[to] = content[to], content[at]
    return bytes(swapped)


def count_noticed(path: Path, count: int, *, seed: int, verified: int) -> tuple[Counter[tuple[str, str]], list[Change]]:
    """Make changes and count who notices them.

    Args:
        path: for the store.
        count: number of changes.
        seed: of the choice.
        verified: number of changes for which the whole store is verified too.

    Returns:
        The counts by kind of change and who noticed it, and the changes that nobody noticed.

    Raises:
        AssertionError: verifying the whole store gives another verdict than the check of the file.
    """
    subject = Subject(path)
    counts: Counter[tuple[str, str]] = Counter()
    unnoticed = []
    for number, change in enumerate(subject.changes(count, seed)):
        noticed = subject.is_noticed(change)
        counts[change.kind, noticed] += 1
        if noticed == "nobody":
            unnoticed.append(change)
        if number % max(1, count // verified) == 0:
            assert subject.is_noticed_by_verify(change) == (noticed != "nobody"), change
    return counts, unnoticed


def main() -> None:
    """Make as many changes as the first argument says, and print the counts."""
    count, began = int(sys.argv[1]), time.monotonic()
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
        counts, unnoticed = count_noticed(Path(folder) / "s.zarr", count, seed=0, verified=2000)
    for (kind, noticed), times in sorted(counts.items()):
        sys.stdout.write(f"{kind:8} {noticed:8} {times}\n")
    sys.stdout.write(f"{counts.total()} changes, {len(unnoticed)} unnoticed, {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()

"""Thousands of flipped bits, cuts, insertions and exchanged bytes in a store: every one of them is noticed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.changed_bytes import KINDS, SHM, Change, Subject, count_noticed


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder on a disk in memory, where there is one: every change writes a file twice."""
    with tempfile.TemporaryDirectory(prefix="changed-", dir=SHM if SHM.is_dir() else None) as made:
        yield Path(made)


def test_every_change_of_any_byte_is_noticed(folder: Path):
    """`verify` of the whole store agrees with the check of the changed file for fifty of them."""
    counts, unnoticed = count_noticed(folder / "s.zarr", 20_000, seed=1, verified=50)
    assert [(change.kind, change.file.name) for change in unnoticed] == []
    assert {kind for kind, _ in counts} == set(KINDS)
    assert {noticed for _, noticed in counts} == {"opening", "reading", "verify"}
    assert counts.total() == 20_000


def test_a_file_without_a_change_is_noticed_by_nobody(folder: Path):
    """Otherwise the counts would say nothing."""
    subject = Subject(folder / "s.zarr")
    for file in subject.files:
        change = Change("flip", file, subject.sound[file])
        assert subject.is_noticed(change) == "nobody"
    assert not subject.is_noticed_by_verify(change)


def test_every_length_of_every_file_is_noticed(folder: Path):
    """Each file is cut at every length from 0 to one byte less than it has."""
    subject = Subject(folder / "s.zarr")
    for file, content in subject.sound.items():
        for left in range(len(content)):
            assert subject.is_noticed(Change("cut", file, content[:left])) != "nobody", (file, left)

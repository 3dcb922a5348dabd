"""A folder that a failing disk cannot show is a problem, never a smaller data set."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.imaging.listing import list_folder
from stages.imaging.pairing import Inputs, find_samples


class _FailingEntry:
    """Pass on an entry of a folder, except that the system cannot say what is behind the name."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self.name = entry.name
        self.is_symlink = entry.is_symlink

    def is_dir(self, **_: bool) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), self.name)

    is_file = is_dir


@contextlib.contextmanager
def _failing(scanned: Any, names: set[str]) -> Iterator[list[Any]]:
    with scanned as entries:
        yield [_FailingEntry(entry) if entry.name in names else entry for entry in entries]


@pytest.mark.parametrize("name", ["patients", "patients.png", "patients.csv"])
def test_an_entry_that_cannot_be_looked_at_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """It could be a folder with most of the images. Its name proves nothing."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "images" / name).symlink_to(tmp_path)
    scan = os.scandir
    monkeypatch.setattr("stages.imaging.listing.os.scandir", lambda folder: _failing(scan(folder), {name}))
    listing = list_folder(tmp_path / "images")
    assert [file.relative for file in listing.files] == ["a.png"]
    assert [str(problem) for problem in listing.problems] == [
        f"{tmp_path / 'images' / name}: cannot be looked at (Input/output error); check the disk"
    ]


def test_a_folder_that_cannot_be_looked_at_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(path: Path) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "is_dir", failing)
    with pytest.raises(OSError, match="Input/output error"):
        list_folder(tmp_path)


@pytest.mark.parametrize("method", ["is_dir", "is_file"])
def test_a_folder_of_images_that_cannot_be_looked_at_is_not_called_missing(tmp_path, monkeypatch, method):
    def failing(path: Path) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, method, failing)
    with pytest.raises(OSError, match="Input/output error"):
        find_samples(Inputs(images=tmp_path))

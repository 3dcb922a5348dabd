"""Files of a store that are no regular files, or cannot be read: refused without waiting, and never replaced."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import store.root
from store import AttentionStore, NotAStoreError, StoreCorruptError, StoreError, StoreIncompleteError
from store.check import check_store
from store.disk.publish import published_folder
from store.disk.regular import IrregularFileError, read_limited
from store.root import MOST_BYTES, STORE, is_store, root_bytes
from tests.store.conformance.cases import SOURCE

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs and device files")

FILES = ["zarr.json", "mask/zarr.json", "group/zarr.json", "group/c.0", "checksum/c.0.0", "image/c.1.0.0.0", "head/c.0"]


def _fifo(file: Path) -> None:
    os.mkfifo(file)


def _device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        folder = os.open(file.parent, os.O_RDONLY)
        os.fchdir(folder)
        bound.bind(file.name)  # an absolute path may be too long for a socket
        os.close(folder)


def _read_parts(path: Path) -> None:
    opened = AttentionStore.open(path)
    opened.column("group")
    opened.column("head")
    opened.read([11])


KINDS = {_fifo: "is a FIFO", _device: "is a character device", _socket: "is a socket"}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(SOURCE, tmp_path / "s.zarr")


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_special_file_is_named_by_reading_and_verifying(path: Path, name: str, make: Callable[[Path], None]):
    (path / name).unlink()
    make(path / name)
    with pytest.raises(StoreCorruptError, match=f"{name.rpartition('/')[2]}.*{KINDS[make]}; only regular files"):
        _read_parts(path)
    found = check_store(path)
    assert found.verdict == "damaged"
    assert any(KINDS[make] in fault.text for fault in found.faults)


def test_a_share_names_a_special_file_among_the_samples_that_it_leaves_out(path: Path):
    file = path / "image" / "c.1.0.0.0"
    file.unlink()
    os.mkfifo(file)
    found = check_store(path, choose=lambda _: AttentionStore.open(path).column("height")[:0].astype("int64"))
    assert [(fault.kind, fault.text) for fault in found.faults] == [
        ("damaged", "`image`: c.1.0.0.0 is a FIFO; only regular files are read")
    ]


def test_a_share_names_a_folder_in_the_place_of_a_shard(path: Path):
    file = path / "image" / "c.1.0.0.0"
    file.unlink()
    file.mkdir()
    found = check_store(path, choose=lambda _: AttentionStore.open(path).column("height")[:0].astype("int64"))
    assert [fault.kind for fault in found.faults] == ["missing"]
    assert "c.1.0.0.0 cannot be read (Is a directory)" in found.faults[0].text


def test_a_link_to_a_regular_file_is_read(path: Path):
    """DVC places links to its cache in the place of files."""
    for file in [file for file in path.rglob("*") if file.is_file()]:
        cached = path.parent / "-".join(file.relative_to(path).parts)
        file.rename(cached)
        file.symlink_to(cached)
    assert check_store(path).faults == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_description_that_cannot_be_read_is_neither_foreign_nor_missing_nor_ours(
    path: Path, number: int, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is known about such a folder, so nothing may replace it. The system's reason is in the message."""

    def failing(file: Path, **_: int) -> bytes:
        raise OSError(number, os.strerror(number), str(file))

    before = sorted(path.rglob("*"))
    monkeypatch.setattr(store.root, "read_limited", failing)
    for use in (AttentionStore.open, is_store, root_bytes):
        with pytest.raises(StoreIncompleteError, match=rf"zarr\.json cannot be read \({os.strerror(number)}\)"):
            use(path)
    with pytest.raises(StoreError, match="cannot be read"), published_folder(path, ours=STORE):
        pass  # pragma: no cover - the block is not entered
    assert check_store(path).verdict == "missing"
    assert sorted(path.rglob("*")) == before


def test_a_special_file_for_a_description_is_neither_foreign_nor_ours(path: Path):
    (path / "zarr.json").unlink()
    os.mkfifo(path / "zarr.json")
    with pytest.raises(StoreCorruptError, match="Remove it if it does not belong there"):
        is_store(path)


def test_a_description_of_any_size_is_not_read(path: Path):
    with (path / "zarr.json").open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(StoreCorruptError, match=r"zarr\.json is larger than 32 MiB"):
        AttentionStore.open(path)


@pytest.mark.parametrize("place", ["nothing", "folder", "file"])
def test_a_path_without_a_description_has_no_bytes(path: Path, place: str):
    (path / "zarr.json").unlink()
    if place == "folder":
        (path / "zarr.json").mkdir()
    if place == "file":
        path = path / "group" / "c.0"
    assert root_bytes(path) == b""
    with pytest.raises(NotAStoreError):
        AttentionStore.open(path)


def test_a_path_that_cannot_be_looked_at_is_said_so(path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(_: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", failing)
    with pytest.raises(StoreIncompleteError, match=r"cannot be looked at .Permission denied"):
        AttentionStore.open(path)


def test_a_file_that_has_more_content_than_the_system_says_is_limited_too():
    """Files under `/proc` have a size of 0."""
    file = Path("/proc/self/status")
    if not file.exists():
        pytest.skip("needs /proc")
    assert file.stat().st_size == 0
    with pytest.raises(IrregularFileError, match="is larger than"):
        read_limited(file, limit=100)

"""Only regular files of a limited size are read, and nothing waits for another process."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from pathlib import Path

import pytest

from store.disk.regular import (
    MIB,
    IrregularFileError,
    disk_fails,
    hash_regular,
    open_regular,
    present,
    read_limited,
    require_regular,
)


def test_a_file_up_to_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_limited(file, limit=10) == b"x" * 10


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as opened:
        opened.truncate(3 * MIB)
    with pytest.raises(IrregularFileError, match="is larger than 2 MiB"):
        read_limited(file, limit=2 * MIB)


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1])
def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert hash_regular(tmp_path / "file") == hashlib.sha256(b"x" * size).hexdigest()


reads = pytest.mark.parametrize(
    "reading", [open_regular, require_regular, hash_regular, lambda path: read_limited(path, limit=MIB)]
)


@reads
def test_a_fifo_is_refused_without_waiting(tmp_path: Path, reading) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(IrregularFileError, match="a FIFO"):
        reading(tmp_path / "fifo")


@reads
def test_a_link_to_a_device_is_refused(tmp_path: Path, reading) -> None:
    (tmp_path / "zeros").symlink_to("/dev/zero")
    with pytest.raises(IrregularFileError, match="a character device"):
        reading(tmp_path / "zeros")


@reads
def test_a_socket_is_refused(tmp_path: Path, reading, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        with pytest.raises(IrregularFileError, match="a socket"):
            reading(Path("socket"))


@reads
def test_a_folder_is_refused(tmp_path: Path, reading) -> None:
    with pytest.raises(IsADirectoryError):
        reading(tmp_path)


@reads
def test_a_missing_file_is_named(tmp_path: Path, reading) -> None:
    with pytest.raises(FileNotFoundError):
        reading(tmp_path / "missing")


def test_a_file_exchanged_for_a_fifo_after_the_look_is_refused(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr("store.disk.regular.require_regular", lambda _: None)
    with pytest.raises(IrregularFileError, match="a FIFO"):
        open_regular(tmp_path / "fifo")


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_limited(tmp_path / "link", limit=MIB) == b"content"


def test_whatever_is_at_a_path_is_present(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").touch()
    assert all(present(tmp_path / name) for name in ("fifo", "link", "file"))
    assert not present(tmp_path / "missing")
    assert not present(tmp_path / "file" / "below")


def test_a_failing_disk_is_not_an_absent_file(tmp_path: Path, monkeypatch) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "lstat", fail)
    with pytest.raises(OSError, match="Input/output"):
        present(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux, for a file whose reading fails")
@pytest.mark.parametrize("reading", [lambda file: file.read(), lambda file: file.read(4), lambda file: file.readline()])
def test_errors_of_reading_name_the_file(tmp_path: Path, reading) -> None:
    (tmp_path / "file").symlink_to("/proc/self/mem")
    with open_regular(tmp_path / "file") as file, pytest.raises(OSError, match="Input/output error") as caught:
        reading(file)
    assert caught.value.filename == str(tmp_path / "file")
    assert disk_fails(caught.value)

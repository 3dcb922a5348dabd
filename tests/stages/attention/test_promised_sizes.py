"""Weights files that promise more than they hold, and what is no file: refused before memory is allocated."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.attention.card import read_card
from stages.attention.safetensors_header import LONGEST_HEADER
from stages.attention.weight_files import read_tensors
from stages.attention.zip_directory import MOST_ENTRIES, zip_problem
from stages.errors import WeightsError
from tests.stages.attention.hostile_weights import header_only, rezipped, save_pickle


def _refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def _bomb(path: Path) -> None:
    save_pickle(path, {"cls_token": torch.zeros(1_000_000)})
    rezipped(path, {}, compression=zipfile.ZIP_DEFLATED)


def _many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(MOST_ENTRIES + 1):
            archive.writestr(f"{number}", b"")


def _overlapping(path: Path) -> None:
    """Let every entry of the directory point to the same bytes."""
    save_pickle(path, {"cls_token": torch.zeros(100_000)})
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start, entries = archive.start_dir, len(archive.namelist())
    directory = content[start : content.rindex(b"PK\6\6")] if b"PK\6\6" in content else content[start:-22]
    copies = 40
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, copies * entries, copies * entries, len(directory) * copies, start, 0
    )
    path.write_bytes(content[:start] + directory * copies + end)


def _promised(entries: int, length: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        save_pickle(path, {"cls_token": torch.zeros(4)})
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, min(entries, 65535), min(entries, 65535), length, 0, 0)
        path.write_bytes(path.read_bytes() + end)

    return make


def _zip_64(entries: int, place: int) -> Callable[[Path], None]:
    """Return a function that ends a file with a directory of the 64-bit form."""

    def make(path: Path) -> None:
        content = b"PK\3\4" + bytes(100)
        end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, 2**40, 0)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(content) if place < 0 else place, 1)
        last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
        path.write_bytes(content + end + locator + last)

    return make


def _long_pickle(path: Path) -> None:
    save_pickle(path, {"cls_token": torch.zeros(4)})
    rezipped(path, {"data.pkl": bytes(17 * 2**20)})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_bomb, "does not compress", id="compressed"),
        pytest.param(_many_entries, "entries", id="many_entries"),
        pytest.param(_overlapping, "unpacks to", id="overlapping_entries"),
        pytest.param(_promised(60000, 2**31), "promises", id="promised_entries"),
        pytest.param(_promised(3, 2**31), "promises", id="promised_directory"),
        pytest.param(_zip_64(2**60, -1), "promises", id="promised_entries_64"),
        pytest.param(_zip_64(3, 2**62), "cut short", id="directory_outside"),
        pytest.param(_long_pickle, "list of tensors", id="long_pickle"),
    ],
)
def test_a_zip_directory_that_promises_too_much_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str):
    """Nothing is unpacked: the memory that is taken stays far below what was promised."""
    path = tmp_path / "w.pth"
    make(path)
    tracemalloc.start()
    try:
        message = _refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert words in message


def test_what_torch_saves_has_a_sound_directory(tmp_path: Path):
    """Also with many tensors, with one that others share, and with an empty one."""
    shared = torch.zeros(1000)
    save_pickle(
        tmp_path / "w.pth",
        {"a": shared, "b": shared[5:], "c": torch.zeros(0)} | dict.fromkeys(map(str, range(99)), shared),
    )
    assert zip_problem(tmp_path / "w.pth") is None


@pytest.mark.parametrize("claimed", [2**60, 2**63, 2**64 - 1, 100_000_000, LONGEST_HEADER + 1])
def test_a_header_that_promises_too_much_is_not_read(tmp_path: Path, claimed: int):
    """The promise is compared with the file and with a limit before memory is allocated, for a card and for tensors."""
    path = tmp_path / "w.safetensors"
    header_only(path, {"a": {}}, claimed=claimed)
    os.truncate(path, min(claimed, 120_000_000) + 8)  # a sparse file: it is as long as it says where that is possible
    tracemalloc.start()
    try:
        assert read_card(path) is None
        _refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
        {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]},
        {"dtype": 32, "shape": [4], "data_offsets": [0, 16]},
        {"shape": [4], "data_offsets": [0, 16]},
        [1],
        "F32",
        None,
    ],
    ids=str,
)
def test_a_header_with_impossible_tensors_is_refused(tmp_path: Path, entry: Any):
    header_only(tmp_path / "w.safetensors", {"cls_token": entry}, body=bytes(16))
    _refusal(tmp_path / "w.safetensors")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_fifo, "is a FIFO", id="fifo"),
        pytest.param(_zeros, "is a character device", id="zeros"),
        pytest.param(_socket, "is a socket", id="socket"),
    ],
)
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], words: str, name: str
):
    """Nothing writes into the FIFO; a reader that opened it would wait for ever."""
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = Path(name)
    make(path)
    for read in (read_tensors, read_card):
        with pytest.raises(WeightsError, match=words):
            read(path)

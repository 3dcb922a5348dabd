"""Test the count of the cache's bytes: it saves listing the files, and a wrong count is corrected."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from store.disk.locks import is_locked, lock_file
from store.remote import room as module
from store.remote.room import ABANDONED, RECOUNT, Room

STORE = "b" * 64


def _file(cache: Path, name: str, size: int, age: float = 0) -> Path:
    file = cache / STORE / "image" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (time.time() - age,) * 2)
    return file


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that gets one entry for each time the files are listed."""
    found: list[Path] = []
    listed = module._files
    monkeypatch.setattr(module, "_files", lambda cache: (found.append(cache), listed(cache))[1])
    return found


def test_files_are_listed_once_while_there_is_room(tmp_path: Path, listings: list[Path]) -> None:
    room = Room(tmp_path)
    for number in range(5):
        room.make(1000, 100)
        _file(tmp_path, f"c.{number}", 100)
    assert len(listings) == 1
    assert (tmp_path / ".bytes").read_bytes() == b"500"


def test_a_full_cache_is_not_listed_for_each_file(tmp_path: Path, listings: list[Path]) -> None:
    """Some room is made in advance. The newest files stay, and the size is never exceeded."""
    room = Room(tmp_path)
    for number in range(400):
        room.make(1000, 10)
        _file(tmp_path, f"c.{number}", 10, age=400 - number)
        assert sum(file.stat().st_size for file in tmp_path.glob("*/image/c.*")) <= 1000
    assert len(listings) < 100
    assert (tmp_path / STORE / "image" / "c.399").exists()
    assert not (tmp_path / STORE / "image" / "c.0").exists()


@pytest.mark.parametrize("count", [b"", b"much", b"-5", b"9" * 40])
def test_a_count_that_cannot_be_read_is_made_anew(tmp_path: Path, count: bytes) -> None:
    room = Room(tmp_path)
    room.make(1000, 1)
    old = _file(tmp_path, "c.0", 900)
    (tmp_path / ".bytes").write_bytes(count)
    room.make(1000, 200)
    assert not old.exists()
    assert (tmp_path / ".bytes").read_bytes() == b"200"


def test_a_count_that_is_too_high_removes_nothing(tmp_path: Path) -> None:
    """A download that failed was counted."""
    room = Room(tmp_path)
    room.make(1000, 1)
    file = _file(tmp_path, "c.0", 100)
    (tmp_path / ".bytes").write_bytes(b"100000")
    room.make(1000, 200)
    assert file.exists()
    assert (tmp_path / ".bytes").read_bytes() == b"300"


@pytest.mark.parametrize("way", ["new process", "time"])
def test_a_count_that_is_too_low_is_corrected(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody copied files into the cache."""
    room = Room(tmp_path)
    room.make(1000, 1)
    old = _file(tmp_path, "c.0", 900)
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + (RECOUNT + 1 if way == "time" else 0))
    (room if way == "time" else Room(tmp_path)).make(1000, 200)
    assert not old.exists()


def _add(folder: Path, name: str, count: int) -> None:
    room = Room(folder)
    for number in range(count):
        room.make(10**6, 10)
        _file(folder, f"c.{name}-{number}", 10)


def test_several_processes_count_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(tmp_path, name, 40)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    counted = int((tmp_path / ".bytes").read_bytes())
    assert 780 <= counted <= 800  # each process lists once, and may miss the file that the other one has yet to write


def test_a_partial_file_in_use_stays_whatever_the_clock_of_its_disk_says(tmp_path: Path) -> None:
    used = _file(tmp_path, ".c.1.partial", 100, age=ABANDONED + 100)
    left = _file(tmp_path, ".c.2.partial", 100, age=ABANDONED + 100)
    with lock_file(used):
        assert (is_locked(used), is_locked(left), is_locked(tmp_path / "nothing")) == (True, False, False)
        Room(tmp_path).make(0, 100)
        assert (used.exists(), left.exists()) == (True, False)


def test_a_disk_without_locks_has_no_locked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    file = _file(tmp_path, "x", 1)
    monkeypatch.setattr("store.disk.locks.fcntl.flock", refuse)
    assert not is_locked(file)
    monkeypatch.setattr("store.disk.locks.sys.platform", "win32")
    assert not is_locked(file)


def test_a_note_without_its_partial_file_is_removed_and_others_stay(tmp_path: Path) -> None:
    """A killed process of an earlier version left one. The other belongs to a download that goes on."""
    left = _file(tmp_path, ".c.1.begun", 10)
    used, note = _file(tmp_path, ".c.2.partial", 100), _file(tmp_path, ".c.2.begun", 10, age=ABANDONED + 100)
    Room(tmp_path).make(0, 100)
    assert (left.exists(), used.exists(), note.exists()) == (False, True, True)


def test_the_note_of_an_abandoned_partial_file_goes_with_it(tmp_path: Path) -> None:
    for name in (".c.1.partial", ".c.1.begun"):
        _file(tmp_path, name, 10, age=ABANDONED + 100)
    Room(tmp_path).make(0, 100)
    assert not list(tmp_path.glob("**/*c.1*"))


def test_a_note_that_cannot_be_removed_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = _file(tmp_path, ".c.1.begun", 10)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    Room(tmp_path).make(1000, 100)
    assert note.exists()

"""A merge that is killed, stopped or fails changes neither the parts nor the older store at its path."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from stages import extract, merge
from stages.errors import PipelineError
from tests.conftest import extract_settings
from tests.faults.test_signals import AT_FILE

SMALL_SHARDS = f"import store.writer\nstore.writer.MAX_SAMPLES_PER_SHARD = 2\n{AT_FILE}"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def room(phantoms: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two parts of four full shards each, the store of one extraction, and an older store."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    monkeypatch.setattr("stages.extraction.parts.FEWEST_SHARDS", 2)
    for number in (1, 2):
        extract.run(extract_settings(phantoms, tmp_path / f"{number}.zarr", memo, shard=f"{number}/2"))
    extract.run(extract_settings(phantoms, tmp_path / "one.zarr", memo))
    extract.run(extract_settings(phantoms, tmp_path / "whole.zarr", memo, layers=(-2,)))
    return tmp_path


MOMENTS = [("os.link", 1), ("os.link", 8), ("open", 3), ("open", 30), ("os.remove", 1)]
"""File operations on the new store, or on the older one when it is replaced, and which of them."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("event", "count"), MOMENTS)
def test_after_a_signal_the_same_command_makes_the_store(
    forks, room: Path, event: str, count: int, number: signal.Signals
):
    """The store at the path is the older one or the new one, and complete. The second run leaves nothing else."""
    before = {name: _bytes(room / name) for name in ("1.zarr", "2.zarr", "one.zarr", "whole.zarr")}
    command = [room, "merge", "1.zarr", "2.zarr", "--store", "whole.zarr"]
    stopped = forks.run(SMALL_SHARDS, int(number), event, "whole.zarr.partial-", count, *command)
    assert stopped.returncode in (-number, 128 + number), stopped.stderr
    assert _bytes(room / "whole.zarr") in (before["whole.zarr"], before["one.zarr"])
    assert {name: _bytes(room / name) for name in ("1.zarr", "2.zarr")} == {
        one: before[one] for one in ("1.zarr", "2.zarr")
    }
    again = forks.run(SMALL_SHARDS, 0, "none", "-", 1, *command)
    assert again.returncode == 0, again.stderr
    assert _bytes(room / "whole.zarr") == before["one.zarr"]
    assert {file.name for file in room.iterdir()} == before.keys()


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_full_disk_leaves_the_older_store(room: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    """Securing a file fails: an error. Making a link fails: bytes are copied."""
    before = _bytes(room / "whole.zarr")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    parts = [room / "1.zarr", room / "2.zarr"]
    if call == "link":
        merge.run(parts, room / "whole.zarr")
        assert _bytes(room / "whole.zarr") == _bytes(room / "one.zarr")
        return
    with pytest.raises(PipelineError, match="cannot be written"):
        merge.run(parts, room / "whole.zarr")
    assert _bytes(room / "whole.zarr") == before
    assert {file.name for file in room.iterdir()} == {"1.zarr", "2.zarr", "one.zarr", "whole.zarr"}


def test_a_part_may_be_removed_or_replaced_after_the_merge(phantoms: Path, memo: Path, room: Path):
    """The files that both share stay in the whole store."""
    merge.run([room / "1.zarr", room / "2.zarr"], room / "whole.zarr")
    extract.run(extract_settings(phantoms, room / "1.zarr", memo, shard="1/2", layers=(-2,)))
    shutil.rmtree(room / "2.zarr")
    assert _bytes(room / "whole.zarr") == _bytes(room / "one.zarr")

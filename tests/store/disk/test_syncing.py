"""Files are secured on the disk one by one or by threads; an error names its file and reaches the caller."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from store.disk import syncing as module
from store.disk.syncing import Syncing, syncing

WAYS: dict[str, Callable[[], AbstractContextManager[Syncing]]] = {
    "one by one": lambda: nullcontext(Syncing()),
    "threads": syncing,
}


class Full(io.BytesIO):
    """A file on a full disk."""

    def write(self, _content: Any, /) -> int:
        """Fail as the system does."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Fail once more, as a buffer does that cannot be emptied."""
        super().close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Syncing]]:
    """Return how files are secured."""
    return WAYS[request.param]


def test_all_files_are_secured_before_waiting_ends(
    way: Callable[[], AbstractContextManager[Syncing]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also when there are more than may wait."""
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    secured: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: secured.append(os.fstat(descriptor).st_size))
    with way() as files:
        for number in range(9):
            files.write(tmp_path / str(number), bytes(number))
        files.wait()
        assert sorted(secured) == list(range(9))
    assert [(tmp_path / str(number)).stat().st_size for number in range(9)] == list(range(9))


def test_a_file_that_cannot_be_secured_is_named(
    way: Callable[[], AbstractContextManager[Syncing]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match="one") as caught, way() as files:  # noqa: PT012 - either call may raise it
        files.write(tmp_path / "one", b"content")
        files.wait()
    assert caught.value.errno == errno.EIO


def test_a_file_that_cannot_be_written_is_named(
    way: Callable[[], AbstractContextManager[Syncing]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Path, "open", lambda *_: Full())
    with pytest.raises(OSError, match=r"No space left on device: .*one"), way() as files:
        files.write(tmp_path / "one", b"content")

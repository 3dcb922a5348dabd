"""A lock names its holder, leaves nothing behind, and is taken over from a process that was killed."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from store.disk.locks import LONGEST_OWNER, UNKNOWN_OWNER, _owner, exclusive_lock, lock_file
from store.disk.publish import published_folder
from store.errors import PipelineError
from store.root import STORE

if sys.platform != "win32":
    import fcntl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock; work goes on without locks")


def test_the_refusal_names_the_output_the_work_and_the_process(tmp_path: Path):
    with exclusive_lock(tmp_path / "out", "training") as held:
        assert held is True
        with pytest.raises(PipelineError) as caught, exclusive_lock(tmp_path / "out", "writing"):
            pytest.fail("two blocks held the lock")
    owner = f"process {os.getpid()} on {socket.gethostname()}"
    assert str(caught.value).startswith(f"{tmp_path / 'out'}: another process is writing here ({owner}).\n")


def test_the_lock_is_released_and_its_file_removed_also_after_a_failure(tmp_path: Path):
    def fail() -> None:
        with exclusive_lock(tmp_path / "out", "training"):
            assert [entry.name for entry in tmp_path.iterdir()] == [".out.lock"]
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert not list(tmp_path.iterdir())
    with exclusive_lock(tmp_path / "out", "training") as held:
        assert held


def test_the_file_of_a_killed_process_is_taken_over_and_signed_anew(tmp_path: Path):
    """Nothing of a longer name stays, and every user may take the file over in turn."""
    file = tmp_path / ".out.lock"
    file.write_text("process 1 on a machine with a long name " * 20)
    file.chmod(0o600)
    with exclusive_lock(tmp_path / "out", "training"):
        assert file.read_text() == f"process {os.getpid()} on {socket.gethostname()}"
        assert stat.S_IMODE(file.stat().st_mode) == 0o666


@pytest.mark.parametrize(
    ("content", "owner"),
    [
        (b"", "process unknown"),
        (b" \n", "process unknown"),
        (b"process 7\n  on host", "process 7 on host"),
        (b"x" * 1000, "x" * LONGEST_OWNER),
    ],
)
def test_a_lock_file_of_any_content_gives_one_short_line(tmp_path: Path, content: bytes, owner: str):
    with exclusive_lock(tmp_path / "out", "training"):
        (tmp_path / ".out.lock").write_bytes(content)
        with pytest.raises(PipelineError) as caught, exclusive_lock(tmp_path / "out", "training"):
            pytest.fail("two blocks held the lock")
    assert f"({owner})" in str(caught.value).splitlines()[0]


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path: Path):
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / ".out.lock").symlink_to(tmp_path / "thesis")
    with pytest.raises(OSError, match=r"out\.lock"), exclusive_lock(tmp_path / "out", "training"):
        pytest.fail("the lock was taken on another file")
    assert (tmp_path / "thesis").read_text() == "mine"


def test_a_locked_file_may_be_renamed_and_the_lock_is_released(tmp_path: Path):
    for name in ("one", "two"):
        with lock_file(tmp_path / "partial"):
            assert stat.S_IMODE((tmp_path / "partial").stat().st_mode) == 0o600
            (tmp_path / "partial").rename(tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["one", "two"]


def test_the_lock_on_a_file_is_released_at_the_end(tmp_path: Path):
    import fcntl

    with (tmp_path / "partial").open("w") as other:
        with lock_file(tmp_path / "partial"), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_without_locks_on_the_disk_the_work_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unsupported(_descriptor: int, _operation: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with exclusive_lock(tmp_path / "out", "training") as held:
        assert held is False


def _no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_is_used_without_a_lock_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    with lock_file(tmp_path / "a"):
        assert (tmp_path / "a").exists()
    with published_folder(tmp_path / "f", ours=STORE) as folder:
        (folder / "x").write_text("new")
    assert (tmp_path / "f" / "x").read_text() == "new"


def test_a_lock_file_that_was_removed_before_it_was_locked_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The process that held it removes its file at the end. A lock on a removed file would lock nothing."""
    file, original, removed = tmp_path / ".f.lock", fcntl.flock, []

    def removing(descriptor: int, operation: int) -> None:
        original(descriptor, operation)
        if not removed:
            removed.append(descriptor)
            file.unlink()

    monkeypatch.setattr(fcntl, "flock", removing)
    with exclusive_lock(tmp_path / "f", "working"):
        assert len(removed) == 1
        assert file.exists()


@pytest.mark.parametrize("make", [lambda _: None, os.mkfifo, Path.mkdir])
def test_the_owner_of_an_unreadable_lock_file_is_unknown(tmp_path: Path, make):
    """A FIFO would let the reader wait for ever."""
    make(tmp_path / ".f.lock")
    assert _owner(tmp_path / ".f.lock") == UNKNOWN_OWNER


def test_a_lock_file_that_cannot_be_removed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The output is complete by then, and a lock file without its process locks nothing."""

    def failing(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing)
        with exclusive_lock(tmp_path / "out", "training"):
            pass
    with exclusive_lock(tmp_path / "out", "training") as held:
        assert held


def test_a_failing_disk_is_not_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two processes would both write. The error names the lock file."""

    def failing(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", failing)
    with pytest.raises(OSError, match="Input/output error") as caught, exclusive_lock(tmp_path / "out", "training"):
        pytest.fail("the block ran without a lock")
    assert caught.value.filename == str(tmp_path / ".out.lock")


def test_a_file_that_the_block_has_renamed_leaves_its_name_to_the_next_process(tmp_path: Path):
    """A file at the old name then belongs to that process. Without it, two processes could write to one file."""
    with lock_file(tmp_path / "partial") as remove:
        (tmp_path / "partial").rename(tmp_path / "done")
        assert not remove()
        (tmp_path / "partial").write_text("of the next process")
        assert not remove()
    assert (tmp_path / "partial").read_text() == "of the next process"


def test_a_file_that_was_not_renamed_is_removed(tmp_path: Path):
    with lock_file(tmp_path / "partial") as remove:
        assert remove()
    assert not list(tmp_path.iterdir())

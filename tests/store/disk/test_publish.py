"""A folder or a file appears complete or not at all, and replaces only output of this program."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from store.disk import publish
from store.disk.contents import Contents, Output
from store.disk.publish import (
    DISK_FAILURES,
    exclusive_folder,
    explain_disk_failures,
    published_folder,
    remove_partial_files,
    replace_file,
    replace_folder,
    restore_replaced,
)
from store.errors import PipelineError, UsageError

CONTENTS = Contents(files="mark", folders={"inner": Contents(files="file")})
OURS = Output(kind="a test", is_marked=lambda folder: (folder / "mark").exists(), contents=lambda _: CONTENTS)


def _publish(path: Path, text: str) -> None:
    with published_folder(path, ours=OURS) as folder:
        (folder / "mark").write_text(text)


@pytest.mark.parametrize("exchange", [True, False], ids=["in_one_step", "by_two_renames"])
def test_a_folder_replaces_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange):
    """With and without an atomic exchange by the system, the new content is there and no temporary is left."""
    if not exchange:
        monkeypatch.setattr("store.disk.publish._exchanged", lambda _new, _path: False)
    _publish(tmp_path / "out", "one")
    _publish(tmp_path / "out", "two")
    assert (tmp_path / "out" / "mark").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_failing_to_move_the_new_folder_in_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without an atomic exchange the old folder is moved aside first. If the next step fails, it is moved back."""
    _publish(tmp_path / "out", "one")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if ".partial-" in path.name and not path.name.endswith("-replaced"):
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr("store.disk.publish._exchanged", lambda _new, _path: False)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no space left"):
        _publish(tmp_path / "out", "two")
    assert (tmp_path / "out" / "mark").read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("exchange", [True, False], ids=["in_one_step", "by_two_renames"])
def test_a_replacement_that_the_disk_does_not_confirm_is_undone(tmp_path, monkeypatch, exchange, older):
    """The command fails, so the older folder must be at its path, and no other one if there was none."""
    if not exchange:
        monkeypatch.setattr("store.disk.publish._exchanged", lambda _new, _path: False)
    if older:
        _publish(tmp_path / "out", "one")
    sync = publish._sync

    def failing(folder: Path) -> None:
        if folder == tmp_path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))
        sync(folder)

    monkeypatch.setattr("store.disk.publish._sync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        _publish(tmp_path / "out", "two")
    assert [entry.name for entry in tmp_path.iterdir()] == (["out"] if older else [])
    assert not older or (tmp_path / "out" / "mark").read_text() == "one"


def test_tidying_up_cannot_fail_a_finished_command(tmp_path: Path):
    """The new folder is in place when the description of the older one, which is to be removed, cannot be read."""

    def contents(folder: Path) -> Contents:
        if ".partial-" in folder.name:
            raise PipelineError("cannot be read")
        return CONTENTS

    with published_folder(tmp_path / "out", ours=replace(OURS, contents=contents)) as folder:
        (folder / "mark").write_text("one")
    assert (tmp_path / "out" / "mark").read_text() == "one"


def test_an_error_of_writing_names_the_file(tmp_path, monkeypatch):
    """The system's error about a descriptor names no file."""

    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        replace_file(tmp_path / "file", b"content")
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(OSError, match="Input/output error") as caught:
        publish.write_synced(tmp_path / "other", b"content")
    assert caught.value.filename == str(tmp_path / "other")


def test_a_foreign_folder_and_a_file_are_refused(tmp_path: Path):
    """They are refused before anything is written, and stay unchanged."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="did not write"):
        _publish(tmp_path / "folder", "one")
    with pytest.raises(UsageError, match="is a file"):
        _publish(tmp_path / "file", "one")
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file", "folder", "thesis"]


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A failure half-way leaves the old content and no temporary."""
    replace_file(tmp_path / "model", b"one")

    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space left"):
            replace_file(tmp_path / "model", b"two")
    assert (tmp_path / "model").read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path):
    """The folder that the link points to is replaced, so a store on another disk stays there."""
    (tmp_path / "disk").mkdir()
    _publish(tmp_path / "disk" / "out", "one")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    _publish(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "out" / "mark").read_text() == "two"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["disk", "link"]


def test_published_output_has_the_permissions_of_the_umask(tmp_path: Path):
    """It is private while it is written, and others may read it afterwards. The umask itself is left unchanged."""
    before = os.umask(0o022)
    try:
        with published_folder(tmp_path / "out", ours=OURS) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "mark").touch()
        replace_file(tmp_path / "file", b"one")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("code", sorted(DISK_FAILURES))
def test_a_disk_that_cannot_be_written_to_is_an_error_with_a_remedy(tmp_path: Path, code: int):
    message = r"out: cannot be written .*\n  Free some space"
    with pytest.raises(PipelineError, match=message), explain_disk_failures(tmp_path / "out"):
        raise OSError(code, os.strerror(code))


def test_another_error_of_the_system_stays_what_it_is(tmp_path: Path):
    with pytest.raises(PermissionError), explain_disk_failures(tmp_path / "out"):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def test_an_interrupted_replacement_is_undone(tmp_path: Path):
    """The previous folder comes back if nothing replaced it, and is removed otherwise."""
    moved = tmp_path / ".out.partial-replaced"
    restore_replaced(tmp_path / "out", OURS)
    assert not list(tmp_path.iterdir())
    moved.mkdir()
    (moved / "mark").write_text("old")
    restore_replaced(tmp_path / "out", OURS)
    assert (tmp_path / "out" / "mark").read_text() == "old"
    moved.mkdir()
    restore_replaced(tmp_path / "out", OURS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "mark").read_text() == "old"


def test_temporary_folders_of_killed_processes_are_removed_and_no_others(tmp_path: Path):
    """Brackets in a name are no pattern, and write protection does not stop the removal."""
    for name in (".o[ut].partial-1", ".o[ut].partial-2", ".ou.partial-3"):
        (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / ".o[ut].partial-1" / "inner" / "file").touch()
    (tmp_path / ".o[ut].partial-1" / "inner").chmod(0o500)
    _publish(tmp_path / "o[ut]", "one")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".ou.partial-3", "o[ut]"]


def test_a_failed_block_leaves_nothing(tmp_path: Path):
    """The parent folder is made if it is missing; only that stays."""
    with pytest.raises(ValueError, match="broken"), published_folder(tmp_path / "a" / "b" / "out", ours=OURS):
        raise ValueError("broken")
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a", "b"]


def test_a_folder_that_became_foreign_in_the_meantime_is_not_replaced(tmp_path: Path):
    def publish() -> None:
        with published_folder(tmp_path / "out", ours=OURS):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "thesis").write_text("mine")

    with pytest.raises(UsageError, match="did not write"):
        publish()
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["out", "thesis"]


def test_an_empty_folder_may_be_replaced(tmp_path: Path):
    (tmp_path / "out").mkdir()
    _publish(tmp_path / "out", "one")
    assert (tmp_path / "out" / "mark").read_text() == "one"


def test_a_folder_moves_to_its_place_and_the_previous_one_is_removed(tmp_path: Path):
    for text in ("one", "two"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "mark").write_text(text)
        replace_folder(tmp_path / "new", tmp_path / "out", ours=OURS)
        assert (tmp_path / "out" / "mark").read_text() == text
        assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_only_temporary_files_are_removed(tmp_path: Path):
    """A temporary file of a file that this program does not write belongs to somebody else."""
    for name in (".mark.partial", "mark.partial", ".mark", "mark", ".mine.partial"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path, CONTENTS)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".mark", ".mine.partial", "mark", "mark.partial"]


@pytest.mark.parametrize("name", [".out.partial-1", ".out.partial-replaced"])
def test_a_file_of_the_user_in_a_temporary_folder_is_never_removed(tmp_path: Path, name: str):
    """The next process refuses to begin, and its message names the file. Nothing else in the folder is removed."""
    _publish(tmp_path / "out", "one")
    (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / name / "inner" / "file").touch()
    (tmp_path / name / "inner" / "thesis").touch()
    with pytest.raises(UsageError, match=r"\.out\.partial-.* holds inner/thesis, .*did not write"):
        _publish(tmp_path / "out", "two")
    assert (tmp_path / name / "inner" / "file").exists()
    assert (tmp_path / name / "inner" / "thesis").exists()
    assert (tmp_path / "out" / "mark").read_text() == "one"


@pytest.mark.parametrize("exchange", [True, False], ids=["in_one_step", "by_two_renames"])
def test_a_file_that_comes_in_the_very_last_moment_is_kept(tmp_path: Path, monkeypatch, exchange):
    """After the last check only what the program wrote is removed from the previous folder."""
    _publish(tmp_path / "out", "one")
    exchanged = publish._exchanged

    def late(new: Path, path: Path) -> bool:
        (path / "thesis").write_text("mine")
        return exchange and exchanged(new, path)

    monkeypatch.setattr("store.disk.publish._exchanged", late)
    _publish(tmp_path / "out", "two")
    assert (tmp_path / "out" / "mark").read_text() == "two"
    assert [kept.read_text() for kept in tmp_path.glob(".out.partial-*/*")] == ["mine"]


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_a_system_without_an_exchange_of_folders_is_no_error(tmp_path: Path, monkeypatch, error: type[Exception]):
    """Only Linux has `renameat2`, and Windows cannot even ask for it."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("ctypes.CDLL", fail)
    _publish(tmp_path / "out", "one")
    _publish(tmp_path / "out", "two")
    assert (tmp_path / "out" / "mark").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_link_to_a_folder_in_a_temporary_folder_is_not_followed(tmp_path: Path):
    """It is somebody else's. The folder behind it keeps its permissions and its files."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    (tmp_path / "mine").chmod(0o555)
    (tmp_path / ".out.partial-1").mkdir()
    (tmp_path / ".out.partial-1" / "inner").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="holds inner, "):
        _publish(tmp_path / "out", "one")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".out.partial-1", "mine"]
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o555
    assert (tmp_path / "mine" / "thesis").exists()


def test_a_locked_folder_is_made_private_and_refuses_a_second_worker(tmp_path: Path):
    """Its parent folders are made too. It stays when the work ends."""
    folder = tmp_path / "runs" / ".run.training"
    with exclusive_folder(folder, "training"):
        assert folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(PipelineError, match="another process is writing here"), exclusive_folder(folder, "writing"):
            pass
    with exclusive_folder(folder, "training"):
        assert list(folder.iterdir()) == []


def test_the_temporary_file_of_the_next_process_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It may come between the renaming of a complete file and the end of the block that wrote it."""
    really = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        moved = really(self, target)
        self.write_text("of the next process")
        return moved

    monkeypatch.setattr(Path, "replace", replaced)
    publish.replace_file(tmp_path / "a", b"complete")
    assert (tmp_path / "a").read_bytes() == b"complete"
    assert (tmp_path / ".a.partial").read_text() == "of the next process"

"""A folder or a file appears complete or not at all, and replaces only output of this program."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.disk.publish import published_folder, replace_file
from store.errors import UsageError


def _ours(folder: Path) -> bool:
    return (folder / "mark").exists()


def _publish(path: Path, text: str) -> None:
    with published_folder(path, ours=_ours) as folder:
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

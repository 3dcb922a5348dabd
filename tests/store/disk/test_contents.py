"""What an output may hold is described entry by entry. Everything else is found at any depth, and never removed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from store.disk.contents import (
    Contents,
    Output,
    foreign_entries,
    is_empty,
    name_some,
    refuse_foreign,
    remove_ours,
)
from store.errors import UsageError

CONTENTS = Contents(
    files="a|b", folders={"one|two": Contents(files=r"c\.[0-9]+"), "names": Contents(accepts=str.isupper)}
)
OURS = Output(kind="a test", is_marked=lambda folder: (folder / "a").exists(), contents=lambda _: CONTENTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an entry of every kind that is ours."""
    folder = tmp_path / "out"
    for name in ("a", "b", "one/c.0", "one/c.12", "names/X"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "two").mkdir()
    return folder


def _foreign(folder: Path) -> list[str]:
    return list(foreign_entries(folder, CONTENTS))


def _add(folder: Path, name: str) -> Path:
    """Make a file, or a folder if the name ends with `/`."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("mine")
    return path


def test_an_output_has_nothing_foreign(folder: Path):
    assert _foreign(folder) == []
    assert OURS(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("c", "A", "a~", "a.bak", "one/a", "one/c.", "one/c.0 (copy)", "one/deep/c.0", "one/c.5/", "empty/", "a/"),
        *("names/x", ".hidden", ".git/config", ".ipynb_checkpoints/a", "two/.mine.partial", "DS_Store"),
        *(".DS_Store/x", "._c", "one/\n"),
    ],
)
def test_every_other_entry_is_foreign(folder: Path, name: str):
    """At any depth: another name, a folder in the place of a file, an empty folder. A foreign folder is named once."""
    if name == "a/":
        (folder / "a").unlink()
        (folder / "b").write_text("")
    _add(folder, name)
    (found,) = _foreign(folder)
    assert name.startswith(found.rstrip("/"))
    assert not OURS(folder)


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "one/Thumbs.db", "two/desktop.ini", "._a", "._one", "one/._c.0", "names/.nfs0123456789abcdef0000"],
)
def test_files_that_the_system_creates_by_itself_are_not_foreign(folder: Path, name: str):
    _add(folder, name)
    assert _foreign(folder) == []


@pytest.mark.parametrize("name", [".a.partial", "one/.c.3.partial", "names/.X.partial"])
def test_temporary_files_of_interrupted_writes_are_ours(folder: Path, name: str):
    _add(folder, name)
    assert _foreign(folder) == []


def test_links_to_files_are_ours_by_name_and_links_to_folders_are_not(folder: Path, tmp_path: Path):
    """DVC links files into its cache, and such a link may lead nowhere until the next `dvc checkout`."""
    (tmp_path / "cached").write_text("mine")
    (folder / "one" / "c.1").symlink_to(tmp_path / "cached")
    (folder / "one" / "c.2").symlink_to(tmp_path / "missing")
    (folder / "one" / "c.3").symlink_to(folder / "one" / "c.3")
    assert _foreign(folder) == []
    (folder / "one" / "link").symlink_to(tmp_path / "cached")
    (folder / "two").rmdir()
    (folder / "two").symlink_to(tmp_path, target_is_directory=True)
    assert _foreign(folder) == ["one/link", "two"]


def test_a_fifo_and_a_socket_are_foreign(folder: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(folder / "one" / "c.7")
    monkeypatch.chdir(folder)  # the path of a socket may have about 100 bytes
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("one/c.8")
        assert _foreign(folder) == ["one/c.7", "one/c.8"]


def test_a_folder_with_files_of_the_system_only_counts_as_empty(tmp_path: Path):
    assert is_empty(tmp_path)
    (tmp_path / ".DS_Store").touch()
    assert is_empty(tmp_path)
    refuse_foreign(tmp_path, OURS)
    (tmp_path / "mine").touch()
    assert not is_empty(tmp_path)


def test_the_message_names_what_is_foreign(folder: Path):
    for name in ("one/mine.txt", "two/notes/", "z"):
        _add(folder, name)
    with pytest.raises(UsageError, match=r"out: holds one/mine\.txt, two/notes/, z, which .*did not write") as refused:
        refuse_foreign(folder, OURS)
    assert "another path" in str(refused.value)


def test_a_folder_without_a_mark_is_refused_although_all_names_are_ours(tmp_path: Path):
    (tmp_path / "b").touch()
    with pytest.raises(UsageError, match="did not write"):
        refuse_foreign(tmp_path, OURS)


def test_many_names_are_counted():
    assert name_some(["a"]) == "a"
    assert name_some(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_removing_keeps_everything_foreign_and_the_folders_around_it(folder: Path, tmp_path: Path):
    """Write protection of a folder does not stop the removal, and links are not followed."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a").write_text("mine")
    _add(folder, "one/mine")
    (folder / "names" / "Y").symlink_to(tmp_path / "target" / "a")
    (folder / "link").symlink_to(tmp_path / "target")
    (folder / "one").chmod(0o500)
    remove_ours(folder, CONTENTS)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["link", "one", "one/mine"]
    assert (tmp_path / "target" / "a").read_text() == "mine"
    remove_ours(folder, Contents(files="link", folders={"one": Contents(files="mine")}))
    assert [path.name for path in folder.iterdir()] == ["link"]


def test_removing_a_whole_output_leaves_nothing(folder: Path):
    remove_ours(folder, CONTENTS, itself=False)
    assert list(folder.iterdir()) == []
    remove_ours(folder, CONTENTS)
    assert not folder.exists()
    remove_ours(folder, CONTENTS)


def test_a_large_output_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every folder is listed once, and no file is opened or asked about: the listing says what is a file."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(500):
            (tmp_path / name / f"c.{number}").touch()
    scanned, scandir = [], os.scandir
    monkeypatch.setattr("os.scandir", lambda path: scanned.append(path) or scandir(path))
    monkeypatch.setattr("os.stat", lambda *_, **__: pytest.fail("a file was looked at"))
    assert _foreign(tmp_path) == []
    assert len(scanned) == 3


def test_a_folder_that_another_process_removes_meanwhile_is_no_fault(tmp_path: Path):
    assert list(foreign_entries(tmp_path / "gone", CONTENTS)) == []

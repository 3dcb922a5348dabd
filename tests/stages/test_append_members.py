"""Adding images to folders whose files changed in other ways than by new names at the end: `extract --append`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages import extract
from stages.errors import InputProblemsError, UsageError
from stages.extraction import additions
from store import AttentionStore
from tests.stages.growing_folders import Folders, let_new_files_count


@pytest.fixture(autouse=True)
def new_files_are_old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count that were written just now, on any file system, so that the record of known files is used."""
    let_new_files_count(monkeypatch)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the ids of the samples whose files are read to compare them."""
    ids: list[str] = []
    original = additions._digests
    monkeypatch.setattr(additions, "_digests", lambda sample: ids.append(sample.id) or original(sample))
    return ids


def ids(store: Path) -> list[str]:
    return [str(one) for one in AttentionStore.open(store).ids]


def move(folders: Folders, old: str, new: str) -> None:
    """Move an image and its mask; names are relative to the two folders."""
    for folder in (folders.images, folders.masks):
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).replace(folder / new)


def copy(folders: Folders, old: str, new: str) -> None:
    """Copy an image and its mask."""
    for folder in (folders.images, folders.masks):
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / old, folder / new)


def test_a_name_between_old_names_and_one_that_begins_like_another(folders: Folders, read: list[str]):
    """Every old image keeps its own files: none is read again, although all places in the sorted lists have moved."""
    folders.add("b", "d")
    extract.run(folders.settings())
    copy(folders, "b.png", "c.png")
    copy(folders, "d.png", "b-1.png")
    copy(folders, "d.png", "a_mask.png")
    extract.run(folders.settings())
    assert ids(folders.store) == ["b", "d", "a_mask", "b-1", "c"]
    assert read == []


def test_moved_masks_and_images_of_other_names_are_not_mixed(folders: Folders):
    """The mask of one image is exchanged with that of another: the names, times and sizes stay, the inodes move."""
    folders.add("a", "b")
    extract.run(folders.settings())
    first, second, spare = (folders.masks / f"{name}.png" for name in "abx")
    first.rename(spare)
    second.rename(first)
    spare.rename(second)
    with pytest.raises(UsageError, match="a, b have another image, mask or group"):
        extract.run(folders.settings())


def _hidden_copy(folders: Folders) -> None:
    copy(folders, "a.png", ".c.png")


def _stray_table(folders: Folders) -> None:
    (folders.images / "notes.csv").write_text("a")
    (folders.masks / "Thumbs.db").write_bytes(b"x")


@pytest.mark.parametrize("change", [_hidden_copy, _stray_table])
def test_files_that_are_no_images_change_nothing(
    folders: Folders, read: list[str], change: Callable[[Folders], object]
):
    folders.add("a", "b")
    extract.run(folders.settings())
    change(folders)
    report = extract.run(folders.settings())
    assert "added to the store: 0 samples; 2 were kept" in str(report)
    assert "not used: " in str(report)
    assert read == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda folders: move(folders, "a.png", "z.png"), UsageError, "a are in the store, and their images are not"),
        (lambda folders: move(folders, "a.png", "sub/z.png"), UsageError, "a are in the store"),
        (lambda folders: (folders.masks / "b.png").rename(folders.masks / "b.jpg"), None, "2 were kept"),
        (lambda folders: copy(folders, "b.png", "p1/a.png"), UsageError, r"another way \(masks\)"),
        (
            lambda folders: shutil.copyfile(folders.images / "b.png", folders.images / "a.bmp"),
            UsageError,
            "a are in the store",
        ),
    ],
    ids=["renamed", "moved_and_renamed", "mask_with_another_extension", "same_name_in_a_folder", "same_stem"],
)
def test_what_a_new_whole_extraction_would_call_otherwise_is_refused(
    folders: Folders, change: Callable[[Folders], object], error: type[Exception] | None, message: str
):
    """The store stays. A mask under another name that fits, with the same bytes, is the same mask."""
    folders.add("a", "b")
    extract.run(folders.settings())
    before = folders.files()
    change(folders)
    if error is None:
        assert message in str(extract.run(folders.settings()))
    else:
        with pytest.raises(error, match=message):
            extract.run(folders.settings())
    assert folders.files() == before


def test_a_new_image_in_a_folder_below_is_added(folders: Folders, read: list[str]):
    folders.add("a", "b")
    extract.run(folders.settings())
    copy(folders, "a.png", "one/two/c.png")
    extract.run(folders.settings())
    extract.run(folders.settings())
    assert ids(folders.store) == ["a", "b", "c"]
    assert read == []


def test_names_that_are_not_utf_8_are_problems(folders: Folders):
    folders.add("a")
    extract.run(folders.settings())
    odd = Path(os.fsdecode(os.fsencode(folders.images) + b"/b\xff.png"))
    try:
        shutil.copyfile(folders.images / "a.png", odd)
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(InputProblemsError, match="not valid UTF-8"):
        extract.run(folders.settings())
    folders.change(on_error="skip")
    assert extract.run(folders.settings()).samples == 1


def test_decomposed_names_are_the_same_images(folders: Folders, read: list[str]):
    """MacOS writes `é` as two characters. The file is found by its own name, and its sample has the composed id."""
    folders.add("a")
    copy(folders, "a.png", "caf\u0065\u0301.png")
    extract.run(folders.settings())
    extract.run(folders.settings())
    assert ids(folders.store) == ["a", "caf\u00e9"]
    assert read == []


def test_names_that_differ_in_case_are_two_images(folders: Folders, read: list[str]):
    folders.add("a", "b")
    extract.run(folders.settings())
    copy(folders, "b.png", "A.png")
    if len(list(folders.images.iterdir())) == 2:
        pytest.skip("this file system does not distinguish case")
    extract.run(folders.settings())
    assert ids(folders.store) == ["a", "b", "A"]
    whole = replace(folders.settings(), store=folders.store.with_name("whole.zarr"))
    extract.run(whole)
    assert ids(whole.store) == ["A", "a", "b"]
    assert read == []


@pytest.mark.parametrize("which", ["images", "masks"])
@pytest.mark.parametrize("same", [True, False])
def test_a_link_that_points_elsewhere_than_before(folders: Folders, read: list[str], which: str, *, same: bool):
    """Another file is read. With the same bytes the sample is kept."""
    folders.add("a", "b", "c")
    folder = getattr(folders, which)
    real = folder.parent / "real"
    real.mkdir()
    (folder / "a.png").replace(real / "1.png")
    shutil.copyfile(real / "1.png" if same else folder / "b.png", real / "2.png")
    (folder / "a.png").symlink_to(real / "1.png")
    extract.run(folders.settings())
    extract.run(folders.settings())
    assert read == []
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(real / "2.png")
    if same:
        assert "3 were kept" in str(extract.run(folders.settings()))
    else:
        with pytest.raises(UsageError, match="a have another image, mask or group"):
            extract.run(folders.settings())
    assert read == ["a"]


def test_a_folder_that_is_a_link_to_another_folder_than_before(folders: Folders, read: list[str]):
    """All files are others, of the same names."""
    folders.add("a", "b")
    real = folders.images.with_name("real")
    folders.images.rename(real)
    folders.images.symlink_to(real)
    extract.run(folders.settings())
    shutil.copytree(real, real.with_name("other"))
    shutil.copyfile(real / "a.png", real.with_name("other") / "b.png")
    folders.images.unlink()
    folders.images.symlink_to(real.with_name("other"))
    with pytest.raises(UsageError, match="b have another image, mask or group"):
        extract.run(folders.settings())
    assert sorted(read) == ["a", "b"]


def test_relative_folders_name_the_same_files(folders: Folders, read: list[str], monkeypatch: pytest.MonkeyPatch):
    folders.add("a", "b")
    extract.run(folders.settings())
    monkeypatch.chdir(folders.images)
    folders.add("c")
    folders.change(images=Path(), masks=Path("../images/../masks"))
    extract.run(folders.settings())
    assert ids(folders.store) == ["a", "b", "c"]
    assert read == []

"""Files that were read once are not read again, and no changed file is taken as unchanged."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages import extract
from stages.errors import UsageError
from stages.extraction import additions, known_files
from stages.extraction.known_files import KnownFiles, NewMarks, States, mark_of, record_of
from stages.imaging.samples import LabelFile, SourceSample
from stages.runtime import file_systems
from tests.stages.growing_folders import Folders, let_new_files_count

MARKS = [bytes([number]) * 16 for number in (3, 1, 2)]


@pytest.fixture(autouse=True)
def new_files_are_old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count that were written just now, on any file system."""
    let_new_files_count(monkeypatch)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def sample(tmp_path: Path) -> SourceSample:
    image, mask = tmp_path / "a.png", tmp_path / "m.png"
    image.write_bytes(b"old image")
    mask.write_bytes(b"old mask")
    return SourceSample("a", image, (LabelFile(mask),))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the ids of the samples whose files are read to compare them."""
    ids: list[str] = []
    original = additions._digests
    monkeypatch.setattr(additions, "_digests", lambda sample: ids.append(sample.id) or original(sample))
    return ids


def rewrite(path: Path, content: bytes) -> None:
    """Write other content of the same size in place and restore the mtime, in another tick of the clock."""
    before = path.stat()
    assert len(content) == before.st_size
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def exchange(path: Path, content: bytes) -> None:
    """Put another file of the same size and mtime in the place of a file."""
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def test_the_state_of_a_file_that_nobody_touches_stays(sample: SourceSample):
    state = States().of(sample)
    assert state is not None
    assert States().of(sample) == state


@pytest.mark.parametrize("change", [rewrite, exchange])
@pytest.mark.parametrize("which", ["image", "mask"])
def test_other_content_of_the_same_size_and_mtime_is_another_state(
    sample: SourceSample, change: Callable[[Path, bytes], None], which: str
):
    state = States().of(sample)
    change(*((sample.image, b"new image") if which == "image" else (sample.masks[0].path, b"new mask")))
    assert States().of(sample) != state


def test_a_copy_is_another_state(sample: SourceSample, tmp_path: Path):
    shutil.copytree(tmp_path, tmp_path / "copy")
    copied = replace(sample, image=tmp_path / "copy" / "a.png", masks=(LabelFile(tmp_path / "copy" / "m.png"),))
    assert States().of(copied) not in {None, States().of(sample)}


@pytest.mark.parametrize("label", [LabelFile(Path("m.png"), label="vessel"), LabelFile(Path("m.png"), entry="a.png")])
def test_another_use_of_the_same_label_file_is_another_state(sample: SourceSample, label: LabelFile):
    used = replace(sample, masks=(replace(label, path=sample.masks[0].path),))
    assert States().of(used) not in {None, States().of(sample)}


def test_a_file_that_was_just_written_proves_nothing(sample: SourceSample, monkeypatch: pytest.MonkeyPatch):
    """It may be written again within one tick of the clock."""
    monkeypatch.undo()
    assert States().of(sample) is None


def test_a_clock_that_went_back_proves_nothing(sample: SourceSample, monkeypatch: pytest.MonkeyPatch):
    """The files are younger than the clock says that it is now."""
    monkeypatch.setattr(known_files, "MARGIN", 0)
    monkeypatch.setattr(known_files, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - 3600 * 10**9))
    assert States().of(sample) is None


@pytest.mark.parametrize("step", [1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000])
def test_coarse_times_prove_nothing(sample: SourceSample, monkeypatch: pytest.MonkeyPatch, step: int):
    def coarse(path: Path) -> SimpleNamespace:
        found = Path(path).stat()
        return SimpleNamespace(
            st_dev=found.st_dev,
            st_ino=found.st_ino,
            st_size=found.st_size,
            st_mtime_ns=found.st_mtime_ns // step * step,
            st_ctime_ns=found.st_ctime_ns // step * step,
        )

    monkeypatch.setattr(known_files, "os", SimpleNamespace(stat=coarse))
    assert States().of(sample) is None


@pytest.mark.parametrize("kind", ["nfs4", "fuse.rclone", "9p", "vfat", "tmpfs", "overlay", "erofs", ""])
def test_other_file_systems_prove_nothing(sample: SourceSample, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(known_files, "file_system_of", lambda _: kind)
    assert States().of(sample) is None


@pytest.mark.parametrize("linked", ["image", "mask"])
def test_a_link_to_another_file_system_proves_nothing(
    sample: SourceSample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: str
):
    """The folder with the link lies on a local disk, and the file that it points to on one of a network."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / {tmp_path}/far\\011away rw - nfs4 server:/data rw\n"
    )
    monkeypatch.setattr(file_systems, "MOUNTS", mounts)
    monkeypatch.setattr(known_files, "file_system_of", file_systems.file_system_of)
    assert States().of(sample) is not None
    far = tmp_path / "far\taway"
    far.mkdir()
    path = {"image": sample.image, "mask": sample.masks[0].path}[linked]
    path.replace(far / path.name)
    path.symlink_to(far / path.name)
    # Both folders are one device here. A sample of two files would be looked at once.
    assert States().of(sample if linked == "image" else SourceSample("b", path)) is None


@pytest.mark.parametrize(("place", "proves"), [("layers", False), ("data", True), ("data/layers", False)])
def test_in_a_container_only_files_of_mounted_volumes_prove_something(
    sample: SourceSample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, *, proves: bool
):
    """The layers below an overlay file system may lie on one whose times prove nothing."""
    mounts = tmp_path / "mounts"
    options = "rw,lowerdir=/var/lib/l/A:/var/lib/l/B,upperdir=/var/lib/d/diff,workdir=/var/lib/d/work"
    mounts.write_text(
        f"1 0 0:45 / / rw,relatime - overlay overlay {options}\n"
        f"2 1 8:1 /volumes/v/_data {tmp_path}/data rw,relatime master:1 - ext4 /dev/sda1 rw\n"
        f"3 2 0:46 / {tmp_path}/data/layers rw,relatime - overlay overlay {options},xino=off\n"
    )
    monkeypatch.setattr(file_systems, "MOUNTS", mounts)
    monkeypatch.setattr(known_files, "file_system_of", file_systems.file_system_of)
    folder = tmp_path / place
    folder.mkdir(parents=True)
    image = sample.image.replace(folder / "a.png")
    assert (States().of(SourceSample("a", image)) is not None) == proves


@pytest.mark.parametrize(("seconds", "proves"), [(5, False), (40, False), (90, True)])
@pytest.mark.parametrize("which", ["st_mtime_ns", "st_ctime_ns"])
def test_a_file_that_may_be_mapped_into_memory_proves_nothing(
    sample: SourceSample, monkeypatch: pytest.MonkeyPatch, which: str, seconds: int, *, proves: bool
):
    """A program that writes to the mapping sets the times once, until the changed pages are on the disk."""
    monkeypatch.undo()
    monkeypatch.setattr(known_files, "file_system_of", lambda _: "ext4")
    now = time.time_ns()

    def stat(_: Path) -> SimpleNamespace:
        old = dict.fromkeys(("st_mtime_ns", "st_ctime_ns"), now - 3600 * 10**9 + 1)
        return SimpleNamespace(st_dev=1, st_ino=2, st_size=3, **old | {which: now - seconds * 10**9 + 1})

    monkeypatch.setattr(known_files, "os", SimpleNamespace(stat=stat))
    assert (States().of(sample) is not None) == proves


def test_a_missing_file_proves_nothing(sample: SourceSample):
    sample.masks[0].path.unlink()
    assert States().of(sample) is None


def test_a_file_that_changes_while_it_is_read_is_not_marked(sample: SourceSample):
    marks = NewMarks([sample])
    rewrite(sample.image, b"new image")
    marks.add("a", "1" * 64, "2" * 64)
    assert marks.marks == []
    marks = NewMarks([sample])
    marks.add("a", "1" * 64, "2" * 64)
    assert marks.marks == [mark_of(States().of(sample) or b"", b"1" * 64, b"2" * 64)]


def test_a_record_gives_back_its_marks(tmp_path: Path):
    KnownFiles.write(tmp_path / "memo" / "record", MARKS)
    found = KnownFiles.read(tmp_path / "memo" / "record").has([*MARKS, bytes(16), b"\xff" * 16, b"\1" * 8 + bytes(8)])
    assert found.tolist() == [True, True, True, False, False, False]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        _flip,
        lambda path: path.write_bytes(path.read_bytes()[:-16]),
        lambda path: path.write_bytes(path.read_bytes()[:10]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"SQLite format 3\0" * 100),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: path.unlink(),
    ],
    ids=["flipped", "cut", "cut_head", "empty", "foreign", "folder", "fifo", "missing"],
)
def test_a_record_that_is_not_whole_has_no_marks(tmp_path: Path, damage: Callable[[Path], object]):
    KnownFiles.write(tmp_path / "record", MARKS)
    damage(tmp_path / "record")
    assert KnownFiles.read(tmp_path / "record").has(MARKS).tolist() == [False, False, False]


def test_records_written_at_the_same_time_are_whole(tmp_path: Path):
    path = tmp_path / "record"
    KnownFiles.write(path, MARKS)
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(KnownFiles.write, path, MARKS) for _ in range(40)]
        while not all(one.done() for one in writing):
            assert KnownFiles.read(path).has(MARKS).all()
        assert [one.result() for one in writing] == [None] * 40


def test_unchanged_files_are_not_read(folders: Folders, read: list[str]):
    """Those that an extraction reads are known to the next one, and then so are those that it added."""
    folders.add("a", "b")
    extract.run(folders.settings())
    folders.add("c")
    extract.run(folders.settings())
    extract.run(folders.settings())
    assert read == []


def test_rehash_reads_all_files(folders: Folders, read: list[str]):
    folders.add("a", "b")
    extract.run(folders.settings())
    extract.run(replace(folders.settings(), rehash=True))
    assert sorted(read) == ["a", "b"]


def test_rehash_alone_is_refused(folders: Folders):
    """It would do nothing."""
    folders.add("a")
    with pytest.raises(UsageError, match=r"--rehash: .* Give both, or neither"):
        extract.run(replace(folders.settings(), append=False, rehash=True))
    assert not folders.store.exists()


@pytest.mark.parametrize("damage", [_flip, lambda path: path.unlink()])
def test_a_record_that_is_not_whole_is_made_again(folders: Folders, read: list[str], damage: Callable[[Path], object]):
    folders.add("a", "b")
    settings = folders.settings()
    extract.run(settings)
    damage(record_of(settings.store, settings.memo))
    extract.run(settings)
    assert sorted(read) == ["a", "b"]
    read.clear()
    extract.run(settings)
    assert read == []


@pytest.mark.parametrize("change", [rewrite, exchange])
@pytest.mark.parametrize("which", ["images", "masks"])
def test_a_changed_file_is_refused(folders: Folders, change: Callable[[Path, bytes], None], which: str):
    """It has the size and the mtime that it had."""
    folders.add("a", "b")
    extract.run(folders.settings())
    path = getattr(folders, which) / "a.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    change(path, bytes(content))
    with pytest.raises(UsageError, match="a have another image, mask or group"):
        extract.run(folders.settings())


def test_the_store_does_not_depend_on_the_record(folders: Folders):
    """The bytes are those of an extraction whose record was removed before every addition."""
    folders.add("a", "b")
    extract.run(folders.settings())
    shutil.copytree(folders.store, folders.store.with_name("other.zarr"))
    folders.add("c")
    for store in (folders.store, folders.store.with_name("other.zarr")):
        extract.run(replace(folders.settings(), store=store))
    contents = [
        {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        for path in (folders.store, folders.store.with_name("other.zarr"))
    ]
    assert contents[0] == contents[1]


def test_a_record_that_cannot_be_written_costs_only_time(folders: Folders, read: list[str]):
    settings = folders.settings()
    folders.add("a")
    record_of(settings.store, settings.memo).mkdir(parents=True)
    for _ in range(2):
        assert extract.run(settings).samples == 1
    assert read == ["a"]

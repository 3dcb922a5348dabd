"""Bit rot: every change of a store's bytes after it was written is noticed, and nothing is ever read as zeros."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages import train
from store import AttentionStore, StoreError
from store.check import verify_store
from store.errors import StoreCorruptError
from store.format import SHARDED
from store.records import Batch
from store.writer import Layout
from tests.conftest import train_settings

MakeStore = Callable[..., Path]
FLIPS = 200
INDEX = 2 * 16 + 4
"""Bytes of the index at the end of a shard of two samples."""


@pytest.fixture
def sound(make_store: MakeStore, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a store of five samples in three shards per array."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    path = make_store(5, layout=replace(layout, classes=["skin", "Läsion"]))  # a letter that JSON may also escape
    assert verify_store(path) == []
    return path


def _files(store: Path) -> list[Path]:
    return sorted(file for file in store.rglob("*") if file.is_file())


def _read(store: Path) -> Batch | str:
    """Return all samples, or the message of a `StoreError`. Any other error fails the test."""
    try:
        return AttentionStore.open(store).read(range(5))
    except StoreError as error:
        return str(error)


def _same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in SHARDED)


def test_two_hundred_flipped_bits_are_all_noticed(sound: Path):
    """`verify` finds a flipped bit in any file at any position. Reading gives an error or the written values."""
    chosen = np.random.default_rng(1)
    files = _files(sound)
    before = _read(sound)
    assert isinstance(before, Batch)
    for flip in range(FLIPS):
        file = files[chosen.integers(len(files))]
        content = bytearray(file.read_bytes())
        where = int(chosen.integers(len(content) * 8))
        content[where // 8] ^= 1 << (where % 8)
        whole = file.read_bytes()
        file.write_bytes(content)
        flipped = f"flip {flip}: bit {where} of {file.relative_to(sound)}"
        faults = verify_store(sound)
        assert faults, flipped
        after = _read(sound)
        if file.name.startswith("c.") and file.parent.name in SHARDED:
            assert any(f"`{file.parent.name}`" in fault and "sample" in fault for fault in faults), (flipped, faults)
            if isinstance(after, Batch):  # no part of a shard may change unnoticed
                pytest.fail(f"{flipped}: was read without an error")
        assert isinstance(after, str) or _same(after, before), flipped
        file.write_bytes(whole)
    assert verify_store(sound) == []


def test_every_file_cut_short_emptied_or_gone_is_seen(sound: Path):
    """`verify` finds it, and so does reading, for the files that samples are read from."""
    for file in _files(sound):
        whole = file.read_bytes()
        for length in (len(whole) - 1, len(whole) // 2, 0, None):
            if length is None:
                file.unlink()
            else:
                file.write_bytes(whole[:length])
            changed = f"{file.relative_to(sound)} with {length} bytes"
            assert verify_store(sound), changed
            if file.parent.name in {*SHARDED, "checksum"} or file.parent == sound:
                assert isinstance(_read(sound), str), changed
            file.write_bytes(whole)
    assert verify_store(sound) == []


@pytest.mark.parametrize("name", list(SHARDED))
def test_two_shards_that_changed_places_are_seen(sound: Path, name: str):
    """Each shard is sound in itself. The column `checksum` shows that it holds other samples."""
    one, other = sorted((sound / name).glob("c.*"))[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    faults = verify_store(sound)
    for sample in range(4):
        assert any(f"`{name}`" in fault and f"sample {sample} " in fault for fault in faults), faults
    error = _read(sound)
    assert isinstance(error, str)
    assert "another sample's bytes" in error


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: root.update(consolidated_metadata={"kind": "inline"}), id="second_metadata"),
        pytest.param(lambda root: root["attributes"].update(note="mine"), id="a_note"),
        pytest.param(lambda root: root["attributes"]["attention_store"]["classes"].reverse(), id="classes"),
        pytest.param(lambda root: root["attributes"]["attention_store"].update(skipped=[{"where": "x"}]), id="skipped"),
    ],
)
def test_an_edited_root_is_seen_by_verify(sound: Path, change: Callable[[dict[str, object]], None]):
    """`verify` also reports additions that this program does not read, because another reader may read them."""
    root = json.loads((sound / "zarr.json").read_text())
    change(root)
    (sound / "zarr.json").write_text(json.dumps(root, indent=2))
    assert verify_store(sound)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("zarr.json", '"skin"', '"skim"'),
        ("zarr.json", '"samples": 5', '"samples": 4'),
        ("attention/zarr.json", '"scale_factor": 0.', '"scale_factor": 0.9'),
        ("attention/zarr.json", '"separator": "."', '"separator": "/"'),
        ("mask/zarr.json", '"fill_value": 0', '"fill_value": 1'),
        ("labelled/zarr.json", '"fill_value": false', '"fill_value": true'),
    ],
)
def test_edited_metadata_is_seen_at_opening(sound: Path, file: str, old: str, new: str):
    """Well-formed metadata with other values is refused before anything is trained on it."""
    content = (sound / file).read_text()
    assert old in content
    (sound / file).write_text(content.replace(old, new))
    with pytest.raises(StoreCorruptError, match="changed after the store was written"):
        AttentionStore.open(sound)
    assert verify_store(sound)


def test_two_chunks_of_a_column_that_changed_places_are_seen(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """Each chunk is sound in itself. Reading one value or all of them finds it; the other columns are read."""
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 2)
    sound = make_store(5)
    for name in ("group", "sample"):
        one, other = sound / name / "c.0", sound / name / "c.1"
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    store = AttentionStore.open(sound)
    for reading in (lambda: store[0], lambda: store.ids, lambda: store.column("group")):
        with pytest.raises(StoreCorruptError, match=r"column `(sample|group)` is damaged \(c\.0, samples 0-1\)"):
            reading()
    assert store[4].group
    store.read(range(5))
    for name in ("group", "sample"):  # every damaged chunk is named, with what is in it
        faults = [fault for fault in verify_store(sound) if f"`{name}`" in fault]
        assert [fault.rpartition("(")[2] for fault in faults] == ["c.0, samples 0-1).", "c.1, samples 2-3)."], faults


def test_a_byte_more_at_the_end_of_any_file_is_seen(sound: Path):
    """`verify` finds it, even if reading samples would not."""
    for file in _files(sound):
        whole = file.read_bytes()
        for more in (b"\0", b" ", b"\n"):
            file.write_bytes(whole + more)
            assert verify_store(sound), file
        file.write_bytes(whole)


def test_metadata_in_other_bytes_that_say_the_same_is_seen_by_verify(sound: Path):
    """Examples are an escaped letter, and a key that occurs twice, of which readers take the last value."""
    root = sound / "zarr.json"
    whole = root.read_text()
    for changed in (
        whole.replace("ä", "\\u00e4"),
        whole.replace('"node_type"', '"node_type": "array", "node_type"'),
        whole.replace('"attention_store":', '"attention_store": {"samples": 99}, "attention_store":'),
    ):
        assert changed != whole
        root.write_text(changed)
        assert verify_store(sound)


@pytest.mark.parametrize("name", list(SHARDED))
def test_a_shard_that_cannot_be_read_is_named_and_hides_no_other_fault(sound: Path, name: str):
    """A folder takes the shard's place. `verify` continues with the next shard."""
    first, second, *_ = sorted((sound / name).glob("c.*"))
    first.unlink()
    first.mkdir()
    content = bytearray(second.read_bytes())
    content[-INDEX - 6] ^= 1  # the last byte but one of the last sample
    second.write_bytes(content)
    faults = verify_store(sound)
    assert any(f"`{name}`" in fault and "samples 0-1" in fault and "cannot be read" in fault for fault in faults)
    assert any(f"`{name}`" in fault and "sample 3 " in fault for fault in faults)
    error = _read(sound)
    assert isinstance(error, str)
    assert "samples 0-1" in error


_CUT_WHILE_OPEN = """
import os, sys
from pathlib import Path
from store import AttentionStore, StoreError
store = AttentionStore.open(sys.argv[1])
store.read([0])
os.truncate(Path(sys.argv[1], sys.argv[2], sys.argv[3]), int(sys.argv[4]))
try:
    store.read([1])
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("name", list(SHARDED))
def test_a_shard_cut_short_while_it_is_mapped_is_an_error_and_no_crash(sound: Path, name: str):
    """Without a check, the system would end the process with SIGBUS when it reads beyond the end of the file."""
    shard = min((sound / name).glob("c.*"))
    command = [sys.executable, "-c", _CUT_WHILE_OPEN, sound, name, shard.name, "0"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert finished.returncode == 0, finished.stderr
    assert f"`{name}`" in finished.stdout
    assert "cut short or added to while it was open" in finished.stdout


def test_a_shard_that_is_mapped_again_is_checked_again(sound: Path, monkeypatch: pytest.MonkeyPatch):
    """A shard that was unmapped may have changed before it is mapped again."""
    monkeypatch.setattr("store.sharded_array.MAX_MAPPED", 1)
    store = AttentionStore.open(sound)
    store.read([0])
    store.read([2])
    shard = min((sound / "image").glob("c.*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StoreCorruptError, match="does not match its checksum"):
        store.read([0, 1])


_MANY_SHARDS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from store import AttentionStore
store = AttentionStore.open(sys.argv[1])
first = store.read(range(len(store)))
again = store.read(range(len(store)))
assert (first.image == again.image).all() and (first.mask == again.mask).all()
spare = [open(sys.argv[1] + "/zarr.json") for _ in range(32)]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on open files is set by other means there")
def test_a_store_of_more_shards_than_files_may_be_open_is_read(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """Every mapped shard is an open file, and many systems allow 1,024. Some must be left for other code."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 1)
    command = [sys.executable, "-c", _MANY_SHARDS, make_store(60)]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert finished.returncode == 0, finished.stderr


def test_a_stray_chunk_of_a_column_is_seen(sound: Path):
    """Nothing reads it here, but zarr would if the array grew."""
    (sound / "group" / "c.1").write_bytes((sound / "group" / "c.0").read_bytes())
    assert verify_store(sound) == ["`group`: c.1 does not belong to the store"]


def test_rot_after_opening_is_seen_on_first_touch(sound: Path):
    """An open store maps a shard when it needs it: damage before that is an error, the rest is read."""
    last = AttentionStore.open(sound)[4].image
    store = AttentionStore.open(sound)
    store.read([0, 1])
    for name in SHARDED:
        shard = sorted((sound / name).glob("c.*"))[1]
        content = bytearray(shard.read_bytes())
        content[-INDEX - 6] ^= 1  # the last byte but one of the last sample
        shard.write_bytes(content)
    with pytest.raises(StoreError, match="sample"):
        store.read([2, 3])
    np.testing.assert_array_equal(store.read([4]).image[0], last)


@pytest.mark.parametrize("share", [1.0, 0.0], ids=["resident", "streamed"])
def test_training_sees_rot_in_what_it_loads(share, phantom_store, tmp_path, monkeypatch):
    """This holds when all samples are loaded at the start, and when another thread reads them batch by batch."""
    monkeypatch.setattr("stages.segmentation.batches.MEMORY_SHARE", share)
    shutil.copytree(phantom_store, tmp_path / "s.zarr")
    shard = next((tmp_path / "s.zarr" / "attention").glob("c.*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    settings = train_settings(tmp_path / "s.zarr", tmp_path / "run", epochs=1)
    with pytest.raises(StoreCorruptError, match="does not match its checksum"):
        train.run(settings)
    assert not (tmp_path / "run").exists()

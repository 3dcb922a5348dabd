"""Rot: whatever happens to a store's bytes after it was written is seen, and nothing is ever read as zeros."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from store import AttentionStore, StoreError
from store.check import verify_store
from store.format import SHARDED
from store.records import Batch

MakeStore = Callable[..., Path]
FLIPS = 200


@pytest.fixture
def sound(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of five samples in three shards per array."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    path = make_store(5)
    assert verify_store(path) == []
    return path


def _files(store: Path) -> list[Path]:
    return sorted(file for file in store.rglob("*") if file.is_file())


def _read(store: Path) -> Batch | str:
    """All samples, or the error in their place. Anything but a `StoreError` is a failure of the test."""
    try:
        return AttentionStore.open(store).read(range(5))
    except StoreError as error:
        return str(error)


def _same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in SHARDED)


def test_two_hundred_flipped_bits_are_all_seen(sound: Path):
    """In any file, at any place: `verify` finds it; reading gives an error or what was written, never anything else."""
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
        told = f"flip {flip}: bit {where} of {file.relative_to(sound)}"
        faults = verify_store(sound)
        assert faults, told
        after = _read(sound)
        if file.name.startswith("c.") and file.parent.name in SHARDED:
            assert any(f"`{file.parent.name}`" in fault and "sample" in fault for fault in faults), (told, faults)
            if isinstance(after, Batch):  # the part of the index that belongs to no sample
                pytest.fail(f"{told}: was read without an error")
        assert isinstance(after, str) or _same(after, before), told
        file.write_bytes(whole)
    assert verify_store(sound) == []


def test_every_file_cut_short_emptied_or_gone_is_seen(sound: Path):
    """By `verify`; and by reading, where the file is one of those that samples are read from."""
    for file in _files(sound):
        whole = file.read_bytes()
        for length in (len(whole) - 1, len(whole) // 2, 0, None):
            if length is None:
                file.unlink()
            else:
                file.write_bytes(whole[:length])
            told = f"{file.relative_to(sound)} with {length} bytes"
            assert verify_store(sound), told
            if file.parent.name in {*SHARDED, "checksum"} or file.parent == sound:
                assert isinstance(_read(sound), str), told
            file.write_bytes(whole)
    assert verify_store(sound) == []


@pytest.mark.parametrize("name", list(SHARDED))
def test_two_shards_that_changed_places_are_seen(sound: Path, name: str):
    """Each is whole in itself; that its samples are others is what `checksum` is for."""
    one, other = sorted((sound / name).glob("c.*"))[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    faults = verify_store(sound)
    for sample in range(4):
        assert any(f"`{name}`" in fault and f"sample {sample} " in fault for fault in faults), faults
    told = _read(sound)
    assert isinstance(told, str)
    assert "another sample's bytes" in told


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: root.update(consolidated_metadata={"kind": "inline"}), id="second_metadata"),
        pytest.param(lambda root: root["attributes"].update(note="mine"), id="a_note"),
        pytest.param(lambda root: root["attributes"]["attention_store"]["classes"].reverse(), id="classes"),
        pytest.param(lambda root: root["attributes"]["attention_store"].update(skipped=[{"where": "x"}]), id="skipped"),
    ],
)
def test_an_edited_root_is_seen(sound: Path, change: Callable[[dict[str, object]], None]):
    """Also where what was put in is nothing that this program reads: another reader may."""
    root = json.loads((sound / "zarr.json").read_text())
    change(root)
    (sound / "zarr.json").write_text(json.dumps(root, indent=2))
    assert verify_store(sound)


def test_rot_after_opening_is_seen_on_first_touch(sound: Path):
    """A store held open maps a shard when it needs it: what was damaged before that is an error, the rest is read."""
    last = AttentionStore.open(sound)[4].image
    store = AttentionStore.open(sound)
    store.read([0, 1])
    for name in SHARDED:
        shard = sorted((sound / name).glob("c.*"))[1]
        content = bytearray(shard.read_bytes())
        content[-6] ^= 1
        shard.write_bytes(content)
    with pytest.raises(StoreError, match="sample"):
        store.read([2, 3])
    np.testing.assert_array_equal(store.read([4]).image[0], last)

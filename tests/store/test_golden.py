"""Golden stores: files of earlier versions are read with the same values, and today's writer gives known bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from store import AttentionStore, StoreCorruptError, StoreVersionError
from store.arrays import packing_of
from store.check import verify_store
from store.upgrade import layout_of, upgrade_store
from store.writer import new_store

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED: dict[int, dict[str, Any]] = {
    version: json.loads((GOLDEN / f"v{version}" / "expected.json").read_text(encoding="utf-8")) for version in (1, 2)
}
OPTIONAL: dict[str, Any] = json.loads((GOLDEN / "v2" / "optional.json").read_text(encoding="utf-8"))
VERSION_1, VERSION_2 = GOLDEN / "v1" / "store.zarr", GOLDEN / "v2" / "store.zarr"


@pytest.fixture(autouse=True)
def _shards_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write shards of as many samples as the golden stores have."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 8)


def files(store: Path) -> dict[str, bytes]:
    """Return the content of every file of a store, by its path in it."""
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def require_same_files(found: Path, expected: Path, *, packed_by: str = EXPECTED[2]["numcodecs"]) -> None:
    """Compare two stores byte by byte. `packed_by`: the version of numcodecs that packed the expected one.

    Another version of numcodecs may pack masks into other bytes. Then these, and the digests that follow from them, are
    left out, and the masks are compared after unpacking. The same holds for instances.
    """
    one, other = files(found), files(expected)
    assert one.keys() == other.keys()
    if numcodecs.__version__ != packed_by:
        stores = [AttentionStore.open(path) for path in (found, expected)]
        for name in {"mask", "instances"} & {*stores[0].description.sharded}:
            np.testing.assert_array_equal(*(store.read_array(name, range(len(store))) for store in stores))
        chunks = ("mask/c.", "instances/c.", "checksum/c.")
        packed = [name for name in one if name.startswith(chunks) or name == "zarr.json"]
        for name in packed:
            del one[name], other[name]
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_golden_store_is_read_as_it_was_written(version: int):
    """All values equal those that were recorded when the store was written."""
    store, expected = AttentionStore.open(GOLDEN / f"v{version}" / "store.zarr"), EXPECTED[version]
    batch = store.read(range(12))
    digests = {name: hashlib.sha256(getattr(batch, name).tobytes()).hexdigest() for name in expected["arrays"]}
    assert digests == expected["arrays"]
    assert {name: store.column(name).tolist() for name in expected["columns"]} == expected["columns"]
    assert store.heads == expected["heads"]
    assert store.classes == expected["classes"]
    assert store.scale_factor == expected["scale_factor"]
    assert store.description.recipe_sha256 == expected["recipe_sha256"]
    assert store.description.contents_sha256 == expected["contents_sha256"]
    assert store.description.skipped == expected["skipped"]
    assert store.description.version == version
    assert store.description.mask_values == {"skin": 0, "lesion": 255}
    assert store.description.masks.decoding == "mapped"
    assert store.description.upgraded_from == []
    assert verify_store(store.path) == []


def test_todays_writer_gives_the_bytes_of_version_2(tmp_path: Path):
    """If this fails, the format's version must rise (FORMAT.md, "How the version rises")."""
    golden = AttentionStore.open(VERSION_2)
    with new_store(tmp_path / "s.zarr", layout=layout_of(golden), recipe=golden.recipe) as writer:
        for sample in golden:
            writer.append(sample)
        writer.skipped = golden.description.skipped
    require_same_files(tmp_path / "s.zarr", VERSION_2)


def test_an_upgraded_store_is_what_the_writer_gives_today(tmp_path: Path):
    """Its description has the digest of the earlier store. Apart from that, every byte equals the golden store."""
    path = shutil.copytree(VERSION_1, tmp_path / "s.zarr")
    assert upgrade_store(path) == 1
    upgraded = AttentionStore.open(path).description
    assert upgraded.version == 2
    assert upgraded.upgraded_from == [EXPECTED[1]["contents_sha256"]]
    assert upgraded.contents_sha256 != EXPECTED[2]["contents_sha256"]
    plain = replace(upgraded, upgraded_from=[]).sealed()
    root = json.loads((path / "zarr.json").read_bytes())
    root["attributes"]["attention_store"] = plain.to_dict()
    assert verify_store(path) == []
    (path / "zarr.json").write_text(json.dumps(root, indent=2, ensure_ascii=False), encoding="utf-8")
    require_same_files(path, VERSION_2)


@pytest.fixture(scope="module")
def optional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the golden stores with optional parts. Tests must not change them."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(GOLDEN / "v2" / "optional.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", ["parts", "bits"])
def test_a_golden_store_with_optional_parts_is_read_as_it_was_written(optional: Path, name: str):
    store, expected = AttentionStore.open(optional / f"{name}.zarr"), OPTIONAL[name]
    arrays = {array: store.read_array(array, range(3)) for array in expected["arrays"]}
    digests = {array: hashlib.sha256(values.tobytes()).hexdigest() for array, values in arrays.items()}
    assert digests == expected["arrays"]
    assert {column: store.column(column).tolist() for column in expected["columns"]} == expected["columns"]
    assert all(store.has(column) for column in expected["columns"] if column != "sample")
    assert store.has("instances") is ("instances" in expected["arrays"])
    assert store.multilabel is expected["multilabel"]
    assert store.classes == expected["classes"]
    assert store.description.required == expected["required"]
    assert store.description.masks.to_dict() == expected["masks"]
    assert store.description.contents_sha256 == expected["contents_sha256"]
    assert verify_store(store.path) == []


@pytest.mark.parametrize("name", ["parts", "bits"])
def test_todays_writer_gives_the_bytes_of_the_optional_parts(
    optional: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    golden = AttentionStore.open(optional / f"{name}.zarr")
    with new_store(tmp_path / "s.zarr", layout=layout_of(golden), recipe=golden.recipe) as writer:
        for sample in golden:
            writer.append(sample)
    require_same_files(tmp_path / "s.zarr", golden.path, packed_by=OPTIONAL["numcodecs"])


def test_a_store_of_the_present_version_is_not_upgraded(tmp_path: Path):
    path = shutil.copytree(VERSION_2, tmp_path / "s.zarr")
    before = {file: file.stat() for file in path.rglob("*")}
    assert upgrade_store(path) == 2
    assert {file: file.stat().st_ino for file in path.rglob("*")} == {file: old.st_ino for file, old in before.items()}
    assert files(path) == files(VERSION_2)


def test_a_damaged_store_is_not_upgraded(tmp_path: Path):
    """It stays at its path, and nothing is left beside it."""
    path = shutil.copytree(VERSION_1, tmp_path / "s.zarr")
    shard = path / "image" / "c.1.0.0.0"
    content = bytearray(shard.read_bytes())
    content[-6] ^= 1
    shard.write_bytes(content)
    before = files(path)
    with pytest.raises(StoreCorruptError, match="sample 11 does not match its checksum"):
        upgrade_store(path)
    assert files(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zarr"]


def test_a_compressed_store_stays_compressed_when_it_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    golden = AttentionStore.open(VERSION_2)
    layout = replace(layout_of(golden), compress=True)
    with new_store(tmp_path / "s.zarr", layout=layout, recipe=golden.recipe) as writer:
        for sample in golden:
            writer.append(sample)
    monkeypatch.setattr("store.upgrade.VERSION", 3)
    upgrade_store(tmp_path / "s.zarr")
    upgraded = AttentionStore.open(tmp_path / "s.zarr")
    assert [packing_of(upgraded.arrays[name]) for name in ("image", "mask", "attention")] == ["zstd", "lz4", "zstd"]
    assert layout_of(upgraded) == layout
    np.testing.assert_array_equal(upgraded.read([3]).image, golden.read([3]).image)


def _edited_version_1(tmp_path: Path, *, without: set[str] = frozenset(), **changes: object) -> Path:
    """Copy the golden store of version 1, edit its description, and recompute its digest."""
    path = shutil.copytree(VERSION_1, tmp_path / "s.zarr")
    root = json.loads((path / "zarr.json").read_bytes())
    described = {**root["attributes"]["attention_store"], **changes}
    covered = {key: value for key, value in described.items() if key not in {"contents_sha256", *without}}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    covered["contents_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    root["attributes"]["attention_store"] = covered
    (path / "zarr.json").write_text(json.dumps(root, indent=2))
    return path


@pytest.mark.parametrize(
    "without", [{"metadata_sha256", "columns_sha256"}, {"metadata_sha256", "columns_sha256", "mask_values"}]
)
def test_a_store_from_before_the_first_release_is_too_old_and_not_damaged(tmp_path: Path, without: set[str]):
    """Development versions called these layouts version 1, too."""
    path = _edited_version_1(tmp_path, without=without)
    with pytest.raises(StoreVersionError, match=r"development version before 0\.1\.0.*\n.*Extract it again"):
        AttentionStore.open(path)


@pytest.mark.parametrize("changes", [{"surprise": 1}, {"mask_values": 3}, {"mask_values": []}, {"samples": -1}])
def test_a_wrong_description_of_version_1_is_damage(tmp_path: Path, changes: dict[str, object]):
    with pytest.raises(StoreCorruptError, match=r"surprise|`masks`|`samples`"):
        AttentionStore.open(_edited_version_1(tmp_path, **changes))


def test_black_and_white_masks_of_version_1_have_no_values(tmp_path: Path):
    description = AttentionStore.open(_edited_version_1(tmp_path, mask_values=None)).description
    assert (description.mask_values, description.masks.decoding) == (None, "binary")
    assert description.masks.pairing is None


def test_masks_of_version_1_packed_by_zstd_are_read(tmp_path: Path):
    """The first stores of version 1 have such masks. Later ones are packed by lz4."""
    from numcodecs.zstd import Zstd

    from store.format import metadata_sha256
    from store.shards import checksummed

    path = _edited_version_1(tmp_path)
    old = AttentionStore.open(VERSION_1)
    masks = old.read_array("mask", range(12))
    chunks = [checksummed(bytes(Zstd(level=3).encode(mask.tobytes()))) for mask in masks]
    for number, part in ((0, chunks[:8]), (1, chunks[8:])):
        index = np.full((8, 2), 2**64 - 1, "<u8")
        lengths = np.array([len(chunk) for chunk in part])
        index[: len(part)] = np.column_stack([8 * 16 + 4 + np.cumsum(lengths) - lengths, lengths])
        (path / "mask" / f"c.{number}.0.0").write_bytes(b"".join([checksummed(index.tobytes()), *part]))
    file = path / "mask" / "zarr.json"
    document = json.loads(file.read_bytes())
    (document["codecs"][0]["configuration"]["codecs"][1:2]) = [{"name": "zstd", "configuration": {"level": 3}}]
    file.write_text(json.dumps(document))
    crcs = old.column("checksum").copy()
    crcs[:, 1] = [int.from_bytes(chunk[-4:], "little") for chunk in chunks]
    padded = np.zeros((65536, 3), "<u4")
    padded[:12] = crcs
    column = checksummed(bytes(Zstd(level=3).encode(padded.tobytes())))
    (path / "checksum" / "c.0.0").write_bytes(column)
    digests = {**old.description.columns_sha256, "checksum": [hashlib.sha256(column).hexdigest()]}
    contents = {name: (path / name / "zarr.json").read_bytes() for name in old.arrays}
    shutil.move(path, tmp_path / "made")
    described = _edited_version_1(tmp_path, columns_sha256=digests, metadata_sha256=metadata_sha256(contents))
    shutil.copy(described / "zarr.json", tmp_path / "made" / "zarr.json")
    np.testing.assert_array_equal(AttentionStore.open(tmp_path / "made").read_array("mask", range(12)), masks)
    assert verify_store(tmp_path / "made") == []


def test_a_store_of_version_1_is_read_in_any_order():
    store = AttentionStore.open(VERSION_1)
    whole = store.read(range(12))
    np.testing.assert_array_equal(store.read([11, 0, 7, 8]).attention, whole.attention[[11, 0, 7, 8]])
    assert store[9].id == "case_09"
    assert store[9].labelled is False

"""Arrays that contradict the format or each other are refused although every digest is right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from store import AttentionStore, NotAStoreError, StoreCorruptError, StoreIncompleteError, StoreVersionError
from store.metadata import ArrayMetadata
from store.root import is_store
from store.shards import checksummed
from store.upgrade import layout_of
from tests.store.conformance.cases import SOURCE
from tests.store.conformance.draft import Draft


def _attributes(name: str, **changes: object) -> Callable[[Draft], object]:
    def change(draft: Draft) -> None:
        draft.metadata(name, attributes={**draft.metadata(name)["attributes"], **changes})

    return change


def _grid(name: str, *shape: int) -> Callable[[Draft], object]:
    return lambda draft: draft.metadata(
        name, chunk_grid={"name": "regular", "configuration": {"chunk_shape": list(shape)}}
    )


def _swap_mask_extents(draft: Draft) -> None:
    """Give `mask` the shape (sample, 20, 16): the chunks have the same number of bytes."""
    draft.metadata("mask", shape=[12, 20, 16])
    draft.sharding("mask", chunk_shape=[1, 20, 16])
    _grid("mask", 8, 20, 16)(draft)


def _swap_head_and_row(draft: Draft) -> None:
    draft.metadata("attention", shape=[12, 4, 12, 6])
    draft.sharding("attention", chunk_shape=[1, 4, 12, 6])
    _grid("attention", 8, 4, 12, 6)(draft)


def _big_endian(draft: Draft) -> None:
    codecs = [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]
    draft.sharding("attention", codecs=codecs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swap_mask_extents, r"`mask` has the shape \(20, 16\), not \(16, 20\)"),
        (_swap_head_and_row, r"`attention` has the shape \(4, 12, 6\), not \(12, 12, 6\)"),
        (_big_endian, r"`attention` is packed in a way that the format does not have"),
        (lambda d: d.sharding("mask", chunk_shape=[2, 16, 20]), r"`mask` has chunks of \(2, 16, 20\)"),
        (lambda d: d.sharding("mask", codecs=[{"name": "crc32c"}, {"name": "bytes"}]), "`mask` is sharded in another"),
        (lambda d: d.sharding("mask", index_codecs=[{"name": "bytes"}]), "`mask` is not sharded as the format says"),
        (lambda d: d.sharding("mask", codecs=[{"name": ["bytes"]}]), "`mask` is not sharded as the format says"),
        (lambda d: d.metadata("mask", codecs=[{"name": "bytes"}, {"name": "crc32c"}]), "`mask` is not sharded as"),
        (lambda d: d.metadata("mask", codecs=[]), r"`mask` has no sound zarr\.json \(the codecs have no names\)"),
        (lambda d: d.metadata("mask", node_type="group"), r"`mask` has no sound zarr\.json \(not a Zarr v3 array\)"),
        (lambda d: d.metadata("mask", shape=[12, -16, 20]), r"`mask` has no sound zarr\.json \(a shape is not a list"),
        (lambda d: d.metadata("mask", attributes=[]), r"`mask` has no sound zarr\.json"),
        (lambda d: d.metadata("mask", shape=None), r"`mask` has no sound zarr\.json"),
        (lambda d: d.metadata("mask", dimension_names=[None] * 3), r"`mask` has no sound zarr\.json"),
        (lambda d: d.metadata("mask", storage_transformers=[{"name": "x"}]), r"`mask` .*not a regular chunk grid"),
        (lambda d: d.metadata("group", dimension_names=["sample", "x"]), "`group` has a shape, chunks and dimension"),
        (_grid("group", 0), r"`group` is cut into chunks of \(0,\)"),
        (_grid("group", 11), "`group` has 2 chunks, the description says 1"),
        (_grid("checksum", 12, 2), r"`checksum` is cut into chunks of \(12, 2\)"),
        (_attributes("attention", scale_factor=0), "`attention` has no sound `scale_factor`"),
        (_attributes("attention", scale_factor=1.5), "`attention` has no sound `scale_factor`"),
        (_attributes("attention", scale_factor="0.04"), "`attention` has no sound `scale_factor`"),
        (lambda d: d.described["sharded"].append("image"), "wrong kind .`sharded`"),
        (lambda d: d.described["sharded"].append("group"), "wrong kind .`sharded`"),
        (lambda d: d.described["sharded"].remove("mask"), "wrong kind .`sharded`"),
        (lambda d: d.described["masks"].update(decoding="other"), "wrong kind .`masks`"),
        (lambda d: d.described["masks"].update(values=None), "wrong kind .`masks`"),
        (lambda d: d.described["masks"].update(decoding="binary"), "wrong kind .`masks`"),
        (lambda d: d.described["masks"].update(values={"skin": [0]}), "wrong kind .`masks`"),
        (lambda d: d.described["masks"].update(pairing={"endings": []}), "wrong kind .`masks`"),
        (lambda d: d.described["masks"].update(pairing={"rule": "name", "endings": [1]}), "wrong kind .`masks`"),
        (lambda d: d.described["masks"].pop("pairing"), "wrong kind .`masks`"),
        (lambda d: d.described.update(required=[1]), "wrong kind .`required`"),
        (lambda d: d.described.update(upgraded_from="x"), "wrong kind .`upgraded_from`"),
        (lambda d: d.described.update(samples_per_shard=0), "wrong kind .`samples_per_shard`"),
        (lambda d: d.described.update(samples=True), "wrong kind .`samples`"),
        (lambda d: d.described.update(skipped=[{"where": "x"}]), "wrong kind .`skipped`"),
    ],
)
def test_a_contradiction_is_refused_at_opening(tmp_path: Path, change: Callable[[Draft], object], message: str):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    change(draft)
    draft.seal()
    with pytest.raises(StoreCorruptError, match=message):
        AttentionStore.open(draft.path)


def test_the_smallest_and_the_largest_scale_factor_are_sound(tmp_path: Path):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    for factor in (1e-9, 1):
        _attributes("attention", scale_factor=factor)(draft)
        draft.seal()
        assert AttentionStore.open(draft.path).scale_factor == factor


def test_an_unknown_encoding_comes_before_an_unknown_layout(tmp_path: Path):
    """The error reports an unknown encoding and no damage, although dimensions and codecs differ too."""
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    _attributes("image", encoding={"name": "rgb", "version": 2})(draft)
    draft.metadata("image", dimension_names=["sample", "channel", "row", "column"], data_type="uint16")
    draft.sharding("image", chunk_shape=[4, 3, 16, 20])
    draft.seal()
    with pytest.raises(StoreVersionError, match=r'`image` has an encoding .* not know .{"name": "rgb", "version": 2}'):
        AttentionStore.open(draft.path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[]", StoreCorruptError),
        (b"{", StoreCorruptError),
        (b"\xff", StoreCorruptError),
        (b"", StoreCorruptError),
        (b"[" * 100_000, StoreCorruptError),
        (b"{}", NotAStoreError),
        (b'{"zarr_format": 2, "node_type": "group", "attributes": {"attention_store": {}}}', NotAStoreError),
        (b'{"zarr_format": 3, "node_type": "group"}', NotAStoreError),
        (b'{"zarr_format": 3, "node_type": "group", "attributes": {"attention_store": 1}}', NotAStoreError),
        (b'{"zarr_format": 3, "node_type": "group", "attributes": {"attention_store": {}}}', StoreCorruptError),
    ],
)
def test_a_root_of_any_content_is_an_error_with_the_path(tmp_path: Path, content: bytes, error: type[Exception]):
    path = shutil.copytree(SOURCE, tmp_path / "s.zarr")
    (path / "zarr.json").write_bytes(content)
    with pytest.raises(error, match=r"s\.zarr"):
        AttentionStore.open(path)
    assert is_store(path), "a damaged store may still be replaced by extract"


def test_a_folder_with_a_file_of_the_users_own_is_no_store(tmp_path: Path):
    """Otherwise `extract` would delete the file. A further array that the description lists belongs to the store."""
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    draft.add_column("weight", [1.0] * 12, "float32")
    assert not is_store(draft.path)
    draft.seal()
    assert is_store(draft.path)
    (draft.path / "thesis").mkdir()
    assert not is_store(draft.path)
    draft.described["sharded"].append("thesis")
    draft.write_root()
    assert not is_store(draft.path), "a listed folder without an array in it is not the store's"


def test_metadata_survives_a_round_trip():
    content = (SOURCE / "mask" / "zarr.json").read_bytes()
    metadata = ArrayMetadata.from_bytes(content)
    assert metadata.to_bytes() == content
    assert (metadata.shape, metadata.chunk_shape) == ((12, 16, 20), (8, 16, 20))
    assert metadata.encoding == {"name": "class_index", "version": 1}


def test_a_listed_array_that_is_gone_is_missing(tmp_path: Path):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    draft.add_column("weight", [1.0] * 12, "float32")
    draft.seal()
    shutil.rmtree(draft.path / "weight")
    with pytest.raises(StoreIncompleteError, match=r"weight/zarr\.json is missing"):
        AttentionStore.open(draft.path)


@pytest.mark.parametrize("factor", [0.3, 0.35])
def test_a_scale_factor_that_is_not_one_over_a_number_of_keys_cannot_be_upgraded(tmp_path: Path, factor: float):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    _attributes("attention", scale_factor=factor)(draft)
    draft.seal()
    with pytest.raises(StoreCorruptError, match=f"scale_factor {factor}, which is not 1 / keys"):
        layout_of(AttentionStore.open(draft.path))


def test_a_store_that_lost_its_arrays_may_still_be_replaced(tmp_path: Path):
    path = shutil.copytree(SOURCE, tmp_path / "s.zarr")
    shutil.rmtree(path / "image")
    assert is_store(path)


def test_other_values_in_a_column_are_caught_although_their_checksum_is_right(tmp_path: Path):
    path = shutil.copytree(SOURCE, tmp_path / "s.zarr")
    content = bytearray((path / "height" / "c.0").read_bytes())[:-4]
    content[0] ^= 1
    (path / "height" / "c.0").write_bytes(checksummed(bytes(content)))
    with pytest.raises(StoreCorruptError, match=r"column `height` is damaged \(c\.0, samples 0-11\)"):
        AttentionStore.open(path).column("height")


@pytest.mark.parametrize("depth", [300, 700, 100_000])
def test_a_recipe_nested_too_deep_is_damage(tmp_path: Path, depth: int):
    path = shutil.copytree(SOURCE, tmp_path / "s.zarr")
    text = (path / "zarr.json").read_text()
    assert '"recipe": {' in text
    nested = f'"recipe": {{"deep": {"[" * depth}{"]" * depth}, '
    (path / "zarr.json").write_text(text.replace('"recipe": {', nested, 1))
    with pytest.raises(StoreCorruptError, match=r"s\.zarr"):
        AttentionStore.open(path)

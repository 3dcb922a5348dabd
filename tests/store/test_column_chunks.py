"""Decoding a column's chunk: the same values as zarr reads, and no memory for what a chunk only claims."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numcodecs.zstd import Zstd

from store import AttentionStore, StoreVersionError
from store.check import check_store
from store.column_chunks import MOST_BYTES, chunk_size, decode_chunk, is_decodable
from store.column_writer import encode_column_chunk
from store.metadata import ArrayMetadata, column_metadata
from store.shards import checksummed
from tests.store.conformance.cases import SOURCE
from tests.store.conformance.draft import Draft

GOLDEN = SOURCE.parents[1]


def packed(name: str, *, dtype: str, extent: int, row: tuple[int, ...] = ()) -> ArrayMetadata:
    """Return the metadata of a column that is packed by zstd, as in version 1."""
    plain = column_metadata(name, shape=(extent, *row), dtype=dtype, extent=extent)
    first, last = plain.codecs
    return ArrayMetadata(**{**vars(plain), "codecs": (first, {"name": "zstd", "configuration": {}}, last)})


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_columns_are_read_as_zarr_reads_them(version: str):
    """Every column of the golden stores of both versions."""
    store = AttentionStore.open(GOLDEN / version / "store.zarr")
    for name in store.description.columns_sha256:
        theirs = np.asarray(store.array(name)[...])
        ours = store.column(name)
        assert ours.dtype == theirs.dtype, name
        assert ours.shape == theirs.shape, name
        assert ours.tolist() == theirs.tolist(), name


@given(
    values=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=9), more=st.integers(0, 3)
)
def test_texts_are_read_as_they_were_written(values, more):
    metadata = column_metadata("group", shape=(len(values),), dtype="str", extent=len(values) + more)
    content = encode_column_chunk(values, "str", len(values) + more)
    assert decode_chunk(content, metadata).tolist() == values + [""] * more
    assert chunk_size(metadata) is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "does not hold 2 texts"),
        (struct.pack("<I", 2), "does not hold 2 texts"),
        (struct.pack("<3I", 3, 0, 0), "does not hold 2 texts"),
        (struct.pack("<3I", 2, 0, 1), "corrupt buffer"),
        (struct.pack("<3I", 2, 2**32 - 1, 0), "corrupt buffer"),
        (struct.pack("<2I", 2, 1) + b"\xff" + struct.pack("<I", 0), "utf-8"),
    ],
)
def test_texts_that_do_not_fit_their_chunk_are_refused(payload: bytes, reason: str):
    metadata = column_metadata("group", shape=(2,), dtype="str", extent=2)
    with pytest.raises(ValueError, match=reason):
        decode_chunk(checksummed(payload), metadata)


@pytest.mark.parametrize("content", [b"", b"abc", checksummed(bytes(8))[:-1], checksummed(bytes(8)) + b"\0"])
def test_a_wrong_checksum_is_refused(content: bytes):
    metadata = column_metadata("height", shape=(2,), dtype="int32", extent=2)
    assert chunk_size(metadata) == 12
    with pytest.raises(ValueError, match="checksum"):
        decode_chunk(content, metadata)


def test_numbers_of_another_size_are_refused():
    metadata = column_metadata("height", shape=(2,), dtype="int32", extent=2)
    with pytest.raises(ValueError, match="12 bytes in place of 8"):
        decode_chunk(checksummed(bytes(12)), metadata)


def bomb(size: int) -> bytes:
    """Return a Zstandard frame that claims `size` bytes and has one block that repeats a zero."""
    return struct.pack("<IBQ", 0xFD2FB528, 0xE0, size) + struct.pack("<I", (size << 3 | 3) & 0xFFFFFF)


def test_a_packed_column_is_unpacked():
    values = np.arange(6, dtype="<u4").reshape(2, 3)
    content = checksummed(bytes(Zstd().encode(values.tobytes())))
    np.testing.assert_array_equal(decode_chunk(content, packed("checksum", dtype="uint32", extent=2, row=(3,))), values)
    texts = encode_column_chunk(["a", "é"], "str", 2)[:-4]
    content = checksummed(bytes(Zstd().encode(texts)))
    assert decode_chunk(content, packed("group", dtype="str", extent=2)).tolist() == ["a", "é"]


@pytest.mark.parametrize(
    ("metadata", "payload", "reason"),
    [
        (packed("group", dtype="str", extent=2), bomb(MOST_BYTES + 1), "unpacks to"),
        (packed("group", dtype="str", extent=2), bomb(2**62), "unpacks to"),
        (packed("group", dtype="str", extent=2), bomb(2**27), "does not unpack|cannot hold"),
        (packed("group", dtype="str", extent=2), b"no frame", "no Zstandard frame"),
        (packed("group", dtype="str", extent=2), bomb(1)[:6], "cut short"),
        (packed("group", dtype="str", extent=2), bytes.fromhex("28b52ffd0058010000"), "does not say its unpacked size"),
        (packed("height", dtype="int32", extent=2), bomb(2**40), "1099511627776 bytes in place of 8"),
        (packed("height", dtype="int32", extent=2**40), bomb(2**42), "unpacks to"),
        (packed("height", dtype="int32", extent=2**20), bomb(2**22), "cannot hold"),
        (packed("height", dtype="int32", extent=2), bytes(Zstd().encode(bytes(4))), "4 bytes in place of 8"),
    ],
)  # fmt: skip
def test_a_packed_column_is_not_unpacked_beyond_the_promise(metadata: ArrayMetadata, payload: bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        decode_chunk(checksummed(payload), metadata)


def _coded(name: str, values: list[Any], data_type: str, codecs: list[dict[str, Any]], path: Path) -> Draft:
    draft = Draft(shutil.copytree(SOURCE, path))
    draft.add_column(name, values, data_type)
    draft.metadata(name, codecs=codecs)
    draft.seal()
    return draft


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "bytes"}, {"name": "unheard_of"}, {"name": "crc32c"}],
        [{"name": "vlen-utf8"}, {"name": "crc32c"}],
        [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}],
        [{"name": "crc32c"}],
    ],
)
def test_a_further_column_in_other_codecs_is_checked_and_not_read(tmp_path: Path, codecs: list[dict[str, Any]]):
    """A reader must ignore columns that it does not know. Their bytes are compared with their digests all the same."""
    draft = _coded("weight", [0.5] * 12, "float64", codecs, tmp_path / "s.zarr")
    store = AttentionStore.open(draft.path)
    assert not is_decodable(store.arrays["weight"])
    with pytest.raises(StoreVersionError, match="`weight` is stored in a way that this program does not know"):
        store.column("weight")
    assert check_store(draft.path).faults == []
    content = bytearray((draft.path / "weight" / "c.0").read_bytes())
    content[3] ^= 1
    (draft.path / "weight" / "c.0").write_bytes(content)
    assert [fault.text.partition(": ")[2] for fault in check_store(draft.path).faults] == [
        "column `weight` is damaged (c.0, samples 0-11)."
    ]


def test_a_column_of_several_chunks_is_read_whole_and_in_parts(tmp_path: Path):
    """Chunks of five rows: the last one is filled up beyond the samples."""
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    heights = AttentionStore.open(draft.path).column("height")
    draft.metadata("height", chunk_grid={"name": "regular", "configuration": {"chunk_shape": [5]}})
    for number in range(3):
        rows = np.resize(heights[number * 5 : number * 5 + 5], 5).astype("<i4")
        (draft.path / "height" / f"c.{number}").write_bytes(checksummed(rows.tobytes()))
    draft.seal()
    store = AttentionStore.open(draft.path)
    np.testing.assert_array_equal(store.column("height"), heights)
    assert [int(store.columns.value("height", index)) for index in range(12)] == heights.tolist()
    assert store.columns.extents("height") == [(0, 5), (5, 10), (10, 12)]
    np.testing.assert_array_equal(np.asarray(zarr.open_array(draft.path / "height", mode="r")[...]), heights)

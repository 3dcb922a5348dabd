"""Canonical JSON, checksums and column chunks: the exact bytes that FORMAT.md specifies."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from store.column_writer import ColumnWriter, encode_column_chunk
from store.format import canonical_json, chunk_path, contents_sha256, recipe_sha256, written_json
from store.shards import checksummed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [None, True, False]}, '{"a":[null,true,false],"b":1}'),
        ({"ä": 1, "z": 2, "Z": 3}, '{"Z":3,"z":2,"ä":1}'),
        ('"\\/\b\t\n\f\r\x01\x7fä😀', '"\\"\\\\/\\b\\t\\n\\f\\r\\u0001\x7fä😀"'),
        ([1, 1.0, -0.0, 0.485, 0.0001], "[1,1.0,-0.0,0.485,0.0001]"),
        ([0.00001, 2.5e16, 1e16, 1234567890123456.0], "[1e-05,2.5e+16,1e+16,1234567890123456.0]"),
    ],
)
def test_canonical_json_is_as_specified(value: object, text: str):
    assert canonical_json(value) == text


def test_canonical_json_has_no_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([float("nan")])


def test_the_digest_of_the_contents_leaves_out_only_itself():
    one = contents_sha256({"a": 1, "contents_sha256": "x"})
    assert one == contents_sha256({"a": 1}) == recipe_sha256({"a": 1})
    assert one == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert one != contents_sha256({"a": 1, "unknown": None})


def test_metadata_is_indented_by_two_and_unescaped():
    assert written_json({"ä": [], "b": {"c": 1}}) == '{\n  "ä": [],\n  "b": {\n    "c": 1\n  }\n}'.encode()


def test_the_checksum_is_castagnolis():
    assert checksummed(b"123456789")[-4:] == (0xE3069283).to_bytes(4, "little")


def test_column_chunks_have_the_specified_bytes():
    texts = encode_column_chunk(["ä", ""], "str", 3)
    assert texts[:-4] == b"\3\0\0\0\2\0\0\0\xc3\xa4\0\0\0\0\0\0\0\0"
    assert encode_column_chunk([1, -2], "int32", 3)[:-4] == b"\1\0\0\0\xfe\xff\xff\xff\0\0\0\0"
    assert encode_column_chunk([True], "bool", 2)[:-4] == b"\1\0"
    assert encode_column_chunk([[1, 2]], "uint32", 1)[:-4] == b"\1\0\0\0\2\0\0\0"
    assert texts == checksummed(texts[:-4])


@pytest.mark.parametrize(
    ("count", "chunk", "chunks", "files"),
    [(0, 4, (1,), 0), (1, 4, (1,), 1), (3, 4, (3,), 1), (4, 4, (4,), 1), (5, 4, (4,), 2), (8, 4, (4,), 2)],
)
def test_a_column_has_one_chunk_until_it_is_full(tmp_path, count: int, chunk: int, chunks: tuple[int], files: int):
    """Zarr reads the same values, whatever the number of chunks."""
    writer = ColumnWriter(tmp_path, "height", dtype="int32", chunk=chunk)
    for value in range(count):
        writer.append(value + 7)
    metadata = writer.finish()
    (tmp_path / "height" / "zarr.json").write_bytes(metadata.to_bytes())
    assert metadata.chunk_shape == chunks
    assert len(writer.digests) == files == len(list((tmp_path / "height").glob("c.*")))
    array = zarr.open_array(tmp_path / "height", mode="r")
    np.testing.assert_array_equal(array[...], np.arange(count) + 7)


def test_a_chunk_has_one_coordinate_per_dimension(tmp_path):
    assert chunk_path(tmp_path, "a", 3, 1) == tmp_path / "a" / "c.3"
    assert chunk_path(tmp_path, "a", 12, 4) == tmp_path / "a" / "c.12.0.0.0"

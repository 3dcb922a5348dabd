"""Change stores as an attacker would: claim what is not so, and compute every hash anew.

Each change takes a `Draft`, which is sealed afterwards. `CLAIMS` lists them by name with the part of the message that
says what is wrong. The stores differ in size, so numbers are taken from the draft.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from store.format import NAME
from store.shards import checksummed
from tests.store.conformance.draft import Draft

Change = Callable[[Draft], object]


def described(**changes: Any) -> Change:
    """Change keys of the description."""
    return lambda draft: draft.described.update(changes)


def chunks_of(name: str, *shape: Any) -> Change:
    """Change the shape of a column's chunks."""
    grid = {"name": "regular", "configuration": {"chunk_shape": list(shape)}}
    return lambda draft: draft.metadata(name, chunk_grid=grid)


def samples(count: Any) -> Change:
    """Claim another number of samples, in the description and in every array; each column is one chunk of all rows."""

    def change(draft: Draft) -> None:
        draft.described["samples"] = count
        for name in [*draft.described["sharded"], *draft.described["columns_sha256"]]:
            if name == "head":
                continue
            shape = [count, *draft.metadata(name)["shape"][1:]]
            draft.metadata(name, shape=shape)
            if name in draft.described["columns_sha256"]:
                chunks_of(name, *shape)(draft)

    return change


def sample_shape(name: str, *shape: Any) -> Change:
    """Change the shape of a sample in a sharded array, in the grid of shards and in the chunks too."""

    def change(draft: Draft) -> None:
        count, per_shard = draft.described["samples"], draft.described["samples_per_shard"]
        draft.metadata(name, shape=[count, *shape])
        chunks_of(name, per_shard, *shape)(draft)
        draft.sharding(name, chunk_shape=[1, *shape])

    return change


def size(rows: Any, columns: Any) -> Change:
    """Change the size of images and masks."""
    return together(sample_shape("image", rows, columns, 3), sample_shape("mask", rows, columns))


def grid(rows: Any, columns: Any) -> Change:
    """Change the grid of the attention maps."""
    return lambda draft: sample_shape("attention", draft.metadata("attention")["shape"][1], rows, columns)(draft)


def heads(count: int) -> Change:
    """Claim another number of heads."""

    def change(draft: Draft) -> None:
        _, _, *cells = draft.metadata("attention")["shape"]
        sample_shape("attention", count, *cells)(draft)
        draft.metadata("head", shape=[count])
        chunks_of("head", max(1, count))(draft)
        if not count:
            draft.chunks("head")[0].unlink()

    return change


def per_shard(count: Any) -> Change:
    """Claim another number of samples per shard."""

    def change(draft: Draft) -> None:
        draft.described["samples_per_shard"] = count
        for name in draft.described["sharded"]:
            chunks_of(name, count, *draft.metadata(name)["shape"][1:])(draft)

    return change


def attribute(name: str, key: str, value: Any = None) -> Change:
    """Change an attribute of an array."""
    return lambda draft: draft.metadata(name, attributes={**draft.metadata(name)["attributes"], key: value})


def together(*changes: Change) -> Change:
    """Make several changes."""
    return lambda draft: [change(draft) for change in changes]


def text_of(name: str, old: str, new: str) -> Change:
    """Replace text in an array's `zarr.json`."""

    def change(draft: Draft) -> None:
        file = draft.path / name / "zarr.json"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


def column(name: str, *values: int) -> Change:
    """Write the same values into a column of numbers, repeated to its length."""

    def change(draft: Draft) -> None:
        document = draft.metadata(name)
        filled = np.resize(np.array(values, document["data_type"]), document["shape"])
        draft.chunks(name)[0].write_bytes(checksummed(filled.tobytes()))

    return change


def texts(name: str, count: int, *lengths: int) -> Change:
    """Write a chunk of texts that claims `count` texts, and the lengths of some of them."""
    payload = struct.pack(f"<{1 + len(lengths)}I", count, *lengths)
    return lambda draft: draft.chunks(name)[0].write_bytes(checksummed(payload.ljust(400, b"\0")))


def packed_masks(header: bytes) -> Change:
    """Replace the header of the first mask, keeping the rest of the chunk."""

    def change(draft: Draft) -> None:
        chunks = draft.shard_chunks("mask", 0)
        chunks[0] = checksummed(header + chunks[0][len(header) : -4])
        draft.rebuild_shard("mask", 0, chunks)
        checksums = draft.checksums().copy()
        checksums[0, draft.described["sharded"].index("mask")] = int.from_bytes(chunks[0][-4:], "little")
        draft.set_checksums(checksums)

    return change


def sign(draft: Draft, change: Change) -> None:
    """Make a change and compute every digest anew, as far as the arrays that the description names exist."""
    change(draft)
    names = [*draft.described["sharded"], *draft.described["columns_sha256"]]
    if all(NAME.fullmatch(name) for name in names):
        draft.seal()
    else:
        draft.write_root()  # the names are refused before any digest is compared


HUGE, MOST = 2**40, 2**53
KIND, SHAPE = "values of the wrong kind", "a shape is not a list of counts"
CLAIMS: dict[str, tuple[Change, str]] = {
    "samples_beyond_64_bits": (samples(2**63), KIND),
    "samples_huge": (samples(HUGE), "column `checksum` is damaged"),
    "samples_most": (samples(MOST), "column `checksum` is damaged"),
    "samples_negative": (described(samples=-1), KIND),
    "samples_float": (described(samples=12.0), KIND),
    "samples_many_digits": (described(samples=10**300), "zarr.json is damaged"),
    "per_shard_huge": (per_shard(HUGE), "the shard is cut short"),
    "per_shard_beyond": (per_shard(2**63), KIND),
    "per_shard_true": (per_shard(True), KIND),  # noqa: FBT003 - the claim itself
    "no_classes": (described(classes=[]), KIND),
    "one_class": (described(classes=["skin"]), KIND),
    "million_classes": (described(classes=[f"c{number}" for number in range(10**6)]), KIND),
    "class_number": (described(classes=["skin", 1]), KIND),
    "no_heads": (heads(0), "`attention` has samples of the shape (0, "),
    "heads_huge": (heads(HUGE), "`attention` has samples of the shape"),
    "no_grid": (grid(0, 0), "which hold nothing"),
    "grid_huge": (grid(2**26, 2**26), "too large"),
    "no_rows": (size(0, 20), "`image` has samples of the shape (0, 20, 3)"),
    "rows_huge": (size(MOST, MOST), "`image` has samples of the shape"),
    "rows_large": (size(20_000, 20_000), "bytes in place of 1200000000"),
    "rows_negative": (size(-16, 20), SHAPE),
    "rows_float": (size(16.0, 20), SHAPE),
    "rows_true": (size(16, True), SHAPE),  # noqa: FBT003 - the claim itself
    "rows_null": (size(None, 20), SHAPE),
    "rows_beyond": (size(2**63, 20), SHAPE),
    "chunk_true": (
        lambda draft: draft.sharding("mask", chunk_shape=[True, *draft.metadata("mask")["shape"][1:]]),
        "`mask` is not sharded as the format says",
    ),
    "column_chunk_huge": (chunks_of("group", HUGE), "column `group` is damaged"),
    "column_chunk_most": (chunks_of("height", MOST), "column `height` is damaged"),
    "column_chunk_beyond": (chunks_of("height", 2**64 - 1), SHAPE),
    "column_chunk_negative": (chunks_of("height", -1), SHAPE),
    "column_packed": (
        lambda draft: draft.metadata(
            "height", codecs=[{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}, {"name": "crc32c"}]
        ),
        "`height` is packed in a way",
    ),
    "column_big_endian": (
        lambda draft: draft.metadata(
            "height", codecs=[{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]
        ),
        "`height` is packed in a way",
    ),
    "texts_four_billion": (texts("group", 2**32 - 1), "column `group` is damaged"),
    "text_four_billion_long": (
        lambda draft: texts("group", draft.described["samples"], 2**32 - 1)(draft),
        "column `group` is damaged",
    ),
    "name_of_a_parent": (lambda draft: draft.described["sharded"].append("../../etc"), KIND),
    "name_absolute": (lambda draft: draft.described["columns_sha256"].update({"/etc/passwd": []}), KIND),
    "name_with_slash": (lambda draft: draft.described["sharded"].append("image/c"), KIND),
    "name_with_nul": (lambda draft: draft.described["columns_sha256"].update({"a\0b": []}), KIND),
    "name_of_a_megabyte": (lambda draft: draft.described["sharded"].append("a" * 2**20), KIND),
    "image_of_floats": (lambda draft: draft.metadata("image", data_type="float64"), "`image` is float64"),
    "mask_of_objects": (lambda draft: draft.metadata("mask", data_type="object"), "`mask` is object"),
    "type_of_a_list": (lambda draft: draft.metadata("mask", data_type=["uint8"]), "`mask` has no sound zarr.json"),
    "height_unsigned": (lambda draft: draft.metadata("height", data_type="uint64"), "`height` is uint64"),
    "scale_true": (attribute("attention", "scale_factor", value=True), "no sound `scale_factor`"),
    "scale_tiny": (attribute("attention", "scale_factor", 5e-324), "no sound `scale_factor`"),
    "scale_negative": (attribute("attention", "scale_factor", -0.5), "no sound `scale_factor`"),
    "scale_large": (
        text_of("attention", '"scale_factor": 0.', '"scale_factor": 1e3, "x": 0.'),
        "no sound `scale_factor`",
    ),
    "scale_overflow": (text_of("attention", '"scale_factor": 0.', '"scale_factor": 1e400, "x": 0.'), "64-bit floats"),
    "scale_nan": (text_of("attention", '"scale_factor": 0.', '"scale_factor": NaN, "x": 0.'), "it has NaN"),
    "key_twice": (text_of("mask", '"shape"', '"shape": [1, 1, 1], "shape"'), "it has a key twice"),
    "nested": (text_of("mask", '"attributes": {', f'"attributes": {{"deep": {"[" * 900}{"]" * 900}, '), "too deep"),
    "metadata_huge": (
        text_of("mask", '"attributes": {', f'"attributes": {{"a": "{"a" * 2**21}", '),
        "larger than 1 MiB",
    ),
    "surrogate": (text_of("mask", '"attributes": {', '"attributes": {"a": "\\ud800", '), "surrogate"),
    "format_float": (text_of("mask", '"zarr_format": 3', '"zarr_format": 3.0'), "not a Zarr v3 array"),
    "mask_values_huge": (
        lambda draft: draft.described["masks"].update(decoding="mapped", values={"skin": 0, "lesion": 2**40}),
        KIND,
    ),
    "mask_values_true": (
        lambda draft: draft.described["masks"].update(decoding="mapped", values={"skin": False, "lesion": True}),
        KIND,
    ),
    "mask_bomb": (packed_masks(struct.pack("<4B3I", 2, 1, 0x33, 1, 2**31 - 1, 2**31 - 1, 0)), "`mask` of sample 0"),
    "heights_negative": (column("height", -5, 0), "`height`"),
    "widths_zero": (column("width", 0), "`width`"),
}

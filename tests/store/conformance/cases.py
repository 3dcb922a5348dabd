"""List the changes to a valid store, each with its verdict: `CASES`."""

from __future__ import annotations

import shutil

from tests.store.conformance.case import SOURCE, Case, write_case
from tests.store.conformance.changes import (
    append,
    chunks,
    compressed,
    cut,
    described,
    encoding,
    fewer_columns,
    flip,
    gap,
    index_at_start,
    lying_blosc_header,
    no_samples,
    no_scale_factor,
    not_json,
    other_json_style,
    remove,
    swap_files,
    unknown_codec,
    unknown_things,
    unwritten_chunk,
)
from tests.store.conformance.optional_cases import OPTIONAL_CASES

__all__ = ["CASES", "SOURCE", "Case", "write_case"]

CASES = [
    Case("as_written", "valid", "none", lambda _: None),
    Case(
        "unknown_things",
        "valid",
        "an array, a column, keys and attributes that no reader knows",
        unknown_things,
        sealed=True,
    ),
    Case(
        "unknown_codec",
        "valid",
        "a further array in a type and a codec that no reader knows",
        unknown_codec,
        sealed=True,
    ),
    Case(
        "required_known",
        "valid",
        "requires an array that every reader knows",
        lambda draft: draft.described["required"].append("mask"),
        sealed=True,
    ),
    Case("other_json_style", "valid", "metadata of arrays as JSON without spaces", other_json_style, sealed=True),
    Case("compressed", "valid", "images and attention packed by zstd", compressed, sealed=True, codecs=("zstd",)),
    Case("no_samples", "valid", "no samples at all", no_samples, sealed=True),
    Case("no_root", "not_a_store", "no zarr.json of the group", remove("zarr.json")),
    Case("foreign_group", "not_a_store", "a group without the attribute", lambda draft: draft.write_root(other=1)),
    Case(
        "an_array",
        "not_a_store",
        "an array in place of the group",
        lambda draft: shutil.copy(draft.path / "image" / "zarr.json", draft.path / "zarr.json"),
    ),
    Case("version_3", "version", "a later version", described(version=3)),
    Case("version_0", "version", "a version that never was", described(version=0)),
    Case(
        "required_feature",
        "version",
        "requires a feature that no reader knows",
        lambda draft: draft.described["required"].append("novelty"),
        sealed=True,
    ),
    Case(
        "required_array",
        "version",
        "requires an optional array that no reader knows",
        lambda draft: (unknown_things(draft), draft.described["required"].append("depth")),
        sealed=True,
    ),
    Case(
        "encoding_version",
        "version",
        "`image` in a later version of its encoding",
        encoding("image", {"name": "rgb", "version": 2}),
        sealed=True,
    ),
    Case(
        "encoding_name",
        "version",
        "`attention` in an encoding of another name",
        encoding("attention", {"name": "logits", "version": 1}),
        sealed=True,
    ),
    Case("encoding_missing", "version", "`group` without an encoding", encoding("group", None), sealed=True),
    Case("no_shard", "incomplete", "a shard of `attention` is missing", remove("attention/c.1.0.0.0")),
    Case("no_column_chunk", "incomplete", "a chunk of the column `group` is missing", remove("group/c.0")),
    Case("no_array", "incomplete", "the metadata of `mask` is missing", remove("mask/zarr.json")),
    Case("not_json", "corrupt", "the group's zarr.json is cut short", not_json),
    Case("image_bit", "corrupt", "a bit of an image is flipped", flip("image", 100)),
    Case("mask_bit", "corrupt", "a bit of a mask is flipped", flip("mask", 30)),
    Case("attention_bit", "corrupt", "a bit of an attention map is flipped", flip("attention", 100, shard=1)),
    Case("chunk_checksum_bit", "corrupt", "a bit of a chunk's checksum is flipped", flip("image", 960)),
    Case("index_bit", "corrupt", "a bit of a shard's index is flipped", flip("image", -100)),
    Case(
        "unused_index_bit",
        "corrupt",
        "a bit of the part of an index that belongs to no sample is flipped",
        flip("image", -10, shard=1),
    ),
    Case("column_bit", "corrupt", "a bit of the column `height` is flipped", flip("height", 2)),
    Case("head_bit", "corrupt", "a bit of the names of the heads is flipped", flip("head", 9)),
    Case("shard_cut", "corrupt", "a shard is cut short", cut("image", 4000)),
    Case("shard_empty", "corrupt", "a shard is empty", cut("mask", 0)),
    Case("shard_longer", "corrupt", "a shard has a byte more", append("attention", b"\0")),
    Case("shards_swapped", "corrupt", "two shards have changed places", swap_files("image")),
    Case(
        "chunks_swapped",
        "corrupt",
        "two samples of a shard have changed places, the index is right",
        chunks("attention", 0, lambda chunks: [chunks[1], chunks[0], *chunks[2:]]),
    ),
    Case("chunk_unwritten", "corrupt", "a sample is marked as never written, the index is right", unwritten_chunk),
    Case("chunk_gap", "corrupt", "a byte before the first chunk, the index is right", gap),
    Case(
        "blosc_header",
        "corrupt",
        "a mask's header claims another size, all checksums are right",
        lying_blosc_header,
        sealed=True,
    ),
    Case(
        "description_edited",
        "corrupt",
        "a class has another name",
        lambda draft: (draft.described["classes"].reverse(), draft.write_root()),
    ),
    Case(
        "recipe_edited",
        "corrupt",
        "the recipe has another model",
        lambda draft: (draft.described["recipe"].update(model="other"), draft.write_root()),
    ),
    Case("unknown_key_edited", "corrupt", "an unknown key was added without a new digest", described(novelty=1)),
    Case(
        "metadata_edited",
        "corrupt",
        "the metadata of `mask` has another fill value",
        lambda draft: draft.metadata("mask", fill_value=1),
    ),
    Case(
        "key_missing",
        "corrupt",
        "the description has no `classes`",
        lambda draft: draft.described.pop("classes"),
        sealed=True,
    ),
    Case(
        "kind_of_samples",
        "corrupt",
        "the number of samples is a text",
        lambda draft: draft.described.update(samples="12"),
        sealed=True,
    ),
    Case(
        "fewer_samples",
        "corrupt",
        "the description says 11 samples",
        lambda draft: draft.described.update(samples=11),
        sealed=True,
    ),
    Case(
        "other_shards",
        "corrupt",
        "the description says 4 samples per shard",
        lambda draft: draft.described.update(samples_per_shard=4),
        sealed=True,
    ),
    Case(
        "column_not_listed", "corrupt", "the description does not list the column `digest`", fewer_columns, sealed=True
    ),
    Case(
        "name_of_a_path",
        "corrupt",
        "the description lists an array outside the store",
        lambda draft: (draft.described["sharded"].append("../image"), draft.write_root()),
    ),
    Case(
        "other_type",
        "corrupt",
        "`height` is unsigned",
        lambda draft: draft.metadata("height", data_type="uint32"),
        sealed=True,
    ),
    Case(
        "other_dimensions",
        "corrupt",
        "the dimensions of `mask` are swapped",
        lambda draft: draft.metadata("mask", dimension_names=["sample", "column", "row"]),
        sealed=True,
    ),
    Case(
        "other_codec",
        "corrupt",
        "`image` is packed by an unknown codec",
        lambda draft: draft.sharding(
            "image", codecs=[{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}, {"name": "crc32c"}]
        ),
        sealed=True,
    ),
    Case("index_at_start", "corrupt", "the arrays say that the index is at the start", index_at_start, sealed=True),
    Case(
        "other_separator",
        "corrupt",
        "the chunks of `group` are in folders",
        lambda draft: draft.metadata(
            "group", chunk_key_encoding={"name": "default", "configuration": {"separator": "/"}}
        ),
        sealed=True,
    ),
    Case("scale_factor", "corrupt", "`attention` has no scale_factor", no_scale_factor, sealed=True),
    *OPTIONAL_CASES,
]
"""Every store of the set."""

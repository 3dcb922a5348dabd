"""List the changes to a valid store, each with its verdict: `CASES`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from store.shards import checksummed, encode_chunk
from tests.store.conformance.draft import Draft

SOURCE = Path(__file__).parents[2] / "golden" / "v2" / "store.zarr"

Verdict = Literal["valid", "not_a_store", "version", "incomplete", "corrupt"]
Change = Callable[[Draft], object]


@dataclass(frozen=True)
class Case:
    """Describe one store of the set."""

    name: str
    verdict: Verdict
    what: str
    """The change, in words."""
    change: Change
    sealed: bool = False
    """True if all digests are recomputed after the change."""
    codecs: tuple[str, ...] = ()
    """Codecs of Zarr v3 that a reader needs besides `bytes`, `vlen-utf8`, `crc32c` and `blosc` with LZ4."""


def write_case(case: Case, path: Path) -> Path:
    """Write the store of a case at `path`."""
    shutil.copytree(SOURCE, path)
    draft = Draft(path)
    case.change(draft)
    if case.sealed:
        draft.seal()
    return path


def _described(**changes: object) -> Change:
    """Change the description's keys."""
    return lambda draft: (draft.described.update(changes), draft.write_root())


def _flip(name: str, position: int, shard: int = 0) -> Change:
    def change(draft: Draft) -> None:
        file = draft.chunks(name)[shard]
        content = bytearray(file.read_bytes())
        content[position] ^= 1
        file.write_bytes(content)

    return change


def _remove(name: str) -> Change:
    return lambda draft: (draft.path / name).unlink()


def _swap_files(name: str) -> Change:
    def change(draft: Draft) -> None:
        one, other = draft.chunks(name)
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])

    return change


def _chunks(name: str, shard: int, edit: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda draft: draft.rebuild_shard(name, shard, edit(draft.shard_chunks(name, shard)))


def _append(name: str, more: bytes) -> Change:
    return lambda draft: draft.chunks(name)[0].write_bytes(draft.chunks(name)[0].read_bytes() + more)


def _cut(name: str, length: int) -> Change:
    return lambda draft: draft.chunks(name)[0].write_bytes(draft.chunks(name)[0].read_bytes()[:length])


def _encoding(name: str, encoding: object) -> Change:
    def change(draft: Draft) -> None:
        attributes = draft.metadata(name)["attributes"]
        draft.metadata(name, attributes={**attributes, "encoding": encoding})

    return change


def _every_optional_part(draft: Draft) -> None:
    samples = draft.described["samples"]
    random = np.random.default_rng(0)
    draft.add_column("parent", [f"volume_{index // 4}" for index in range(samples)], "string")
    draft.add_column("row", [16 * (index % 4) for index in range(samples)], "int32")
    draft.add_column("column", [0] * samples, "int32")
    draft.add_column("slice", list(range(samples)), "int32")
    instances = random.integers(0, 3, (samples, 16, 20)).astype(np.uint16)
    draft.add_sharded("instances", instances, ("sample", "row", "column"), encoding="instance_index", packing="lz4")
    features = random.standard_normal((samples, 3, 4, 6)).astype(np.float16)
    names = ("sample", "features_channel", "features_row", "features_column")
    draft.add_sharded("features", features, names, encoding="map")
    draft.described["maps"] = {"features": {"recipe": {"model": "any"}, "recipe_sha256": "0" * 64}}
    draft.described["upgraded_from"] = ["0" * 64]


def _unknown_things(draft: Draft) -> None:
    draft.described["novelty"] = {"anything": [1, 2.5, None]}
    draft.described["masks"]["novelty"] = True
    draft.add_column("weight", [0.5] * draft.described["samples"], "float64")
    depth = np.arange(draft.described["samples"] * 6, dtype=np.int16).reshape(-1, 2, 3)
    draft.add_sharded("depth", depth, ("sample", "a", "b"), encoding="unheard_of", anything=[1])
    attributes = draft.metadata("image")["attributes"]
    draft.metadata("image", attributes={**attributes, "novelty": 1})


def _unknown_codec(draft: Draft) -> None:
    """Add an array whose chunks cannot be decoded. Only their checksums can be checked."""
    draft.add_sharded("depth", np.ones((draft.described["samples"], 2), np.int16), ("sample", "a"), encoding="depth")
    draft.sharding("depth", codecs=[{"name": "bytes"}, {"name": "unheard_of"}, {"name": "crc32c"}])
    draft.metadata("depth", data_type="unheard_of")


def _other_json_style(draft: Draft) -> None:
    import json

    for name in ("image", "group", "checksum"):
        file = draft.path / name / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_bytes()), separators=(",", ":"), sort_keys=True))


def _compressed(draft: Draft) -> None:
    checksums = draft.checksums().copy()
    for column, (name, dtype, shape) in {
        0: ("image", "u1", (16, 20, 3)),
        2: ("attention", "<f2", (12, 4, 6)),
    }.items():
        for number, first in ((0, 0), (1, 8)):
            raw = [np.frombuffer(chunk[:-4], dtype).reshape(shape) for chunk in draft.shard_chunks(name, number)]
            packed = [encode_chunk(values, "zstd") for values in raw]
            draft.rebuild_shard(name, number, [chunk for chunk, _ in packed])
            checksums[first : first + len(packed), column] = [crc for _, crc in packed]
        inner = draft.metadata(name)["codecs"][0]["configuration"]["codecs"]
        zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
        draft.sharding(name, codecs=[inner[0], zstd, inner[-1]])
    draft.set_checksums(checksums)


def _no_samples(draft: Draft) -> None:
    draft.described["samples"] = 0
    for name in [*draft.described["sharded"], *draft.described["columns_sha256"]]:
        if name != "head":
            shape = draft.metadata(name)["shape"]
            draft.metadata(name, shape=[0, *shape[1:]])
            for file in draft.chunks(name):
                file.unlink()


def _unwritten_chunk(draft: Draft) -> None:
    """Leave the shard's last sample unwritten, in an index whose checksum is right."""
    draft.rebuild_shard("image", 0, draft.shard_chunks("image", 0)[:-1])


def _gap(draft: Draft) -> None:
    """Put a byte before the chunks, in an index whose checksum is right."""
    file = draft.chunks("image")[0]
    content, per_shard = file.read_bytes(), draft.described["samples_per_shard"]
    index = np.frombuffer(content[-per_shard * 16 - 4 : -4], "<u8").reshape(per_shard, 2).copy()
    index[:, 0] += 1
    file.write_bytes(b"\0" + content[: -per_shard * 16 - 4] + checksummed(index.tobytes()))


def _lying_blosc_header(draft: Draft) -> None:
    """Let a mask's header claim twice the size, with right checksums everywhere."""
    chunks = draft.shard_chunks("mask", 0)
    header = bytearray(chunks[0][:-4])
    header[4:8] = (640).to_bytes(4, "little")
    chunks[0] = checksummed(bytes(header))
    draft.rebuild_shard("mask", 0, chunks)
    checksums = draft.checksums().copy()
    checksums[0, 1] = int.from_bytes(chunks[0][-4:], "little")
    draft.set_checksums(checksums)


def _index_at_start(draft: Draft) -> None:
    for name in draft.described["sharded"]:
        draft.sharding(name, index_location="start")


def _fewer_columns(draft: Draft) -> None:
    del draft.described["columns_sha256"]["digest"]


def _not_json(draft: Draft) -> None:
    (draft.path / "zarr.json").write_bytes((draft.path / "zarr.json").read_bytes()[:100])


def _no_scale_factor(draft: Draft) -> None:
    draft.metadata("attention", attributes={"encoding": {"name": "attention_map", "version": 1}})


CASES = [
    Case("as_written", "valid", "none", lambda _: None),
    Case(
        "every_optional_part",
        "valid",
        "every optional array, column and key of the format",
        _every_optional_part,
        sealed=True,
    ),
    Case(
        "unknown_things",
        "valid",
        "an array, a column, keys and attributes that no reader knows",
        _unknown_things,
        sealed=True,
    ),
    Case(
        "unknown_codec",
        "valid",
        "a further array in a type and a codec that no reader knows",
        _unknown_codec,
        sealed=True,
    ),
    Case(
        "required_known",
        "valid",
        "requires an array that every reader knows",
        lambda draft: draft.described["required"].append("mask"),
        sealed=True,
    ),
    Case("other_json_style", "valid", "metadata of arrays as JSON without spaces", _other_json_style, sealed=True),
    Case("compressed", "valid", "images and attention packed by zstd", _compressed, sealed=True, codecs=("zstd",)),
    Case("no_samples", "valid", "no samples at all", _no_samples, sealed=True),
    Case("no_root", "not_a_store", "no zarr.json of the group", _remove("zarr.json")),
    Case("foreign_group", "not_a_store", "a group without the attribute", lambda draft: draft.write_root(other=1)),
    Case(
        "an_array",
        "not_a_store",
        "an array in place of the group",
        lambda draft: shutil.copy(draft.path / "image" / "zarr.json", draft.path / "zarr.json"),
    ),
    Case("version_3", "version", "a later version", _described(version=3)),
    Case("version_0", "version", "a version that never was", _described(version=0)),
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
        lambda draft: (_unknown_things(draft), draft.described["required"].append("depth")),
        sealed=True,
    ),
    Case(
        "encoding_version",
        "version",
        "`image` in a later version of its encoding",
        _encoding("image", {"name": "rgb", "version": 2}),
        sealed=True,
    ),
    Case(
        "encoding_name",
        "version",
        "`attention` in an encoding of another name",
        _encoding("attention", {"name": "logits", "version": 1}),
        sealed=True,
    ),
    Case("encoding_missing", "version", "`group` without an encoding", _encoding("group", None), sealed=True),
    Case("no_shard", "incomplete", "a shard of `attention` is missing", _remove("attention/c.1.0.0.0")),
    Case("no_column_chunk", "incomplete", "a chunk of the column `group` is missing", _remove("group/c.0")),
    Case("no_array", "incomplete", "the metadata of `mask` is missing", _remove("mask/zarr.json")),
    Case("not_json", "corrupt", "the group's zarr.json is cut short", _not_json),
    Case("image_bit", "corrupt", "a bit of an image is flipped", _flip("image", 100)),
    Case("mask_bit", "corrupt", "a bit of a mask is flipped", _flip("mask", 30)),
    Case("attention_bit", "corrupt", "a bit of an attention map is flipped", _flip("attention", 100, shard=1)),
    Case("chunk_checksum_bit", "corrupt", "a bit of a chunk's checksum is flipped", _flip("image", 960)),
    Case("index_bit", "corrupt", "a bit of a shard's index is flipped", _flip("image", -100)),
    Case(
        "unused_index_bit",
        "corrupt",
        "a bit of the part of an index that belongs to no sample is flipped",
        _flip("image", -10, shard=1),
    ),
    Case("column_bit", "corrupt", "a bit of the column `height` is flipped", _flip("height", 2)),
    Case("head_bit", "corrupt", "a bit of the names of the heads is flipped", _flip("head", 9)),
    Case("shard_cut", "corrupt", "a shard is cut short", _cut("image", 4000)),
    Case("shard_empty", "corrupt", "a shard is empty", _cut("mask", 0)),
    Case("shard_longer", "corrupt", "a shard has a byte more", _append("attention", b"\0")),
    Case("shards_swapped", "corrupt", "two shards have changed places", _swap_files("image")),
    Case(
        "chunks_swapped",
        "corrupt",
        "two samples of a shard have changed places, the index is right",
        _chunks("attention", 0, lambda chunks: [chunks[1], chunks[0], *chunks[2:]]),
    ),
    Case("chunk_unwritten", "corrupt", "a sample is marked as never written, the index is right", _unwritten_chunk),
    Case("chunk_gap", "corrupt", "a byte before the first chunk, the index is right", _gap),
    Case(
        "blosc_header",
        "corrupt",
        "a mask's header claims another size, all checksums are right",
        _lying_blosc_header,
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
    Case("unknown_key_edited", "corrupt", "an unknown key was added without a new digest", _described(novelty=1)),
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
        "column_not_listed", "corrupt", "the description does not list the column `digest`", _fewer_columns, sealed=True
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
    Case("index_at_start", "corrupt", "the arrays say that the index is at the start", _index_at_start, sealed=True),
    Case(
        "other_separator",
        "corrupt",
        "the chunks of `group` are in folders",
        lambda draft: draft.metadata(
            "group", chunk_key_encoding={"name": "default", "configuration": {"separator": "/"}}
        ),
        sealed=True,
    ),
    Case("scale_factor", "corrupt", "`attention` has no scale_factor", _no_scale_factor, sealed=True),
]
"""Every store of the set."""

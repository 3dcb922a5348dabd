"""Change a draft of a store: the functions that the cases of the conformance set are made from.

Changes of optional parts are in `tests.store.conformance.optional_changes`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from store.shards import checksummed, encode_chunk
from tests.store.conformance.draft import Draft

Change = Callable[[Draft], object]


def described(**changes: object) -> Change:
    """Change the description's keys."""
    return lambda draft: (draft.described.update(changes), draft.write_root())


def flip(name: str, position: int, shard: int = 0) -> Change:
    def change(draft: Draft) -> None:
        file = draft.chunks(name)[shard]
        content = bytearray(file.read_bytes())
        content[position] ^= 1
        file.write_bytes(content)

    return change


def remove(name: str) -> Change:
    return lambda draft: (draft.path / name).unlink()


def swap_files(name: str) -> Change:
    def change(draft: Draft) -> None:
        one, other = draft.chunks(name)
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])

    return change


def chunks(name: str, shard: int, edit: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda draft: draft.rebuild_shard(name, shard, edit(draft.shard_chunks(name, shard)))


def append(name: str, more: bytes) -> Change:
    return lambda draft: draft.chunks(name)[0].write_bytes(draft.chunks(name)[0].read_bytes() + more)


def cut(name: str, length: int) -> Change:
    return lambda draft: draft.chunks(name)[0].write_bytes(draft.chunks(name)[0].read_bytes()[:length])


def encoding(name: str, encoding: object) -> Change:
    def change(draft: Draft) -> None:
        attributes = draft.metadata(name)["attributes"]
        draft.metadata(name, attributes={**attributes, "encoding": encoding})

    return change


def unknown_things(draft: Draft) -> None:
    draft.described["novelty"] = {"anything": [1, 2.5, None]}
    draft.described["masks"]["novelty"] = True
    draft.add_column("weight", [0.5] * draft.described["samples"], "float64")
    depth = np.arange(draft.described["samples"] * 6, dtype=np.int16).reshape(-1, 2, 3)
    draft.add_sharded("depth", depth, ("sample", "a", "b"), encoding="unheard_of", anything=[1])
    attributes = draft.metadata("image")["attributes"]
    draft.metadata("image", attributes={**attributes, "novelty": 1})


def unknown_codec(draft: Draft) -> None:
    """Add an array whose chunks cannot be decoded. Only their checksums can be checked."""
    draft.add_sharded("depth", np.ones((draft.described["samples"], 2), np.int16), ("sample", "a"), encoding="depth")
    draft.sharding("depth", codecs=[{"name": "bytes"}, {"name": "unheard_of"}, {"name": "crc32c"}])
    draft.metadata("depth", data_type="unheard_of")


def other_json_style(draft: Draft) -> None:
    import json

    for name in ("image", "group", "checksum"):
        file = draft.path / name / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_bytes()), separators=(",", ":"), sort_keys=True))


def compressed(draft: Draft) -> None:
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


def no_samples(draft: Draft) -> None:
    draft.described["samples"] = 0
    for name in [*draft.described["sharded"], *draft.described["columns_sha256"]]:
        if name != "head":
            shape = draft.metadata(name)["shape"]
            draft.metadata(name, shape=[0, *shape[1:]])
            for file in draft.chunks(name):
                file.unlink()


def unwritten_chunk(draft: Draft) -> None:
    """Leave the shard's last sample unwritten, in an index whose checksum is right."""
    draft.rebuild_shard("image", 0, draft.shard_chunks("image", 0)[:-1])


def gap(draft: Draft) -> None:
    """Put a byte before the chunks, in an index whose checksum is right."""
    file = draft.chunks("image")[0]
    content, per_shard = file.read_bytes(), draft.described["samples_per_shard"]
    index = np.frombuffer(content[-per_shard * 16 - 4 : -4], "<u8").reshape(per_shard, 2).copy()
    index[:, 0] += 1
    file.write_bytes(b"\0" + content[: -per_shard * 16 - 4] + checksummed(index.tobytes()))


def lying_blosc_header(draft: Draft) -> None:
    """Let a mask's header claim twice the size, with right checksums everywhere."""
    chunks = draft.shard_chunks("mask", 0)
    header = bytearray(chunks[0][:-4])
    header[4:8] = (640).to_bytes(4, "little")
    chunks[0] = checksummed(bytes(header))
    draft.rebuild_shard("mask", 0, chunks)
    checksums = draft.checksums().copy()
    checksums[0, 1] = int.from_bytes(chunks[0][-4:], "little")
    draft.set_checksums(checksums)


def index_at_start(draft: Draft) -> None:
    for name in draft.described["sharded"]:
        draft.sharding(name, index_location="start")


def fewer_columns(draft: Draft) -> None:
    del draft.described["columns_sha256"]["digest"]


def not_json(draft: Draft) -> None:
    (draft.path / "zarr.json").write_bytes((draft.path / "zarr.json").read_bytes()[:100])


def no_scale_factor(draft: Draft) -> None:
    draft.metadata("attention", attributes={"encoding": {"name": "attention_map", "version": 1}})

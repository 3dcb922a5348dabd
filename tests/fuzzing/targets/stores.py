"""Attention stores: the description, the metadata of arrays, columns and shards, with right digests and with wrong ones.

An input is one byte of flags and a bundle of files. Each file replaces one of a small sound store. With `SIGN_…` set, the
digests and checksums are computed anew after that, so that the parsers behind them are reached.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
from functools import cache
from pathlib import Path

import numpy as np

from store.check import check_store
from store.class_shares import class_shares
from store.reader import AttentionStore
from store.root import is_store
from store.upgrade import upgrade_store
from store.values import count_lost_classes
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
from tests.fuzzing.mutations import change_bundle, change_bytes, change_json, join_bundle, split_bundle
from tests.fuzzing.signing import sign
from tests.fuzzing.target import ROOT, Target
from tests.fuzzing.targets.place import folder

SIGN_METADATA, SIGN_COLUMNS, SIGN_SHARDS = 1, 2, 4
BASE = 16
"""Flags above this value choose the sound store."""
MOST_READ = 4
WORDS = (
    "version", "required", "recipe", "classes", "masks", "samples", "samples_per_shard", "sharded", "skipped",
    "columns_sha256", "upgraded_from", "values", "decoding", "mapped", "binary", "pairing", "rules", "labels", "threshold",
    "unclear", "resize", "shape", "data_type", "uint8", "uint16", "uint32", "int32", "int64", "float16", "float64", "bool",
    "string", "chunk_grid", "configuration", "chunk_shape", "chunk_key_encoding", "separator", "codecs", "bytes", "endian",
    "crc32c", "zstd", "lz4", "vlen-utf8", "gzip", "blosc", "numcodecs.lz4", "sharding_indexed", "index_codecs",
    "index_location", "fill_value", "attributes", "encoding", "dimension_names", "sample", "head", "scale_factor",
    "label_bits", "storage_transformers", "instances", "objects", "lost_objects", "lost_classes", "perceptual_hash",
)  # fmt: skip


@cache
def sound_stores() -> list[dict[str, bytes]]:
    """Return the files of some small stores, by their path in the store: plain, with optional parts, version 1."""
    plain = Layout(size=(5, 6), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])
    packed = dataclasses.replace(plain, compress=True)
    rich = dataclasses.replace(
        plain, instances=True, columns=("objects", "lost_objects", "lost_classes", "perceptual_hash")
    )
    labels = dataclasses.replace(plain, multilabel=True, classes=["skin", "lesion", "vessel"])
    made = []
    for number, layout in enumerate((plain, packed, rich, labels)):
        path = folder() / f"sound{number}.zarr"
        with new_store(path, layout=layout, recipe=RECIPE) as writer:
            for index in range(3):
                sample = random_sample(index, layout)
                if layout.instances:
                    sample = dataclasses.replace(
                        sample, instances=sample.mask.astype(np.uint16), objects=1, lost_objects=0, lost_classes="",
                        perceptual_hash="0" * 16,
                    )  # fmt: skip
                writer.append(sample)
        made.append(path)
    made.append(ROOT / "tests" / "golden" / "v1" / "store.zarr")
    return [
        {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
        for path in made
    ]


def run(data: bytes) -> None:
    """Write the store; open, read and check it, and upgrade it if it is of version 1."""
    flags = data[0] if data else 0
    sound = sound_stores()[flags // BASE % len(sound_stores())]
    names = list(sound)
    files = {**sound, **{names[number % len(names)]: content for number, content in split_bundle(data[1:])}}
    files = sign(
        files,
        metadata=bool(flags & SIGN_METADATA),
        columns=bool(flags & SIGN_COLUMNS),
        shards=bool(flags & SIGN_SHARDS),
    )
    path = folder() / "s.zarr"
    shutil.rmtree(path, ignore_errors=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    _use(path)


def _use(path: Path) -> None:
    is_store(path)
    for fault in check_store(path).faults:
        fault.text.encode()
    store = AttentionStore.open(path)
    count = min(len(store), MOST_READ)
    store.read(range(count))
    for index in range(count):
        store[index].id.encode()
    _ = store.heads, store.ids, store.labelled, store.size, store.grid
    class_shares(store)
    if store.has("lost_classes"):
        count_lost_classes(store)
    if store.description.version == 1:
        upgrade_store(path)


def seeds() -> list[bytes]:
    """Return every store without a change, and each file of the store with all optional parts as a part to change."""
    made = [bytes([number * BASE + flags]) for number in range(len(sound_stores())) for flags in (0, 7)]
    for number, files in enumerate(sound_stores()):
        parts = [part for part in enumerate(files.values()) if part[1][:1] == b"{"]
        made.append(bytes([number * BASE + SIGN_METADATA]) + join_bundle(parts))
        made.append(bytes([number * BASE + 7]) + join_bundle(parts))
        if number == 2:
            made += [bytes([number * BASE + 7]) + join_bundle([part]) for part in enumerate(files.values())]
    return made


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change one file of the store, or the flags."""
    if not data or rng.random() < 0.05:
        return bytes([rng.randrange(BASE * len(sound_stores()))]) + data[1:]
    files = list(sound_stores()[data[0] // BASE % len(sound_stores())].values())
    return data[:1] + change_bundle(data[1:], rng, files, _change_file)


def _change_file(_: int, content: bytes, rng: random.Random) -> bytes:
    return change_json(content, rng, WORDS) if content[:1] == b"{" else change_bytes(content, rng)


TARGET = Target(
    name="stores",
    parser="attention stores: description, metadata, columns, shards",
    run=run,
    seeds=seeds,
    sound=10,
    mutate=mutate,
    tokens=WORDS,
    longest=1 << 17,
)

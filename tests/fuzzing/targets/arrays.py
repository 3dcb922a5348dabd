"""Array files: `.npz` with an image and a label."""

from __future__ import annotations

import io
import random

import numpy as np

from stages.imaging.arrays import array_size, read_image_array, read_label_array
from tests.fuzzing.containers import change_zip
from tests.fuzzing.mutations import change_bytes
from tests.fuzzing.target import Target
from tests.fuzzing.targets.place import write

SIZE = (6, 8)


def run(data: bytes) -> None:
    """Read the size, the image and the label."""
    path = write("a.npz", data)
    array_size(path)
    read_image_array(path)
    read_label_array(path, SIZE)


def seeds() -> list[bytes]:
    """Return files of several types, compressed and not."""
    made = []
    for dtype in (np.uint8, np.float32, np.float64, bool):
        content = io.BytesIO()
        save = np.savez_compressed if dtype is np.uint8 else np.savez
        save(content, image=np.ones(SIZE, dtype), label=np.ones(SIZE, dtype))
        made.append(content.getvalue())
    return made


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the header or the bytes of an array."""
    return change_zip(data, rng, _member)


def _member(_: str, content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    header, values = content[:128], content[128:]
    word = rng.choice(HEADERS).encode()
    old = rng.choice(("(6, 8)", "|u1", "<f4", "<f8", "|b1", "False", "'descr'", "'shape'", "NUMPY\x01")).encode()
    return header.replace(old, word) + values


HEADERS = (
    "(6,)", "()", "(10**9, 8)", "(1000000000, 8)", "(0, 8)", "(-6, -8)", "(6, 8.0)", "(6, 8, 1)", "(99999999999999999999, 8)",
    "|O", "<f2", ">f8", "<c8", "<M8[s]", "|S3", "<U2", "[('a', '<f4')]", "True", "1", "None", "NUMPY\x02", "NUMPY\x03",
    "NUMPY\x09", "'x'", "(((((",
)  # fmt: skip

TARGET = Target(
    name="arrays",
    parser="array files (`.npz`)",
    run=run,
    seeds=seeds,
    sound=4,
    mutate=mutate,
    tokens=["descr", "fortran_order", "shape", "image.npy", "label.npy"],
    longest=1 << 14,
)

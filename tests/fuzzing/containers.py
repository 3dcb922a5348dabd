"""Mutations of `.safetensors` files and zip archives: the inner parts change, and the outer form stays right."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzzing.mutations import change_bytes, change_json, change_text, dump_json

__all__ = ["change_safetensors", "change_zip", "lay_out"]

SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
}
"""Bytes of one value of a tensor, by the name of its type in `.safetensors`."""
MOST_ZEROS = 1 << 20


def change_safetensors(data: bytes, rng: random.Random, key: str, tokens: Sequence[str] = ()) -> bytes:
    """Change the JSON header of a `.safetensors` file, or the JSON document under `key` of its metadata."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.04 or not 2 <= length <= len(data) - 8:
        return change_bytes(data, rng)
    header, body = data[8 : 8 + length], data[8 + length :]
    try:
        parsed = json.loads(header)
        card = parsed["__metadata__"][key]
    except (ValueError, KeyError, TypeError, RecursionError):
        parsed, card = None, None
    choice = rng.random()
    if isinstance(parsed, dict) and choice < 0.25:
        return lay_out(_change_tensors(parsed, rng), data)
    if isinstance(card, str) and choice < 0.85:
        parsed["__metadata__"][key] = change_json(card.encode(errors="replace"), rng, tokens).decode(errors="replace")
        header = dump_json(parsed)
    elif choice < 0.94:
        header = change_json(header, rng, (*tokens, "F64", "I64", "BOOL", "U8", "BF16", "F8_E4M3", "dtype", "shape"))
    else:
        body = change_bytes(body, rng)
    return struct.pack("<Q", len(header)) + header + body


def _change_tensors(header: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return a header without a tensor, or with one of another name, type or shape. The offsets become wrong."""
    names = [name for name, value in header.items() if name != "__metadata__" and isinstance(value, dict)]
    if not names:
        return header
    name = rng.choice(names)
    tensor = dict(header[name])
    changed = {key: value for key, value in header.items() if key != name}
    match rng.randrange(4):
        case 0:
            return changed
        case 1:
            return {**changed, change_text(name, rng, names): tensor}
        case 2:
            tensor["dtype"] = rng.choice(list(SIZES))
        case _:
            tensor["shape"] = rng.choice(([], [0], [1], [2, 3], [0, 10**9], [2**31, 0], [1] * 70, [1, 1, 1]))
    return {**changed, name: tensor}


def lay_out(header: dict[str, Any], sound: bytes) -> bytes:
    """Return a `.safetensors` with right offsets. Tensors have the bytes that they have in `sound`, or zeros.

    Args:
        header: the parsed header; its offsets do not matter.
        sound: a file with tensors of the same names, or any bytes.
    """
    length = int.from_bytes(sound[:8], "little")
    try:
        old = json.loads(sound[8 : 8 + length])
    except (ValueError, RecursionError):
        old = {}
    content, at = [], 0
    laid: dict[str, Any] = {}
    for name, tensor in header.items():
        if name == "__metadata__" or not isinstance(tensor, dict):
            laid[name] = tensor
            continue
        try:
            size = SIZES[tensor["dtype"]] * math.prod(map(int, tensor["shape"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            size = 4
        try:
            begin, end = old[name]["data_offsets"]
            values = sound[8 + length + begin : 8 + length + end]
        except (KeyError, TypeError, ValueError):
            values = b""
        if len(values) != size:
            values = bytes(max(0, min(size, MOST_ZEROS)))
        content.append(values)
        laid[name] = {**tensor, "data_offsets": [at, at + len(values)]}
        at += len(values)
    written = dump_json(laid)
    return struct.pack("<Q", len(written)) + written + b"".join(content)


def change_zip(data: bytes, rng: random.Random, inner: Callable[[str, bytes, random.Random], bytes]) -> bytes:
    """Change a member of a zip archive, with a right checksum, or the list of members.

    Args:
        data: the archive.
        rng: random numbers.
        inner: changes the bytes of a member, given its name.
    """
    if rng.random() < 0.15:
        return change_bytes(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(one.filename, archive.read(one)) for one in archive.infolist() if one.file_size < 1 << 20]
    except Exception:  # noqa: BLE001 - damaged archives raise many kinds of exceptions
        return change_bytes(data, rng)
    if not members:
        return change_bytes(data, rng)
    at = rng.randrange(len(members))
    name, content = members[at]
    match rng.randrange(10):
        case 0:
            del members[at]
        case 1:
            members[at] = (rng.choice((rng.choice(members)[0], "../x", "/x", "a\x00b", name + "x")), content)
        case 2:
            members.append((name, rng.choice(members)[1]))
        case _:
            members[at] = (name, inner(name, content, rng))
    written = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(written, "w", compression) as archive:
        warnings.simplefilter("ignore")  # two members of one name are on purpose
        for one, bytes_of_it in members:
            with contextlib.suppress(ValueError, UnicodeError):
                archive.writestr(zipfile.ZipInfo(one), bytes_of_it, compression)
    return written.getvalue()

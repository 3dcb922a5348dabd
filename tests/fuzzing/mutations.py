"""Mutations of bytes, JSON, lines and bundles that keep their structure, so that the fuzzer gets past the first check of a parser.

Every function takes any bytes and a generator of random numbers, and returns changed bytes. Bytes that do not have the
structure are changed as plain bytes.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

__all__ = [
    "change_bundle",
    "change_bytes",
    "change_json",
    "change_lines",
    "change_text",
    "dump_json",
    "join_bundle",
    "split_bundle",
]

HUGE = "@huge@"
"""Stands for a number of thousands of digits, which Python does not turn into an `int`."""
NUMBERS: Sequence[Any] = (
    0, 1, -1, 2, 3, 7, 8, 127, 255, 256, 1000, 65535, 65536, 10**6, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63,
    2**64 - 1, 2**64, 10**12, 10**30, -(2**31), -(2**63), 0.5, -0.0, 1e-300, 1e308, -1e308, float("nan"), float("inf"),
    float("-inf"),
)  # fmt: skip
TEXTS = (
    "", " ", "a", "0", "-1", "1e5", "nan", "None", "null", "true", "\x00", "\x1b[2J", "\ud800", "é", "\u2028", "..", "../x", "/",
    "a/b", "a" * 300, "%s", "{}", "{id}", "*", "ignore", "background", "٣", "²",
)  # fmt: skip
MOST_NESTING = 3000
MOST_PLACES = 4000
"""Values of one document among which a mutation chooses."""


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, cut, repeat, insert or remove a part."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 32))
        match rng.randrange(7):
            case 0 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[min(at, len(changed) - 1)] = rng.choice(
                    (0, 1, 0x20, 0x22, 0x7F, 0x80, 0xFF, rng.randrange(256))
                )
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = rng.randbytes(length)
            case 4:
                begin = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[begin : begin + length * 4]
            case 5:
                number = int(rng.choice(NUMBERS[:26])) & (2**64 - 1)
                part = number.to_bytes(8, rng.choice(("little", "big")))[: rng.choice((1, 2, 4, 8))]
                changed[at : at + len(part)] = part
            case _ if rng.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def change_json(data: bytes, rng: random.Random, tokens: Sequence[str] = ()) -> bytes:
    """Change the values of a JSON document, and sometimes its bytes."""
    if rng.random() < 0.1:
        return change_bytes(data, rng)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return change_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        document = change_value(document, rng, tokens)
    return dump_json(document)


def dump_json(document: Any) -> bytes:
    """Return JSON that may hold NaN, half a surrogate pair, and a number of 5000 digits."""
    try:
        text = json.dumps(document, separators=(",", ":"))
    except (ValueError, RecursionError):
        return b"[" * MOST_NESTING
    return text.replace(f'"{HUGE}"', "9" * 5000).encode()


def change_value(document: Any, rng: random.Random, tokens: Sequence[str] = ()) -> Any:
    """Return a document with one change: of a value, of a key, or of one number wherever it occurs."""
    places = list(_places(document))
    if not places:
        return any_value(rng, tokens)
    if rng.random() < 0.15 and (numbers := [value for _, _, value in places if type(value) is int]):
        old, new = rng.choice(numbers), rng.choice(NUMBERS)
        for holder, key, value in places:
            if type(value) is int and value == old:
                holder[key] = new
        return document
    holder, key, value = rng.choice(places)
    match rng.randrange(9):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [value]
        case 2:
            other_holder, other_key, _ = rng.choice(places)
            with contextlib.suppress(KeyError, IndexError):
                holder[key], other_holder[other_key] = _copied(other_holder[other_key]), value
        case 3 if isinstance(holder, list):
            holder.insert(key, _copied(value))
        case 3 | 4 if isinstance(holder, dict):
            holder[rng.choice((*tokens, *TEXTS))] = holder.pop(key) if rng.random() < 0.5 else _copied(value)
        case 5 if isinstance(value, str):
            holder[key] = change_text(value, rng, tokens)
        case 5 | 6 if isinstance(value, int | float):
            holder[key] = value + rng.choice((-2, -1, 1, 2, 0.5, 10**9)) if rng.random() < 0.6 else -value
        case _:
            holder[key] = any_value(rng, tokens)
    return document


def any_value(rng: random.Random, tokens: Sequence[str] = ()) -> Any:
    """Return a value of any kind of JSON."""
    match rng.randrange(10):
        case 0:
            return rng.choice((None, True, False))
        case 1 | 2 | 3:
            return rng.choice(NUMBERS)
        case 4 | 5:
            return rng.choice(TEXTS)
        case 6 if tokens:
            return rng.choice(tokens)
        case 7:
            return rng.choice(([], {}, [[]], [0], ["a"], {"a": 1}, [None], [[0, 0]], {"": {}}))
        case 8:
            return rng.choice((HUGE, [rng.choice(NUMBERS) for _ in range(3)]))
        case _ if rng.random() < 0.1:
            nested: Any = []
            for _ in range(rng.choice((5, 100, 900))):
                nested = [nested]
            return nested
        case _:
            return rng.randrange(-5, 300)


def change_text(text: str, rng: random.Random, tokens: Sequence[str]) -> str:
    """Insert a word, remove a part, end it with another character, repeat it, or exchange small and large letters."""
    at = rng.randrange(len(text) + 1)
    match rng.randrange(5):
        case 0:
            return text[:at] + rng.choice((*TEXTS, *tokens)) + text[at:]
        case 1:
            return text[:at] + text[at + rng.choice((1, 4, 16)) :]
        case 2:
            return text[:at] + chr(rng.choice((9, 10, 34, 44, 48, 58, 92, 0x660, 0xD800, rng.randrange(0x110000))))
        case 3:
            return text * rng.choice((2, 3, 50))
        case _:
            return text.swapcase()


def _places(document: Any) -> list[tuple[Any, Any, Any]]:
    """Return every value of a document with its container and its key or index."""
    found: list[tuple[Any, Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < MOST_PLACES:
        holder = waiting.pop()
        inner = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in inner:
            found.append((holder, key, value))
            waiting.append(value)
    return found


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value


def change_lines(data: bytes, rng: random.Random, tokens: Sequence[str] = (), separators: str = ",\t;:\"' \r") -> bytes:
    """Change the lines and the cells of a text."""
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    cells = lines[at].split(b",")
    cell = rng.randrange(len(cells))
    word = rng.choice((*tokens, *TEXTS, *map(str, NUMBERS))).encode(errors="surrogatepass")
    match rng.randrange(8):
        case 0:
            lines.insert(at, rng.choice(lines))
        case 1:
            del lines[at]
        case 2:
            lines[at] = lines[at] + rng.choice(separators).encode() + word
        case 3:
            del cells[cell]
        case 4:
            cells.insert(cell, rng.choice(cells or [b""]))
        case 5:
            place = rng.randrange(len(lines[at]) + 1)
            cells = [lines[at][:place] + rng.choice(separators).encode() + lines[at][place:]]
        case _:
            cells[cell] = word
    if at < len(lines) and lines[at] and len(cells) < 1000:
        lines[at] = b",".join(cells)
    return b"\n".join(lines)


def join_bundle(parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Return one input that holds several files, each with its number."""
    return b"".join(struct.pack("<BI", number & 255, len(content)) + content for number, content in parts)


def split_bundle(data: bytes) -> list[tuple[int, bytes]]:
    """Return the files of an input that `join_bundle` made; of damaged ones as many as there are."""
    parts, at = [], 0
    while at + 5 <= len(data):
        number, length = struct.unpack_from("<BI", data, at)
        parts.append((number, data[at + 5 : at + 5 + length]))
        at += 5 + length
    return parts


def change_bundle(
    data: bytes,
    rng: random.Random,
    files: Sequence[bytes],
    change_file: Callable[[int, bytes, random.Random], bytes],
) -> bytes:
    """Change one file of a bundle, add a sound one with a change, or remove one.

    Args:
        data: the bundle.
        rng: random numbers.
        files: the sound files, by number.
        change_file: changes the content of a file, given its number.
    """
    parts = split_bundle(data)
    if not parts or rng.random() < 0.3:
        number = rng.randrange(len(files))
        parts = [part for part in parts if part[0] % len(files) != number]
        parts.append((number, change_file(number, files[number], rng)))
    elif rng.random() < 0.1:
        del parts[rng.randrange(len(parts))]
    else:
        at = rng.randrange(len(parts))
        number, content = parts[at]
        parts[at] = (number, change_file(number % len(files), content, rng))
    return join_bundle(parts)

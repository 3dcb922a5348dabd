r"""Parse the JSON of a store strictly, because a store may come from anywhere.

Python's own parser accepts more than JSON, and values that later code fails on. What is refused here:

| refused | reason |
|---|---|
| bytes that are not UTF-8, a byte order mark | another reader would refuse them, or read another text |
| `NaN`, `Infinity`, numbers beyond 64-bit floats | no JSON, and equal to nothing |
| integers beyond 64 bits | no reader in another language can hold them |
| a key that appears twice | readers differ in the one they take |
| lone surrogates such as `\ud800` | they can be neither hashed nor printed |
| values nested deeper than `DEEPEST` | code that walks through them would fail |
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

__all__ = ["DEEPEST", "parse_json"]

DEEPEST = 100
"""Largest depth of nested lists and objects. A store of this program has about ten."""

INTEGERS = range(-(2**63), 2**64)
"""Signed or unsigned 64-bit integers."""

LONGEST_NUMBER = 400
"""Largest number of characters of a number. A 64-bit float has at most 330 in any usual notation."""

BYTE_ORDER_MARK = "\ufeff"
TOO_DEEP = "it is nested too deep"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, or has something that a store's JSON may not have; the message says what.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if text.startswith(BYTE_ORDER_MARK):
        raise ValueError("it begins with a byte order mark")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except json.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    _require_sound(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it has {name}, which is not JSON")


def _float(text: str) -> float:
    value = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise ValueError("it has a number beyond 64-bit floats")
    return value


def _integer(text: str) -> int:
    value = int(text) if len(text) <= LONGEST_NUMBER else INTEGERS.stop
    if value not in INTEGERS:
        raise ValueError("it has an integer of more than 64 bits")
    return value


def _require_sound(value: Any) -> None:
    """Make sure that a value is not nested too deep and has no text with a lone surrogate."""
    level = [value]
    for _ in range(DEEPEST + 1):
        texts = [one for one in level if isinstance(one, str)]
        inner = [one for one in level if isinstance(one, list | dict)]
        texts += [key for one in inner if isinstance(one, dict) for key in one]
        if any(map(LONE_SURROGATE.search, texts)):
            raise ValueError("it has half a surrogate pair")
        if not inner:
            return
        level = [item for one in inner for item in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(TOO_DEEP)

r"""Parse settings that YAML or a single option cannot express directly: sizes, lists of numbers, mappings.

A setting is parsed by the type of its field, never by its name.

| type | in `params.yaml` | on the command line |
|---|---|---|
| `Size` | `192`, `192x256` or `[192, 256]` | `192` or `192x256` |
| `tuple[int, ...]` | `-1` or `[9, 10]` | `-1` or `9,10` |
| `dict[str, int \| str]` | `{skin: 0, lesion: 255}` | `skin=0,lesion=255` |
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any


def parse_value(value: Any, hint: Any) -> Any:
    """Convert a value that a user wrote into the form that pydantic checks.

    Args:
        value: from YAML or from the command line; not None.
        hint: the field's type without `Annotated`, as `typing.get_type_hints` returns it.

    Returns:
        The value in the form of the type. A value of any other type is returned unchanged.

    Raises:
        ValueError: the text cannot be read as this type.
    """
    parse = PARSERS.get(without_none(hint))
    return value if parse is None else parse(value)


def show_value(value: Any, hint: Any) -> str | bool:
    """Return a default as a user would type it; False if there is nothing to show."""
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, tuple):
        return ("x" if without_none(hint) == SIZE else ",").join(str(part) for part in value)
    return str(value)


def without_none(hint: Any) -> Any:
    """Return the type in `T | None`, and any other type unchanged."""
    if isinstance(hint, types.UnionType):
        (hint,) = (choice for choice in typing.get_args(hint) if choice is not types.NoneType)
    return hint


def _parse_size(value: Any) -> tuple[int, int]:
    """Convert one number, `192x256` or a list of two into (height, width)."""
    if isinstance(value, str):
        value = value.lower().split("x") if "x" in value.lower() else value
    sides = value if isinstance(value, list | tuple) else [value, value]
    try:
        height, width = (_whole_number(side) for side in sides)
    except (TypeError, ValueError):
        raise ValueError(f"a size is one number or HEIGHTxWIDTH, not {value!r}") from None
    return height, width


def _parse_numbers(value: Any) -> tuple[int, ...]:
    """Convert one number, `9,10,11` or a list into a tuple."""
    numbers = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return tuple(_whole_number(number) for number in numbers)
    except (TypeError, ValueError):
        raise ValueError(f"give whole numbers separated by commas, such as -1 or 9,10,11, not {value!r}") from None


def _parse_mapping(value: Any) -> Any:
    """Convert a text such as skin=0,lesion=255 into a mapping; a mapping is returned unchanged."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",")]
    if not all(name.strip() and wanted.strip() for name, _, wanted in pairs):
        raise ValueError(f"give NAME=VALUE separated by commas, such as skin=0,lesion=255, not {value!r}")
    return {name.strip(): int(wanted) if wanted.strip().isdecimal() else wanted.strip() for name, _, wanted in pairs}


def _whole_number(value: Any) -> int:
    if isinstance(value, bool | float):  # int() would take them: 0.9 as 0, true as 1
        raise TypeError(value)
    return int(value)


SIZE = tuple[int, int]
"""`stages.settings.Size` without its ranges, as `typing.get_type_hints` returns it."""

PARSERS: dict[Any, Callable[[Any], Any]] = {
    SIZE: _parse_size,
    tuple[int, ...]: _parse_numbers,
    dict[str, int | str]: _parse_mapping,
}
"""Types that need parsing, and the function for each."""

r"""Parse settings that YAML or a single option cannot express directly: sizes, lists of numbers, mappings.

A setting is parsed by the type of its field, never by its name.

| type | in `params.yaml` | on the command line |
|---|---|---|
| `Size` | `192`, `192x256` or `[192, 256]` | `192` or `192x256` |
| `tuple[int, ...]` | `-1` or `[9, 10]` | `-1` or `9,10` |
| `tuple[str, ...]` | `16`, `16,all` or `[16, all]` | `16,all` |
| `dict[str, str]` | `{wide: "dual,width=16"}` | `wide=dual,width=16`, repeated |
| `Place` | a path or an address | likewise |
| `Classes` | `{skin: 0, lesion: "1-255"}`, `{skin: 0, lesion: [1, 2]}` or a file | `skin=0,lesion=1+2` or a file |

A class that is given twice on the command line has the values of both.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from store.remote.address import Place, RemoteAddress, place_of


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


def require_kind(value: Any, hint: Any) -> None:
    """Make sure that YAML gave the kind of value that a setting has: `true` is no number, and `"40"` is a text.

    Values of sizes, lists and classes are left to `parse_value`.

    Args:
        value: from YAML.
        hint: the field's type without `Annotated`, as `typing.get_type_hints` returns it.

    Raises:
        ValueError: it is of another kind.
    """
    if value is None:
        if not _is_union(hint):
            raise ValueError("has no value; give one, or delete the line")
        return
    kind = without_none(hint)
    wanted = KINDS.get("choice" if typing.get_origin(kind) is typing.Literal else kind)
    if wanted is None or (isinstance(value, wanted.types) and (kind is bool or not isinstance(value, bool))):
        return
    raise ValueError(f"{wanted.advice}, not {show_input(value)}")


def require_plain(value: Any, hint: Any) -> None:
    """Make sure that a program or an option gave a value that can be this setting; a text may stand for anything.

    Args:
        value: of a keyword or an option.
        hint: the field's type without `Annotated`, as `typing.get_type_hints` returns it.

    Raises:
        ValueError: it is nothing where a value is needed, true or false in place of a number, or no path.
    """
    kind = without_none(hint)
    if value is None:
        if kind == hint:
            raise ValueError("has no value; give one, or leave the setting out")
        return
    if kind in (int, float) and isinstance(value, bool):
        raise ValueError(f"give a number, not {show_input(value)}")
    if kind in (Path, Place) and not isinstance(value, str | Path | RemoteAddress):
        raise ValueError(f"give one path, as a text or a Path, not {show_input(value)}")


def show_input(value: Any) -> str:
    """Return a value from YAML or the command line as a user would write it, shortened."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, date):
        return f"the date {value.isoformat()}"
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"


def describe_range(hint: Any) -> str | None:
    """Return the range of a number in words, such as "a finite number above 0 and at most 1e+38".

    A setting of whole numbers has "a whole number".

    Args:
        hint: the field's type with `Annotated`; None if it has no range.
    """
    choices = [hint, *(typing.get_args(hint) if _is_union(hint) else ())]
    limits = [one for choice in choices for one in getattr(choice, "__metadata__", ())]
    words = [
        f"{word} {getattr(limit, name):.6g}"
        for name, word in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
        for limit in limits
        if getattr(limit, name, None) is not None
    ]
    kind = "whole" if any(getattr(choice, "__origin__", None) is int for choice in choices) else "finite"
    return f"a {kind} number {' and '.join(words)}" if words else None


def show_value(value: Any, hint: Any) -> str | bool:
    """Return a default as a user would type it; False if there is nothing to show."""
    if value is None or isinstance(value, bool) or value == ():
        return False
    if isinstance(value, tuple):
        return ("x" if without_none(hint) == SIZE else ",").join(str(part) for part in value)
    return str(value)


def without_none(hint: Any) -> Any:
    """Return the type in `T | None` or `S | T | None`, and any other type unchanged."""
    if _is_union(hint):
        hint = reduce(or_, (choice for choice in typing.get_args(hint) if choice is not types.NoneType))
    return hint


def _is_union(hint: Any) -> bool:
    """Return whether a type is `S | T`. With `Annotated` inside, Python makes it an older form of union."""
    return isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union


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


def _parse_texts(value: Any) -> tuple[str, ...]:
    """Convert one value, `16,64,all` or a list into a tuple of texts, without the blanks around them."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, int | str) and not isinstance(part, bool) for part in parts):
        raise ValueError(f"give values separated by commas, such as 16,64,all, not {show_input(value)}")
    texts = [str(part).strip() for part in parts]
    if "" in texts and texts != [""]:
        raise ValueError(f"{show_input(value)} has an empty part between commas; delete it")
    return tuple(text for text in texts if text)


def _parse_named_texts(value: Any) -> dict[str, str]:
    """Convert several NAME=TEXT, or a mapping, into a dictionary."""
    if isinstance(value, dict):
        wrong = [name for name, text in value.items() if not isinstance(name, str) or not isinstance(text, str)]
        if wrong:
            raise ValueError(f"{show_input(wrong[0])}: write NAME: TEXT, in quotes if it looks like something else")
        return value
    named: dict[str, str] = {}
    for item in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]:
        name, found, text = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not found or not name.strip() or not text.strip():
            raise ValueError(f"give NAME=TEXT, not {show_input(item)}")
        if name.strip() in named:
            raise ValueError(f"the name {name.strip()!r} is given twice; choose another one")
        named[name.strip()] = text.strip()
    return named


def _parse_classes(value: Any) -> Any:
    """Convert a text such as skin=0,lesion=255 into a mapping, and a text without `=` into the path of a file."""
    if isinstance(value, str):
        return _mapping(value) if "=" in value else _class_file(value)
    if not isinstance(value, dict):
        raise ValueError(f"give class names and their values, such as {{skin: 0, lesion: 255}}, not {value!r}")  # noqa: TRY004 - an error of the user
    for name, wanted in value.items():
        _require_class(name, wanted)
    return value


def _class_file(text: str) -> Path:
    """Return the path of a file of classes, after checking that it exists."""
    if not Path(text).is_file():
        raise ValueError(f"{text!r} is no file; {WRITE_CLASSES}")
    return Path(text)


def _mapping(text: str) -> dict[str, int | str]:
    """Convert a text such as skin=0,lesion=255 into a mapping. The values of a repeated name are joined by `+`."""
    mapping: dict[str, int | str] = {}
    for pair in text.split(","):
        name, _, wanted = (part.strip() for part in pair.partition("="))
        if not name or not wanted:
            raise ValueError(f"{text!r} has a part without a name or a value; {WRITE_CLASSES}")
        if name in mapping:
            mapping[name] = f"{mapping[name]}+{wanted}"
        else:
            mapping[name] = int(wanted) if wanted.isdecimal() else wanted
    return mapping


def _require_class(name: Any, value: Any) -> None:
    """Make sure that YAML gave a text as the name of a class, and numbers or texts as its value."""
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is not a name; write NAME: VALUE, and put a number that is a name in quotes")  # noqa: TRY004
    if value is None:
        raise ValueError(f"{name} has no value; put a colour in quotes, because # starts a comment")
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int | str) and not isinstance(one, bool) for one in values):
        raise ValueError(f'{name}: {value!r} is no value; give a number, "1-255", [1, 2] or "#ff0000"')


def _whole_number(value: Any) -> int:
    if isinstance(value, bool | float):  # int() would take them: 0.9 as 0, true as 1
        raise TypeError(value)
    return int(value)


WRITE_CLASSES = "give NAME=VALUE separated by commas, such as skin=0,lesion=255, or the path of a file of classes"

SIZE = tuple[int, int]
"""`stages.settings.Size` without its ranges, as `typing.get_type_hints` returns it."""

CLASSES = dict[str, int | str | list[int | str]] | Path
"""`stages.settings.Classes`, as `typing.get_type_hints` returns it."""

NAMED_TEXTS = dict[str, str]
"""Texts by name. On the command line such an option can be repeated."""

PARSERS: dict[Any, Callable[[Any], Any]] = {
    SIZE: _parse_size,
    tuple[int, ...]: _parse_numbers,
    tuple[str, ...]: _parse_texts,
    NAMED_TEXTS: _parse_named_texts,
    CLASSES: _parse_classes,
    Place: place_of,
}
"""Types that need parsing, and the function for each."""


@dataclass(frozen=True)
class _Kind:
    """Describe the values that YAML gives for a setting of some type, and what to write in place of others."""

    types: tuple[type, ...]
    advice: str


KINDS: dict[Any, _Kind] = {
    bool: _Kind((bool,), "write true or false without quotes"),
    int: _Kind((int, float), "write a whole number without quotes"),  # pydantic takes a float that is whole
    float: _Kind((int, float), "write a number without quotes"),
    str: _Kind((str,), "write a text, in quotes if it looks like something else"),
    Path: _Kind((str,), "write a path, in quotes if it looks like something else"),
    Place: _Kind((str,), "write a path or an address, in quotes if it looks like something else"),
    "choice": _Kind((str,), "write one of the names, in quotes if it looks like something else"),
}

LONGEST_SHOWN = 80
"""Characters of a value that a message shows."""

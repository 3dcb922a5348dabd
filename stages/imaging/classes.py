"""Map the values in mask files to classes.

A `ClassMap` is either binary, for masks in black and white, or made from a mapping of class names to values. It does
not read files: `stages.imaging.masks` applies it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.errors import UsageError
from store.records import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["IGNORE", "ClassMap"]

FEWEST_CLASSES, MOST_CLASSES = 2, 250  # 250: no index is 255, which marks ignored pixels
HIGHEST_VALUE, HIGHEST_GREY = 65535, 255
IGNORE_NAME = "ignore"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
NUMBER = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class ClassMap:
    """Hold the classes of a data set in the order of their indices. Create one with `binary` or `from_mapping`."""

    names: tuple[str, ...]
    """Class names by index; the background comes first by convention. `ignore` is not a class."""
    values: tuple[int, ...] = ()
    """Value of each class in the mask files; 0xrrggbb if `in_colour`. Empty for the binary rule."""
    ignore: int | None = None
    """Value of ignored pixels in the mask files; None if there are none."""
    in_colour: bool = False
    """True if masks are read as colours; False if they are read as single values."""

    @classmethod
    def binary(cls) -> ClassMap:
        """Return background and foreground, for black-and-white masks by the rule in `stages.imaging.masks`."""
        return cls(names=("background", "foreground"))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, int | str]) -> ClassMap:
        """Create the classes of a mapping; its order is the order of the class indices.

        Args:
            mapping: Class name to value. A value is an integer in 0-65535 (also as text, `"255"`) or a colour
                `"#rrggbb"`. If any value is a colour, masks are read in colour, and an integer in 0-255 means that
                grey. There are 2 to 250 classes. The name `ignore` is not a class: its pixels get the index 255.

        Raises:
            UsageError: a name is empty, a value is malformed or out of range, two names share a value, or there are
                too few or too many classes.
        """
        parsed = {_check_name(name): _parse_value(name, value) for name, value in mapping.items()}
        in_colour = any(is_colour for _, is_colour in parsed.values())
        values = {name: _to_colour(name, *value) if in_colour else value[0] for name, value in parsed.items()}
        _check_distinct(values)
        ignore = values.pop(IGNORE_NAME, None)
        if not FEWEST_CLASSES <= len(values) <= MOST_CLASSES:
            what = f"there are {len(values)} without `ignore`; {FEWEST_CLASSES} to {MOST_CLASSES} are possible"
            raise UsageError(f"classes: {what}. Name every class, the background included.")
        return cls(tuple(values), tuple(values.values()), ignore, in_colour)

    def items(self) -> Iterator[tuple[str, int]]:
        """Yield each name with its value, `ignore` last."""
        yield from zip(self.names, self.values, strict=False)  # the binary rule has no values
        if self.ignore is not None:
            yield IGNORE_NAME, self.ignore

    def format_value(self, value: int) -> str:
        """Return a value as users write it: `255` or `#ff0000`."""
        return f"#{value:06x}" if self.in_colour else str(value)


def _check_name(name: str) -> str:
    """Return the name, after checking that it is a text that is not empty."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"classes: {name!r} is not a name. Write NAME=VALUE, e.g. skin=0,lesion=255.")
    return name


def _parse_value(name: str, value: int | str) -> tuple[int, bool]:
    """Return a value as a number, and True if it was given as a colour."""
    if isinstance(value, str) and COLOUR.fullmatch(value):
        return int(value[1:], 16), True
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_VALUE:
        what = f"{value!r} is neither an integer in 0-{HIGHEST_VALUE} nor a colour"
        raise UsageError(f"classes: {name}={what}. Write e.g. lesion=255 or lesion=#ff0000.")
    return value, False


def _to_colour(name: str, value: int, is_colour: bool) -> int:  # noqa: FBT001 - unpacked from `_parse_value`
    """Return a value as 0xrrggbb; an integer is a grey."""
    if is_colour:
        return value
    if value > HIGHEST_GREY:
        what = f"{name}={value}: a number beside colours is a grey in 0-{HIGHEST_GREY}"
        raise UsageError(f"classes: {what}. Give all classes as numbers, or this one as #rrggbb.")
    return value * 0x010101


def _check_distinct(values: dict[str, int]) -> None:
    """Raise an error if two names have the same value."""
    owners: dict[int, str] = {}
    for name, value in values.items():
        if value in owners:
            raise UsageError(f"classes: {owners[value]} and {name} have the same value. Give each one its own value.")
        owners[value] = name

"""Which value in a mask file is which class.

A `ClassMap` is binary (the file is black and white and there is nothing to name), or made from a
mapping of names to values. It knows nothing of files; `stages.imaging.masks` applies it.
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

FEWEST_CLASSES, MOST_CLASSES = 2, 250  # 250: indices stay clear of 255
HIGHEST_VALUE, HIGHEST_GREY = 65535, 255
IGNORE_NAME = "ignore"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
NUMBER = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class ClassMap:
    """The classes of a data set, in the order of their indices; made by `binary` or `from_mapping`."""

    names: tuple[str, ...]
    """Names by class index, background first by custom; `ignore` is not among them."""
    values: tuple[int, ...] = ()
    """What stands in the mask files for each name; 0xrrggbb with `in_colour`. Empty for the binary rule."""
    ignore: int | None = None
    """What stands in the mask files for pixels to be ignored."""
    in_colour: bool = False
    """Whether masks are read as colours and not as single values."""

    @classmethod
    def binary(cls) -> ClassMap:
        """Background and foreground of black-and-white masks, told apart by the rule in `stages.imaging.masks`."""
        return cls(names=("background", "foreground"))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, int | str]) -> ClassMap:
        """Classes by name; the mapping's order is the order of their indices.

        Args:
            mapping: name to value: an integer 0-65535 (also as text, `"255"`) or a colour `"#rrggbb"`. As soon as one
                value is a colour, masks are read in colour and an integer means the grey of that value, 0-255. The
                name `ignore` takes no index of its own: its pixels get 255. 2 to 250 classes besides.

        Raises:
            UsageError: a name is empty, a value malformed or out of range, two names share a value, or there are too
                few or too many classes.
        """
        parsed = {_check_name(name): _parse_value(name, value) for name, value in mapping.items()}
        in_colour = any(is_colour for _, is_colour in parsed.values())
        values = {name: _to_colour(name, *value) if in_colour else value[0] for name, value in parsed.items()}
        _check_distinct(values)
        ignore = values.pop(IGNORE_NAME, None)
        if not FEWEST_CLASSES <= len(values) <= MOST_CLASSES:
            what = f"{len(values)} classes besides `ignore`, and {FEWEST_CLASSES} to {MOST_CLASSES} are possible"
            raise UsageError(f"classes: {what}. Name every class, the background included.")
        return cls(tuple(values), tuple(values.values()), ignore, in_colour)

    def items(self) -> Iterator[tuple[str, int]]:
        """Names and their values, `ignore` last."""
        yield from zip(self.names, self.values, strict=False)  # the binary rule has no values
        if self.ignore is not None:
            yield IGNORE_NAME, self.ignore

    def format_value(self, value: int) -> str:
        """A value as the user writes it."""
        return f"#{value:06x}" if self.in_colour else str(value)


def _check_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"classes: {name!r} is not a name. Write NAME=VALUE, e.g. skin=0,lesion=255.")
    return name


def _parse_value(name: str, value: int | str) -> tuple[int, bool]:
    """A value as a number, and whether it was given as a colour."""
    if isinstance(value, str) and COLOUR.fullmatch(value):
        return int(value[1:], 16), True
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_VALUE:
        what = f"{value!r} is neither an integer in 0-{HIGHEST_VALUE} nor a colour"
        raise UsageError(f"classes: {name}={what}. Write e.g. lesion=255 or lesion=#ff0000.")
    return value, False


def _to_colour(name: str, value: int, is_colour: bool) -> int:  # noqa: FBT001 - unpacked from `_parse_value`
    """A value as 0xrrggbb; an integer is a grey."""
    if is_colour:
        return value
    if value > HIGHEST_GREY:
        what = f"{name}={value}: beside colours a number is a grey in 0-{HIGHEST_GREY}"
        raise UsageError(f"classes: {what}. Give all classes as numbers, or this one as #rrggbb.")
    return value * 0x010101


def _check_distinct(values: dict[str, int]) -> None:
    owners: dict[int, str] = {}
    for name, value in values.items():
        if value in owners:
            raise UsageError(f"classes: {owners[value]} and {name} have the same value. Give each its own.")
        owners[value] = name

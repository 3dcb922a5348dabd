"""Map the values in mask files to classes.

A `ClassMap` is either binary, for masks in black and white, or made from a mapping of class names to values
(`stages.imaging.class_values`). It does not read files: `stages.imaging.masks` applies it.

The background has the index 0, whatever the order in which the classes are given:

- the class called `background` or `bg`, if there is one;
- else the class that holds the value 0 (black, if masks are read in colour);
- else, if there is only one class: a class `background` with the value 0 is added.

Anything else is ambiguous and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.errors import UsageError
from stages.imaging.class_values import ClassValue, Values, parse_values
from store.records import IGNORE

__all__ = ["IGNORE", "ClassMap"]

FEWEST_CLASSES, MOST_CLASSES = 2, 250  # 250: no index is 255, which marks ignored pixels
IGNORE_NAME = "ignore"
BACKGROUND = "background"
BACKGROUND_NAMES = {BACKGROUND, "bg"}
"""Names that mean the background, in lower case."""


@dataclass(frozen=True)
class ClassMap:
    """Hold the classes of a data set in the order of their indices. Create one with `binary` or `from_mapping`."""

    names: tuple[str, ...]
    """Class names by index; the background comes first. `ignore` is not a class."""
    values: tuple[Values, ...] = ()
    """Values of each class in the mask files. Empty for the binary rule."""
    ignore: Values | None = None
    """Values of ignored pixels in the mask files; None if there are none. They win over ranges of classes."""
    in_colour: bool = False
    """True if masks are read as colours; False if they are read as single values."""

    @classmethod
    def binary(cls) -> ClassMap:
        """Return background and foreground, for black-and-white masks by the rule in `stages.imaging.masks`."""
        return cls(names=(BACKGROUND, "foreground"))

    @classmethod
    def of_names(cls, names: Sequence[str]) -> ClassMap:
        """Return the background and the given classes, without values, because label files name their class.

        Raises:
            UsageError: there are none, or too many.
        """
        background = next((name for name in names if name.lower() in BACKGROUND_NAMES), BACKGROUND)
        others = [name for name in names if name.lower() not in {*BACKGROUND_NAMES, IGNORE_NAME}]
        _check_count(1 + len(others))
        return cls((background, *others))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, ClassValue], *, order: Sequence[str] = ()) -> ClassMap:
        """Create the classes of a mapping.

        Args:
            mapping: Class name to values, as `parse_values` takes them. If any value is a colour, masks are read in
                colour, and an integer in 0-255 means that grey. There are 2 to 250 classes, the background included.
                The name `ignore` is not a class: its pixels get the index 255.
            order: Names of the classes by index, as a store recorded them. Without it the background comes first and
                the others keep their order.

        Raises:
            UsageError: a name is empty, a value is malformed or out of range, two names share a value, the background
            is ambiguous, or there are too few or too many classes.
        """
        parsed = {_check_name(name): parse_values(name, value) for name, value in mapping.items()}
        in_colour = any(values.in_colour for values in parsed.values())
        values = {name: one.as_colours(name) if in_colour else one for name, one in parsed.items()}
        ignore = values.pop(IGNORE_NAME, None)
        if order:
            values = {name: values[name] for name in order if name in values}
        else:
            values = _background_first(values, in_colour=in_colour)
        _check_distinct(values, ignore)
        _check_count(len(values))
        return cls(tuple(values), tuple(values.values()), ignore, in_colour)

    def items(self) -> Iterator[tuple[str, Values]]:
        """Yield each name with its values, `ignore` last."""
        yield from zip(self.names, self.values, strict=False)  # the binary rule has no values
        if self.ignore is not None:
            yield IGNORE_NAME, self.ignore

    def to_mapping(self) -> dict[str, int | str] | None:
        """Return the argument of `from_mapping` that makes these classes, in the order of the indices; None if binary.

        A single number is an integer, everything else a text.
        """
        if not self.values:
            return None
        return {name: int(text) if (text := str(values)).isdecimal() else text for name, values in self.items()}

    def format_value(self, value: int) -> str:
        """Return a value as users write it: `255` or `#ff0000`."""
        return f"#{value:06x}" if self.in_colour else str(value)


def _check_name(name: str) -> str:
    """Return the name, after checking that it is a text that is not empty."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"classes: {name!r} is not a name. Write NAME=VALUE, e.g. skin=0,lesion=255.")
    return name


def _background_first(values: dict[str, Values], *, in_colour: bool) -> dict[str, Values]:
    """Return the classes with the background first; see the module.

    Raises:
        UsageError: the background is ambiguous; the message shows the possible readings.
    """
    named = [name for name in values if name.lower() in BACKGROUND_NAMES]
    if len(named) > 1:
        raise UsageError(f"classes: {' and '.join(named)} both mean the background. Give one name all of its values.")
    black = "#000000" if in_colour else "0"
    background = named or [name for name, one in values.items() if one.holds(0)]
    if not background and len(values) == 1:
        return {BACKGROUND: parse_values(BACKGROUND, black), **values}
    if not background and values:
        first, *others = values
        listed = [f"{name}={one}" for name, one in values.items()]
        as_first = ",".join([f"{BACKGROUND}={values[first]}", *listed[1:]])
        raise UsageError(
            f"classes: none of {', '.join(values)} is called background or has the value {black}, so two readings are "
            f"possible.\n  If {black} is the background and {first} is a class like {', '.join(others)}: "
            f"--classes {BACKGROUND}={black},{','.join(listed)}\n  If {first} is the background: --classes {as_first}"
        )
    return {name: values[name] for name in sorted(values, key=lambda name: name not in background[:1])}


def _check_count(count: int) -> None:
    if not FEWEST_CLASSES <= count <= MOST_CLASSES:
        what = f"there are {count} without `ignore`; {FEWEST_CLASSES} to {MOST_CLASSES} are possible"
        raise UsageError(f"classes: {what}. Name every class, the background included.")


def _check_distinct(values: Mapping[str, Values], ignore: Values | None) -> None:
    """Raise an error if two names have a value in common. Ignored values may lie in a range of a class."""
    names = list(values)
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            shared = values[name].overlap(values[other])
            if shared is not None:
                shown = f"#{shared:06x}" if values[name].in_colour else shared
                raise UsageError(
                    f"classes: {name} and {other} have the same value, {shown}. Give each one its own value."
                )
        if ignore is not None and any(name_range in ignore.ranges for name_range in values[name].ranges):
            raise UsageError(f"classes: {name} and {IGNORE_NAME} have the same value. Give each one its own value.")

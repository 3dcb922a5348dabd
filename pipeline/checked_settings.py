"""Make settings of values in any form that a user writes, and say what is wrong with each value."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.values import describe_range, parse_value, require_kind, require_plain, show_input
from store.disk.paths import require_local
from store.errors import UsageError

__all__ = ["checked_settings"]

Settings = TypeVar("Settings")


def checked_settings(
    settings: type[Settings],
    from_file: Mapping[str, Any],
    from_line: Mapping[str, Any],
    place: Callable[[str], str],
) -> Settings:
    """Return settings of values in any form that a user writes.

    Args:
        settings: the dataclass to fill.
        from_file: values of YAML by field, which must have the kind of the field.
        from_line: other values by field, which may also be texts.
        place: names the origin of a field's value in messages.

    Raises:
        UsageError: values are of the wrong kind or range; the message has one line for each.
    """
    from pydantic import TypeAdapter, ValidationError

    complaints: dict[str, str] = {}
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(settings)
    for name, value in {**from_file, **from_line}.items():
        try:
            if name in from_line:
                require_plain(value, hints[name])
            else:
                require_kind(value, hints[name])
            values[name] = None if value is None else parse_value(value, hints[name])
        except ValueError as error:
            complaints[name] = str(error)
    try:
        checked = TypeAdapter(settings).validate_python(values)
    except ValidationError as error:
        ranges = typing.get_type_hints(settings, include_extras=True)
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            wanted = describe_range(ranges[name]) if isinstance(detail["input"], float) else None
            complaints[name] = f"{f'give {wanted}' if wanted else detail['msg']}, not {show_input(detail['input'])}"
    if complaints:
        raise UsageError("\n".join(f"{place(name)}: {complaint}" for name, complaint in complaints.items()))
    for value in vars(checked).values():
        if isinstance(value, Path):
            require_local(value)
    return checked

"""Tables of choices, such as the losses: a setting names an entry, and one file holds the entries.

The choices of a setting are the names in the table's source (`stages.choices.names_in_table`), so a new entry needs no
second edit. The code that uses the setting looks the entry up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from stages.errors import UsageError

__all__ = ["entry_of"]

Entry = TypeVar("Entry")


def entry_of(table: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """Return the entry of a table.

    Args:
        table: entries by name.
        name: of the entry.
        kind: what the table holds, for the message.

    Raises:
        UsageError: there is no such entry; the message lists those that exist.
    """
    if name not in table:
        raise UsageError(f"{kind} {name!r} is not known. Choose one of: {', '.join(table)}.")
    return table[name]

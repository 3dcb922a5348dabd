"""Tables of choices, such as the losses: a setting names an entry, and one file holds the entries.

A setting declares its table as `module:NAME`, a dict with literal names as keys. The command line reads these names
from the module's source, because importing the module would import torch and make `pipeline --help` slow. The code that
uses the setting looks the entry up in the dict. So a new entry needs no second edit.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from stages.errors import UsageError

__all__ = ["entry_of", "names_in_table"]

Entry = TypeVar("Entry")


@functools.cache
def names_in_table(reference: str) -> tuple[str, ...]:
    """Return the names of a table's entries, in the order of the source, without importing its module.

    Args:
        reference: `module:NAME`.

    Raises:
        LookupError: the module, or in it a dict with literal names, does not exist.
    """
    module, _, name = reference.partition(":")
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise LookupError(f"{reference}: there is no such module")
    for statement in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            table = getattr(statement, "value", None)
            if isinstance(table, ast.Dict):
                return tuple(ast.literal_eval(key) for key in table.keys if key is not None)
    raise LookupError(f"{reference}: the module has no such table")


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

"""Read the choices of a setting from the source of the table that has them, without importing it."""

from __future__ import annotations

import ast
from pathlib import Path

__all__ = ["names_in_table"]


def names_in_table(source: Path, table: str) -> tuple[str, ...]:
    """Return the keys of a dict that a Python file defines, in the order of the source, without importing the file.

    Losses and other choices that can be extended are tables: one file holds the entries, and a setting has their names
    as choices. Importing the file would import torch and make `pipeline --help` slow, so its source is parsed.

    Args:
        source: the Python file.
        table: name of the dict at the top of the file; its keys are literals.

    Raises:
        LookupError: the file has no such dict.
    """
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        entries = getattr(statement, "value", None)
        if isinstance(entries, ast.Dict) and any(isinstance(one, ast.Name) and one.id == table for one in targets):
            return tuple(ast.literal_eval(key) for key in entries.keys if key is not None)
    raise LookupError(f"{source}: has no table {table}")

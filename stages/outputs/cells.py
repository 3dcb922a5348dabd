r"""Write text into cells of CSV files so that a spreadsheet does not run it as a formula, and read it back exactly.

Ids, groups and class names come from the names of files and from tables of other people. A spreadsheet takes a cell as
a formula if it begins with `=`, `+`, `-`, `@`, a tab or a line break. The usual remedy is a quotation mark `'` before
it (OWASP, "CSV Injection"). To read back every text exactly, one more mark is also put before text that already has
marks in front of such a character:

| text     | cell      |                                             |
|----------|-----------|---------------------------------------------|
| `=a`     | `'=a`     | a formula                                   |
| `'=a`    | `''=a`    | would be read back as `=a`                  |
| `'a`     | `'a`      | no formula: unchanged                       |
| `-0.25`  | `-0.25`   | a number is no formula: unchanged           |

`plain_cell` undoes this. It leaves all other cells as they are, also those of tables that were written without marks.
"""

from __future__ import annotations

import re

__all__ = ["plain_cell", "safe_cell"]

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 - spreadsheets take the wide forms as well
_MARKED = re.compile(rf"'{_FORMULA.pattern}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def safe_cell(text: str) -> str:
    """Return the cell for a text: with a mark in front if a spreadsheet could take it as a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain_cell(cell: str) -> str:
    """Return the text of a cell that `safe_cell` made."""
    return cell[1:] if _MARKED.match(cell) else cell

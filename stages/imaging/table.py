"""Samples from a table: `id,image,mask[,group][,split]`.

The table is a comma-separated file in UTF-8, with or without a byte-order mark, with a line of column
names. Paths are relative to the table's folder, or absolute. An empty mask means there is none; an
empty group is the id. Other columns are ignored, and so are empty lines and blanks around a cell.

Every problem is told with its line and left out of the list. Whether a file can be decoded is not
looked at here.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from typing import TYPE_CHECKING

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.samples import SourceSample, id_problem, normal_id, printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_table"]

REQUIRED_COLUMNS = ("id", "image", "mask")

Row = tuple[int, dict[str, str]]
"""A row's line in the file, and its cells by column."""


def read_table(table: Path) -> tuple[list[SourceSample], list[Problem]]:
    """Read samples from a table.

    Args:
        table: the file.

    Returns:
        The samples in the order of the table, and the problems of the rows that are not among them.

    Raises:
        UsageError: there is no such file.
        InputProblemsError: the file cannot be read at all: permission, encoding, column names, no rows.
    """
    rows, problems = _parse_rows(table, _read_text(table))
    lines = defaultdict(list)
    for line, cells in rows:
        lines[normal_id(cells["id"])].append(line)
    samples = []
    for line, cells in rows:
        fault, sample = _parse_sample(table.parent, cells)
        same = lines[normal_id(cells["id"])]
        if fault is None and len(same) > 1:
            others = ", ".join(str(other) for other in same if other != line)
            fault = f"the id {cells['id']!r} is also on line {others}; ids are unique"
        if fault is not None:
            problems.append(_problem_at(table, line, fault))
        else:
            samples.append(sample)
    return samples, sorted(problems, key=lambda problem: int(problem.where.rpartition(" ")[2]))


def _read_text(table: Path) -> str:
    """The file's text without byte-order mark."""
    try:
        data = table.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{printable(table)}: there is no such table. Check the path.") from None
    except OSError as error:
        what = f"cannot be read ({error.strerror}); name a file that may be read"
        raise InputProblemsError([Problem(printable(table), what)]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputProblemsError([_problem_at(table, line, "is not UTF-8; save the table as `CSV UTF-8`")]) from error


def _parse_rows(table: Path, text: str) -> tuple[list[Row], list[Problem]]:
    """The rows under the column names, and the rows that do not fit these."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    problems: list[Problem] = []
    columns: list[str] = []
    try:
        for raw in reader:
            cells = [cell.strip() for cell in raw]
            if not any(cells):
                continue
            if not columns:
                columns = _check_columns(table, reader.line_num, cells)
            elif len(cells) > len(columns):
                what = f"has {len(cells)} cells under {len(columns)} columns; put a cell with a comma in quotes"
                problems.append(_problem_at(table, reader.line_num, what))
            else:
                row = dict.fromkeys((*REQUIRED_COLUMNS, "group", "split"), "")
                row.update(zip(columns, cells, strict=False))  # a short row's last cells are empty
                rows.append((reader.line_num, row))
    except csv.Error as error:
        what = f"is not a comma-separated table ({error}); mend the quotes"
        raise InputProblemsError([*problems, _problem_at(table, reader.line_num, what)]) from error
    if not rows:
        header = f"{','.join(REQUIRED_COLUMNS)}[,group][,split]"
        what = f"no rows; a table has the columns {header} and a row for each sample"
        raise InputProblemsError([*problems, _problem_at(table, 1, what)])
    return rows, problems


def _check_columns(table: Path, line: int, cells: list[str]) -> list[str]:
    """The column names, checked."""
    columns = [cell.lower() for cell in cells]
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        found = ", ".join(map(ascii, cells))
        separator = "; separate them with commas" if len(cells) == 1 and {";", "\t"} & set(cells[0]) else ""
        what = f"no column {', '.join(missing)} among {found}{separator}; name the columns {','.join(REQUIRED_COLUMNS)}"
        raise InputProblemsError([_problem_at(table, line, what)])
    twice = sorted({name for name in (*REQUIRED_COLUMNS, "group", "split") if columns.count(name) > 1})
    if twice:
        raise InputProblemsError([_problem_at(table, line, f"column {', '.join(twice)} is there twice; keep one")])
    return columns


def _parse_sample(folder: Path, cells: dict[str, str]) -> tuple[str | None, SourceSample]:
    """What is wrong with a row, if anything, and its sample."""
    identifier = normal_id(cells["id"])
    mask = folder / cells["mask"] if cells["mask"] else None
    sample = SourceSample(identifier, folder / cells["image"], mask, normal_id(cells["group"]), cells["split"])
    if not identifier:
        return "the id is empty; every row needs one", sample
    fault = id_problem(identifier)
    if fault is None and not cells["image"]:
        fault = "the image is empty; every row needs one"
    return fault or _missing_file("image", sample.image) or _missing_file("mask", mask), sample


def _missing_file(kind: str, path: Path | None) -> str | None:
    """What is wrong when a file is not there."""
    # Not Path.is_file: that raises on names too long, NUL, and folders that may not be entered.
    if path is None or os.path.isfile(path):  # noqa: PTH113
        return None
    return f"there is no {kind} {printable(path)}; paths are relative to the table's folder"


def _problem_at(table: Path, line: int, what: str) -> Problem:
    """A problem with one line of the table."""
    return Problem(f"{printable(table)} line {line}", what)

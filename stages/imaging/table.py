"""Read samples from a table with the columns `id,image,mask[,group][,split]`.

The table is a comma-separated file in UTF-8, with or without a byte-order mark. Its first line names the columns. Paths
are absolute, or relative to the table's folder. A sample with an empty mask has no mask. If the group is empty, the id
is the group. Other columns, empty lines and blanks around a cell are ignored.

A row with a problem is reported with its line and left out of the samples. The image and mask files must exist, but
they are not opened.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from typing import TYPE_CHECKING

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.samples import LabelFile, SourceSample, id_problem, normal_id, printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_table"]

REQUIRED_COLUMNS = ("id", "image", "mask")

Row = tuple[int, dict[str, str]]
"""Line of a row in the file, and its cells by column name."""


def read_table(table: Path) -> tuple[list[SourceSample], list[Problem]]:
    """Read samples from a table.

    Args:
        table: The file.

    Returns:
        The samples in the order of the table, and the problems of all other rows, sorted by line.

    Raises:
        UsageError: the file does not exist.
        InputProblemsError: the file as a whole cannot be used: permission, encoding, quotes, column names, no rows.
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
    """Return the text of the file, without a byte-order mark."""
    try:
        data = table.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{printable(table)}: there is no such table. Check the path.") from None
    except OSError as error:
        what = f"cannot be read ({error.strerror}); allow reading it, or give another file"
        raise InputProblemsError([Problem(printable(table), what)]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputProblemsError([_problem_at(table, line, "is not UTF-8; save the table as `CSV UTF-8`")]) from error


def _parse_rows(table: Path, text: str) -> tuple[list[Row], list[Problem]]:
    """Return the rows below the column names, and the problems of rows with too many cells."""
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
                row.update(zip(columns, cells, strict=False))  # the missing last cells of a short row are empty
                rows.append((reader.line_num, row))
    except csv.Error as error:
        what = f"is not a comma-separated table ({error}); fix the quotes"
        raise InputProblemsError([*problems, _problem_at(table, reader.line_num, what)]) from error
    if not rows:
        header = f"{','.join(REQUIRED_COLUMNS)}[,group][,split]"
        what = f"no rows; a table has the columns {header} and a row for each sample"
        raise InputProblemsError([*problems, _problem_at(table, 1, what)])
    return rows, problems


def _check_columns(table: Path, line: int, cells: list[str]) -> list[str]:
    """Return the column names in lower case, after checking that each required one occurs once."""
    columns = [cell.lower() for cell in cells]
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        found = ", ".join(map(ascii, cells))
        separator = "; separate them with commas" if len(cells) == 1 and {";", "\t"} & set(cells[0]) else ""
        what = f"no column {', '.join(missing)} among {found}{separator}; name the columns {','.join(REQUIRED_COLUMNS)}"
        raise InputProblemsError([_problem_at(table, line, what)])
    twice = sorted({name for name in (*REQUIRED_COLUMNS, "group", "split") if columns.count(name) > 1})
    if twice:
        raise InputProblemsError([_problem_at(table, line, f"column {', '.join(twice)} occurs twice; keep one")])
    return columns


def _parse_sample(folder: Path, cells: dict[str, str]) -> tuple[str | None, SourceSample]:
    """Return the problem of a row, or None, and its sample."""
    identifier = normal_id(cells["id"])
    mask = folder / cells["mask"] if cells["mask"] else None
    masks = () if mask is None else (LabelFile(mask),)
    sample = SourceSample(identifier, folder / cells["image"], masks, normal_id(cells["group"]), cells["split"])
    if not identifier:
        return "the id is empty; every row needs one", sample
    fault = id_problem(identifier)
    if fault is None and not cells["image"]:
        fault = "the image is empty; every row needs one"
    return fault or _missing_file("image", sample.image) or _missing_file("mask", mask), sample


def _missing_file(kind: str, path: Path | None) -> str | None:
    """Return the problem if there is no file at the path; None if there is, or if no path is given."""
    # Not Path.is_file: it raises if a name is too long or holds NUL, or if a folder may not be entered.
    if path is None or os.path.isfile(path):  # noqa: PTH113
        return None
    return f"there is no {kind} {printable(path)}; paths are relative to the table's folder"


def _problem_at(table: Path, line: int, what: str) -> Problem:
    """Return a problem with one line of the table."""
    return Problem(f"{printable(table)} line {line}", what)

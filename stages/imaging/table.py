"""Read samples from a table with the columns `id,image,mask[,group][,split][,pixel_mm]`.

The table is a comma-separated file in UTF-8, with or without a byte-order mark. Its first line names the columns. Paths
are absolute, or relative to the table's folder. If the group is empty, the id is the group. Other columns, empty lines
and blanks around a cell are ignored. Ids and groups may have the marks of `stages.outputs.cells`.

    mask          one file, or several separated by `;`; empty for a sample without a mask
    mask:NAME     the file with the class NAME, in place of `mask`; one column for each class
    pixel_mm      side of one pixel of the original image in millimetres

A row with a problem is reported with its line and left out of the samples. The image and mask files must exist, but
they are not opened. Only headers of DICOM files are read: the image may be a folder with the files of one series, and a
mask a DICOM SEG.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.annotating import Entries
from stages.imaging.dicom.pairing import named_image, with_segments
from stages.imaging.listing import is_kind
from stages.imaging.samples import LabelFile, SourceSample, id_problem, normal_id, printable
from stages.outputs.cells import plain_cell
from store.disk.regular import IrregularFileError, read_limited

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_table"]

LARGEST = 2**28
"""Largest number of bytes of a table: more than a million rows."""
MASK = "mask"
MASK_OF_CLASS = "mask:"
"""Beginning of the name of a column with the masks of one class; the class follows."""
REQUIRED_COLUMNS = ("id", "image", MASK)
OPTIONAL_COLUMNS = ("group", "split", "pixel_mm")

Row = tuple[int, dict[str, str]]
"""Line of a row in the file, and its cells by column name."""


def read_table(table: Path, *, masks_used: bool = True) -> tuple[list[SourceSample], list[Problem]]:
    """Read samples from a table.

    Args:
        table: The file.
        masks_used: True to read the masks; if False, the table needs no column of masks.

    Returns:
        The samples in the order of the table, and the problems of all other rows, sorted by line.

    Raises:
        UsageError: the file does not exist.
        InputProblemsError: the file as a whole cannot be used: permission, encoding, quotes, column names, no rows.
    """
    rows, problems = _parse_rows(table, _read_text(table), masks_used=masks_used)
    lines = defaultdict(list)
    for line, cells in rows:
        lines[normal_id(cells["id"])].append(line)
    samples = []
    entries = Entries()
    for line, cells in rows:
        fault, sample = _parse_sample(table.parent, cells if masks_used else _without_masks(cells), entries)
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
        data = read_limited(table, limit=LARGEST)
    except FileNotFoundError:
        raise UsageError(f"{printable(table)}: there is no such table. Check the path.") from None
    except IrregularFileError as error:
        raise InputProblemsError([Problem(printable(table), f"{error.strerror}; give a table in CSV")]) from error
    except OSError as error:
        what = f"cannot be read ({error.strerror}); allow reading it, or give another file"
        raise InputProblemsError([Problem(printable(table), what)]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputProblemsError([_problem_at(table, line, "is not UTF-8; save the table as `CSV UTF-8`")]) from error


def _parse_rows(table: Path, text: str, *, masks_used: bool) -> tuple[list[Row], list[Problem]]:
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
                columns = _check_columns(table, reader.line_num, cells, masks_used=masks_used)
            elif len(cells) > len(columns):
                what = f"has {len(cells)} cells under {len(columns)} columns; put a cell with a comma in quotes"
                problems.append(_problem_at(table, reader.line_num, what))
            else:
                row = dict.fromkeys((*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS), "")
                row.update(zip(columns, cells, strict=False))  # the missing last cells of a short row are empty
                row |= {name: plain_cell(row[name]) for name in ("id", "group")}  # as this program writes them
                rows.append((reader.line_num, row))
    except csv.Error as error:
        what = f"is not a comma-separated table ({error}); fix the quotes"
        raise InputProblemsError([*problems, _problem_at(table, reader.line_num, what)]) from error
    if not rows:
        header = f"{','.join(REQUIRED_COLUMNS)}[,group][,split]"
        what = f"no rows; a table has the columns {header} and a row for each sample"
        raise InputProblemsError([*problems, _problem_at(table, 1, what)])
    return rows, problems


def _check_columns(table: Path, line: int, cells: list[str], *, masks_used: bool) -> list[str]:
    """Return the column names in lower case, except the names of classes, after checking that each occurs once."""
    columns = [
        MASK_OF_CLASS + cell[len(MASK_OF_CLASS) :].strip() if cell.lower().startswith(MASK_OF_CLASS) else cell.lower()
        for cell in cells
    ]
    of_classes = [name for name in columns if name.startswith(MASK_OF_CLASS)]
    required = REQUIRED_COLUMNS if masks_used and not of_classes else ("id", "image")
    missing = [name for name in required if name not in columns]
    if missing:
        found = ", ".join(map(ascii, cells))
        separator = "; separate them with commas" if len(cells) == 1 and {";", "\t"} & set(cells[0]) else ""
        what = f"no column {', '.join(missing)} among {found}{separator}; name the columns {','.join(REQUIRED_COLUMNS)}"
        raise InputProblemsError([_problem_at(table, line, what)])
    if of_classes and MASK in columns:
        what = f"columns {MASK} and {of_classes[0]} exclude each other; keep one kind"
        raise InputProblemsError([_problem_at(table, line, what)])
    if MASK_OF_CLASS in of_classes:
        what = f"column {MASK_OF_CLASS} names no class; write it after the colon"
        raise InputProblemsError([_problem_at(table, line, what)])
    checked = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *of_classes)
    twice = sorted({name for name in checked if columns.count(name) > 1})
    if twice:
        raise InputProblemsError([_problem_at(table, line, f"column {', '.join(twice)} occurs twice; keep one")])
    return columns


def _parse_sample(folder: Path, cells: dict[str, str], entries: Entries) -> tuple[str | None, SourceSample]:
    """Return the problem of a row, or None, and its sample.

    Args:
        folder: Folder of the table.
        cells: The row's cells by column name.
        entries: The names of images in annotation files.
    """
    identifier, image = normal_id(cells["id"]), folder / cells["image"]
    pixel_mm, fault = _parse_pixel(cells["pixel_mm"])
    masks = [
        LabelFile(folder / name.strip(), label=column.removeprefix(MASK_OF_CLASS) if column != MASK else "")
        for column, cell in cells.items()
        if column == MASK or column.startswith(MASK_OF_CLASS)
        for name in cell.split(";")
        if name.strip()
    ]
    group = normal_id(cells["group"])
    sample = SourceSample(identifier, image, tuple(masks), group, cells["split"], pixel_mm, grouped=bool(group))
    if not identifier:
        return "the id is empty; every row needs one", sample
    fault = id_problem(identifier) or fault
    if fault is None and not cells["image"]:
        fault = "the image is empty; every row needs one"
    fault = fault or (None if is_kind(image.is_dir) else _missing_file("image", image))
    fault = fault or next(filter(None, (_missing_file("mask", mask.path) for mask in masks)), None)
    if fault is not None:
        return fault, sample
    try:
        sample = with_segments(replace(sample, image=named_image(image)))
    except InputProblemsError as error:
        return str(error.problems[0]), sample
    named = []
    for mask in sample.masks:
        try:
            entry = entries.find(mask.path, image)
        except InputProblemsError as error:
            return str(error.problems[0]), sample
        if entry is None:
            return f"{printable(mask.path)} does not annotate {image.name!a}; correct the row", sample
        named.append(replace(mask, entry=entry))
    return None, replace(sample, masks=tuple(named))


def _without_masks(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells of a row without those of masks."""
    return {column: cell for column, cell in cells.items() if column != MASK and not column.startswith(MASK_OF_CLASS)}


def _parse_pixel(cell: str) -> tuple[float | None, str | None]:
    """Return the side of a pixel in millimetres (None for an empty cell), and the problem of an invalid cell."""
    if not cell:
        return None, None
    try:
        side = float(cell)
    except ValueError:
        side = math.nan
    if math.isfinite(side) and side > 0:
        return side, None
    return None, f"pixel_mm is {cell!a}; give the side of a pixel in millimetres, such as 0.05"


def _missing_file(kind: str, path: Path) -> str | None:
    """Return the problem if there is no file at the path; None if there is."""
    if is_kind(path.is_file):
        return None
    return f"there is no {kind} {printable(path)}; paths are relative to the table's folder"


def _problem_at(table: Path, line: int, what: str) -> Problem:
    """Return a problem with one line of the table."""
    return Problem(f"{printable(table)} line {line}", what)

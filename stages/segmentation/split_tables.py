"""Read and write tables of splits: the `splits.csv` of a run, and a user's own table `id,split`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from stages.errors import Problem, UsageError
from stages.outputs.cells import plain_cell
from stages.outputs.csv_rows import csv_rows
from stages.segmentation.json_rows import Segment, json_rows, sorted_rows_sha256
from stages.segmentation.split_blocks import ROW, texts_of
from store import AttentionStore
from store.disk.regular import MIB, IrregularFileError, read_limited
from store.text_words import are_rising
from store.texts import Texts

__all__ = [
    "LEARNT_FROM",
    "ROW",
    "SPLITS",
    "UNLABELLED",
    "read_split_csv",
    "split_rows",
    "splits_digest",
    "splits_sha256",
    "store_splits_sha256",
    "write_splits",
]

SPLITS = ("train", "val", "test")
UNLABELLED = "unlabelled"
"""Split of the samples that are learnt from without labels; see `stages.segmentation.unlabelled_samples`."""
LEARNT_FROM = ("train", UNLABELLED)
"""Splits that a model learns from. A patient may be in both: labels are drawn image by image."""
LARGEST = 1024 * MIB
"""Most bytes of a user's table."""


def split_rows(store: AttentionStore, splits: Sequence[str]) -> list[dict[str, str]]:
    """Return one row per sample of the store, with the cells `id`, `group`, `digest` and `split`."""
    columns = (store.ids, store.column("group"), store.column("digest"), splits)
    return [dict(zip(ROW, map(str, cells), strict=True)) for cells in zip(*columns, strict=True)]


def splits_sha256(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a digest of the rows in any order. A model records it, so that edited rows are noticed."""
    return hashlib.sha256(json.dumps(sorted([row[name] for name in ROW] for row in rows)).encode()).hexdigest()


def store_splits_sha256(store: AttentionStore, splits: Sequence[str]) -> str:
    """Return `splits_sha256` of `split_rows`. No more than a part of the rows is in memory."""
    digest, last = hashlib.sha256(b"["), ""
    segments = _segments(store, splits)
    for number, read in enumerate(segments):
        ids, *others = read()
        if (number and last >= ids[0]) or not are_rising(ids):
            return sorted_rows_sha256(segments, len(splits))
        rows = json_rows([texts.to_list() for texts in (ids, *others)])
        digest.update(b", " * bool(number) + b", ".join(rows))
        last = ids[len(ids) - 1]
    digest.update(b"]")
    return digest.hexdigest()


def write_splits(path: Path, store: AttentionStore, splits: Sequence[str]) -> None:
    """Write `split_rows` as a table `id,group,digest,split`, with the marks of `stages.outputs.cells`.

    Rows are written as they are read, so that millions of them take no memory.
    """
    with path.open("wb") as file:
        file.writelines(csv_rows([[name.encode()] for name in ROW]))
        for read in _segments(store, splits):
            file.writelines(csv_rows([texts.to_list() for texts in read()]))


def _segments(store: AttentionStore, splits: Sequence[str]) -> list[Segment]:
    """Return a reader for each chunk of the columns: it returns the texts of the columns `ROW`."""

    def read(number: int, start: int, stop: int) -> Sequence[Texts]:
        columns = (_texts_at(store, name, number) for name in ("sample", "group", "digest"))
        return [*columns, texts_of(splits[start:stop])]

    return [partial(read, number, *extent) for number, extent in enumerate(store.columns.extents("sample"))]


def _texts_at(store: AttentionStore, name: str, number: int) -> Texts:
    """Return the texts of a column's chunk. The chunks of all columns hold the same samples."""
    values = store.columns.chunk(name, number)
    return values if isinstance(values, Texts) else texts_of(map(str, values.tolist()))


def _text(path: Path) -> io.StringIO:
    """Return the text of a table, with line ends as they are."""
    return io.StringIO(read_limited(path, limit=LARGEST).decode("utf-8-sig"), newline="")


def _id_of(cell: str, known: Collection[str], *, marked: bool) -> str:
    """Return the id that a cell stands for.

    Args:
        cell: Of the column `id`.
        known: Ids of the store.
        marked: The table is a run's, so its cells have marks. Otherwise an id counts as it is written, if it is known.
    """
    forms = (plain_cell(cell), cell) if marked else (cell, plain_cell(cell))
    return next((id_ for id_ in (*forms, *(form.strip() for form in forms)) if id_ in known), cell.strip())


def read_split_csv(path: Path, known: Collection[str]) -> tuple[dict[str, str], list[Problem]]:
    """Return the split of every id that a table names, and the problems of its rows.

    Args:
        path: Of the table.
        known: Ids of the store.
    """
    try:
        table = csv.DictReader(_text(path))
        found = table.fieldnames or []
        missing = sorted({"id", "split"} - set(found))
        if missing:
            present = ", ".join(map(ascii, found)) or "none"
            remedy = " Separate the columns with commas." if any(set(";\t") & set(name) for name in found) else ""
            lacks = f"lacks the column {' and '.join(missing)} and has {present}"
            raise UsageError(f"{path}: {lacks}; it needs `id,split`.{remedy}")
        rows = list(table)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such table.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read as UTF-8. Save the table as `CSV UTF-8`.") from None
    except (IrregularFileError, IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Name a file that may be read.") from None
    except csv.Error as error:
        raise UsageError(f"{path}: cannot be read as a comma-separated table ({error}). Correct the quotes.") from None
    wanted: dict[str, str] = {}
    problems = []
    for line, row in enumerate(rows, start=2):
        id_ = _id_of(row["id"] or "", known, marked=set(ROW) <= set(found))
        split = (row["split"] or "").strip().lower()
        if split not in (*SPLITS, UNLABELLED, ""):
            problems.append(Problem(f"{path} line {line}", f"split is `{split}`; use train, val, test or unlabelled"))
        elif id_ in wanted:
            problems.append(Problem(f"{path} line {line}", f"`{id_}` is listed twice"))
        elif split:
            wanted[id_] = split
    return wanted, problems


def splits_digest(splits: Sequence[str]) -> str:
    """Return the digest of the splits by which a run is recognised."""
    return hashlib.sha256("\n".join(splits).encode()).hexdigest()

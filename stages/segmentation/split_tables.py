"""Read and write tables of splits: the `splits.csv` of a run, and a user's own table `id,split`."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.errors import CheckpointError, Problem, UsageError
from stages.outputs.cells import plain_cell, safe_cell
from store import AttentionStore
from store.disk.regular import MIB, IrregularFileError, read_limited

__all__ = [
    "LEARNT_FROM",
    "ROW",
    "SPLITS",
    "UNLABELLED",
    "read_split_csv",
    "read_splits",
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
ROW = ("id", "group", "digest", "split")
LARGEST = 1024 * MIB
"""Most bytes of a table: about six million rows."""


def split_rows(store: AttentionStore, splits: Sequence[str]) -> list[dict[str, str]]:
    """Return one row per sample of the store, with the cells `id`, `group`, `digest` and `split`."""
    columns = (store.ids, store.column("group"), store.column("digest"), splits)
    return [dict(zip(ROW, map(str, cells), strict=True)) for cells in zip(*columns, strict=True)]


def splits_sha256(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a digest of the rows in any order. A model records it, so that edited rows are noticed."""
    return _hash_cells(sorted([row[name] for name in ROW] for row in rows))


def store_splits_sha256(store: AttentionStore, splits: Sequence[str]) -> str:
    """Return `splits_sha256` of `split_rows`. If ids are in rising order, no row stays in memory."""
    if _is_rising(store):
        return _hash_cells(_cells(store, splits))
    return _hash_cells(sorted(_cells(store, splits)))


def write_splits(path: Path, store: AttentionStore, splits: Sequence[str]) -> None:
    """Write `split_rows` as a table `id,group,digest,split`, with the marks of `stages.outputs.cells`.

    Rows are written as they are read, so that millions of them take no memory.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(ROW)
        table.writerows(list(map(safe_cell, cells)) for cells in _cells(store, splits))


def _cells(store: AttentionStore, splits: Sequence[str]) -> Iterator[list[str]]:
    """Yield the cells of one row per sample, in the order of `ROW`."""
    columns = (_texts(store, name) for name in ("sample", "group", "digest"))
    return map(list, zip(*columns, splits, strict=True))


def _texts(store: AttentionStore, name: str) -> Iterator[str]:
    """Yield the texts of a column. No more than one chunk of them are Python objects at the same time."""
    for texts in store.columns.texts(name):
        yield from (text.decode() for text in texts.chosen(np.arange(len(texts))))


def _is_rising(store: AttentionStore) -> bool:
    """Return True if every id comes after the one before it in the order of Python's texts."""
    return all(one < following for one, following in itertools.pairwise(_texts(store, "sample")))


def _hash_cells(rows: Iterable[Sequence[str]]) -> str:
    """Return the SHA-256 of the JSON text of a list of rows, made row by row."""
    digest = hashlib.sha256(b"[")
    for number, cells in enumerate(rows):
        digest.update((", " if number else "").encode() + json.dumps(cells).encode())
    digest.update(b"]")
    return digest.hexdigest()


def read_splits(path: Path, expected_sha256: str = "") -> list[dict[str, str]]:
    """Read the rows that `write_splits` wrote.

    Args:
        path: the run's table.
        expected_sha256: digest of the rows that the run's model records; "" for older runs, which recorded none.

    Raises:
        CheckpointError: the table is missing, damaged, or was changed, so it is not known what the run was trained on.
    """
    try:
        rows = list(csv.DictReader(_text(path)))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing, so it is not known what the run was trained on.") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}).\n  Allow reading it, or check the disk."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(f"{path}: is damaged and cannot be read as UTF-8 CSV: {error}") from None
    if not rows or any(not isinstance(row.get(name), str) for row in rows for name in ROW):
        raise CheckpointError(
            f"{path}: is damaged or was changed after training, so it is not known what the run was trained on; "
            f"a row lacks one of the columns {', '.join(ROW)}.\n  Restore the file (`dvc checkout`?), or train again."
        )
    # Version 0.2 and before wrote every cell as it is. The digest says which of the two a table is.
    plain = [row | {name: plain_cell(row[name]) for name in ROW} for row in rows]
    if expected_sha256 and splits_sha256(plain) == expected_sha256:
        return plain
    if expected_sha256 and splits_sha256(rows) != expected_sha256:
        raise CheckpointError(
            f"{path}: was changed after training, so it is not known what the run was trained on.\n"
            "  Restore the file (`dvc checkout`?), or train again."
        )
    return rows


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

"""Read a user's table `id,split`, without a Python object for each row.

Ids are compared by 64 bits of each (`store.text_words`). Python looks only at rows whose id is not known as it is
written, whose split is written in another way, or that name an id again; so it finds all problems of the rows.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.errors import Problem, UsageError
from stages.outputs.cells import plain_cell
from stages.segmentation.column_prints import Prints, prints_of
from stages.segmentation.split_blocks import ROW, texts_of
from stages.segmentation.split_codes import split_codes
from stages.segmentation.split_tables import SPLITS, UNLABELLED
from stages.segmentation.table_blocks import TableBlocks
from store.disk.regular import MIB, IrregularFileError
from store.texts import Texts

__all__ = ["LARGEST", "NAMES", "NO_SPLIT", "KnownIds", "ListedSplits", "read_split_csv"]

LARGEST = 1024 * MIB
"""Most bytes of a table."""
NAMES = ("", *SPLITS, UNLABELLED)
"""Splits that a table may name; positions in it are their codes."""
NO_SPLIT = 0
TOGETHER = 1 << 18
"""Ids that are looked up together."""
_OTHER = len(NAMES)


class KnownIds:
    """Find ids by the 64 bits that stand for them. Every id has a number.

    Args:
        prints: of all ids, in any order; repeats are allowed.
    """

    def __init__(self, prints: Prints) -> None:
        ordered = np.sort(prints)  # `np.unique` takes ten times as long
        self._prints = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]]

    def __len__(self) -> int:
        return len(self._prints)

    def numbers_of(self, ids: Texts) -> NDArray[np.int64]:
        """Return the numbers of ids, (id,); -1 for those that are not known."""
        return self.numbers(prints_of(ids))

    def numbers(self, prints: Prints) -> NDArray[np.int64]:
        """Return the numbers of the ids with these prints, (id,); -1 for those that are not known."""
        found = np.full(len(prints), -1, np.int64)
        for start in range(0, len(prints) if len(self) else 0, TOGETHER):
            part = prints[start : start + TOGETHER]
            order = np.argsort(part)  # a search in this order takes a third of the time
            at = np.minimum(np.searchsorted(self._prints, part[order]), len(self) - 1)
            found[start + order] = np.where(self._prints[at] == part[order], at, -1)
        return found


@dataclass(frozen=True, kw_only=True)
class ListedSplits:
    """Hold what a table says."""

    codes: NDArray[np.uint8]
    """(known id,) split by the number of the id: position in `NAMES`."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Code of each split that the table gives to an id that is not known, in its order."""
    problems: list[Problem] = field(default_factory=list)
    """Problems of rows, in the order of the rows."""


def read_split_csv(path: Path, known: KnownIds) -> ListedSplits:
    """Return the split of every id that a table names, and the problems of its rows.

    Args:
        path: of the table.
        known: ids of the store.

    Raises:
        UsageError: the table cannot be read, or lacks a column.
    """
    try:
        table = TableBlocks(path, limit=LARGEST)
        missing = sorted({"id", "split"} - set(table.header))
        if missing:
            table.require_utf8()
            present = ", ".join(map(ascii, table.header)) or "none"
            separated = any(set(";\t") & set(name) for name in table.header)
            remedy = " Separate the columns with commas." if separated else ""
            lacks = f"lacks the column {' and '.join(missing)} and has {present}"
            raise UsageError(f"{path}: {lacks}; it needs `id,split`.{remedy}")
        reader = _Reader(path, known, marked=set(ROW) <= set(table.header))
        for ids, splits in table.blocks(["id", "split"]):
            reader.add(ids, splits)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such table. Check the path.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read as UTF-8. Save the table as `CSV UTF-8`.") from None
    except (IrregularFileError, IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Name a file that may be read.") from None
    except csv.Error as error:
        raise UsageError(f"{path}: cannot be read as a comma-separated table ({error}). Correct the quotes.") from None
    return reader.listed


class _Reader:
    """Take blocks of rows, in their order.

    Args:
        path: of the table, for messages.
        known: ids of the store.
        marked: the table is a run's, so its cells have marks. Otherwise an id counts as it is written, if it is known.
    """

    def __init__(self, path: Path, known: KnownIds, *, marked: bool) -> None:
        self.listed = ListedSplits(codes=np.zeros(len(known), np.uint8))
        self._path = path
        self._known = known
        self._marked = marked
        self._line = 2

    def add(self, ids: Texts, splits: Texts) -> None:
        """Take the next rows."""
        numbers = self._known.numbers_of(ids)
        codes = split_codes(splits, NAMES)
        # A cell that begins with a mark may stand for another id, also if it is an id as it is written.
        unusual = (numbers < 0) | (codes == _OTHER) | (self._marked & _begin_with_mark(ids))
        usual = numbers[~unusual]
        repeated = self.listed.codes[usual] != NO_SPLIT
        ordered = np.sort(usual)
        repeated |= np.isin(usual, ordered[1:][ordered[1:] == ordered[:-1]])
        if unusual.any() or repeated.any():
            self._add_in_order(ids, splits, numbers, codes, unusual)
        else:
            self.listed.codes[numbers] = codes
        self._line += len(ids)

    def _add_in_order(
        self,
        ids: Texts,
        splits: Texts,
        numbers: NDArray[np.int64],
        codes: NDArray[np.uint8],
        unusual: NDArray[np.bool_],
    ) -> None:
        """Take rows one by one, because some are unusual or name an id again."""
        listed, where = self.listed, f"{self._path} line"
        id_texts, split_texts = ids.to_list(), splits.to_list()
        odd = np.flatnonzero(unusual)
        names, numbers[odd] = self._ids_of([id_texts[row].decode() for row in odd.tolist()])
        name_of = dict(zip(odd.tolist(), names, strict=True))
        for row, (number, known_code) in enumerate(zip(numbers.tolist(), codes.tolist(), strict=True)):
            code = known_code
            if code == _OTHER:
                split = split_texts[row].decode().strip().lower()
                if split not in NAMES:
                    what = f"split is `{split}`; use train, val, test or unlabelled"
                    listed.problems.append(Problem(f"{where} {self._line + row}", what))
                    continue
                code = NAMES.index(split)
            if listed.codes[number] != NO_SPLIT if number >= 0 else name_of[row] in listed.unknown:
                name = name_of.get(row, id_texts[row].decode())
                listed.problems.append(Problem(f"{where} {self._line + row}", f"`{name}` is listed twice"))
            elif code != NO_SPLIT and number >= 0:
                listed.codes[number] = code
            elif code != NO_SPLIT:
                listed.unknown[name_of[row]] = code

    def _ids_of(self, cells: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
        """Return the ids that cells stand for, and their numbers, (cell,); -1 for those that are not known."""
        names = [cell.strip() for cell in cells]
        numbers = np.full(len(cells), -1, np.int64)
        plain = list(map(plain_cell, cells))
        forms = (plain, cells) if self._marked else (cells, plain)
        for form in (*forms, *([text.strip() for text in texts] for texts in forms)):
            left = np.flatnonzero(numbers < 0)
            numbers[left] = found = self._known.numbers_of(texts_of(form[at] for at in left.tolist()))
            for at in left[found >= 0].tolist():
                names[at] = form[at]
        return names, numbers


def _begin_with_mark(texts: Texts) -> NDArray[np.bool_]:
    """Return True for each text that begins with a quotation mark `'`, (text,)."""
    found: NDArray[np.bool_] = texts.lengths > 0
    found[found] = texts.content[texts.starts[found]] == ord("'")
    return found

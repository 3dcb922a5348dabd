"""Read a run's `splits.csv` in blocks of rows, without a Python object for each cell.

A table of ten million rows has a gigabyte. Its blocks are read one after the other, and the cells of a block are texts
in one buffer (`store.texts`). A block of plain cells is divided at its commas and line ends by NumPy. Any other block,
one with quotes, marks (`stages.outputs.cells`) or letters outside ASCII, is read by Python's `csv`, row by row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stages.outputs.cells import plain_cell
from stages.segmentation.json_rows import json_rows
from store.disk.regular import MIB, open_regular
from store.texts import Texts

__all__ = ["ROW", "MissingCellError", "SplitBlock", "SplitFile", "texts_of"]

ROW = ("id", "group", "digest", "split")
BLOCK = MIB
"""Bytes that are read at a time."""
LONGEST = 64 * MIB
"""Most bytes between two ends of rows; more are no table."""

_COMMA, _SPACE = b", "
_BOM = b"\xef\xbb\xbf"
_NOT_PLAIN = (b'"', b"'", b"\\", b"\x7f")
"""Letters that CSV, the marks, or JSON write in another way. Other control characters are found with the line ends."""


class MissingCellError(ValueError):
    """A row or the header lacks one of the columns `ROW`, or there are no rows."""


@dataclass(frozen=True, kw_only=True)
class SplitBlock:
    """Hold some rows of a table, in its order."""

    columns: tuple[Texts, Texts, Texts, Texts]
    """Texts of the columns `ROW`."""
    json: Callable[[], bytes]
    """Return the rows as `json.dumps` writes them, with `, ` between them."""
    place: tuple[int, int]
    """Position of its first byte in the file, and its number of bytes."""

    def __len__(self) -> int:
        return len(self.columns[0])


class SplitFile:
    """Read blocks of a table.

    Args:
        path: of the table.
        marked: its cells have marks, which are taken away. False: cells are texts as they are in the file.

    Raises:
        MissingCellError: the header lacks a column.
        OSError, UnicodeDecodeError, csv.Error: the file cannot be read as UTF-8 CSV.
    """

    def __init__(self, path: Path, *, marked: bool) -> None:
        self._path = path
        self._marked = marked
        with open_regular(path) as file:
            begin = file.read(BLOCK)
        start = len(_BOM) if begin.startswith(_BOM) else 0
        text = io.StringIO(begin[start : begin.rfind(b"\n") + 1 or None].decode(), newline="")
        header = next(csv.reader(text), [])
        self._start = start + len(text.getvalue()[: text.tell()].encode())
        missing = [name for name in ROW if name not in header]
        if missing:
            raise MissingCellError(f"it has no column {missing[0]}")
        self._is_plain = header == list(ROW)
        # The last column counts if a name is there twice, as for `csv.DictReader`.
        self._places = [len(header) - 1 - header[::-1].index(name) for name in ROW]

    def blocks(self) -> Iterator[SplitBlock]:
        """Yield all rows in blocks.

        Raises:
            MissingCellError: a row lacks a cell, or there are no rows.
            OSError, UnicodeDecodeError, csv.Error: the file cannot be read as UTF-8 CSV.
        """
        at, found = self._start, False
        for content in self._contents():
            block = self._block(content, (at, len(content)))
            at += len(content)
            if len(block):
                found = True
                yield block
        if not found:
            raise MissingCellError("it has no rows")

    def block_at(self, place: tuple[int, int]) -> SplitBlock:
        """Read a block again.

        Raises:
            MissingCellError, OSError, UnicodeDecodeError, csv.Error: as `blocks`; the file was changed meanwhile.
        """
        with open_regular(self._path) as file:
            file.seek(place[0])
            return self._block(file.read(place[1]), place)

    def _contents(self) -> Iterator[bytes]:
        """Yield the rows of the file in parts that end where a row ends."""
        with open_regular(self._path) as file:
            file.seek(self._start)
            rest = b""
            while part := file.read(BLOCK):
                content = rest + part
                end = content.rfind(b"\n") + 1
                if not end or (
                    b'"' in content and content.count(b'"', 0, end) % 2
                ):  # a cell in quotes may hold line ends
                    if len(content) > LONGEST:
                        raise csv.Error(f"a row has more than {LONGEST // MIB} MiB")
                    rest = content
                    continue
                yield content[:end]
                rest = content[end:]
            if rest:
                yield rest

    def _block(self, content: bytes, place: tuple[int, int]) -> SplitBlock:
        block = _plain_block(content, place) if self._is_plain else None
        return block or _parsed_block(content, place, self._places, marked=self._marked)


def texts_of(values: Iterable[str]) -> Texts:
    """Return texts in one buffer."""
    encoded = [value.encode() for value in values]
    lengths = np.array([len(value) for value in encoded], np.uint32)
    starts = np.zeros(len(encoded), np.uint32)
    np.cumsum(lengths[:-1], out=starts[1:])
    return Texts(np.frombuffer(b"".join(encoded), np.uint8), starts, lengths)


def _plain_block(content: bytes, place: tuple[int, int]) -> SplitBlock | None:
    """Return the rows of a block of plain cells; None if it has any others, or if a row has not four cells."""
    if not content.isascii() or content[-1:] != b"\n" or any(letter in content for letter in _NOT_PLAIN):
        return None
    letters = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(letters <= _COMMA)
    found = letters[places]
    places = places[(found < _SPACE) | (found == _COMMA)]  # commas, and control characters as line ends are
    line_end = b"\r\n" if b"\r" in content else b"\n"
    pattern = np.frombuffer(b"," * (len(ROW) - 1) + line_end, np.uint8)
    if len(places) % len(pattern) or (letters[places].reshape(-1, len(pattern)) != pattern).any():
        return None
    cells = places.reshape(-1, len(pattern))
    if (cells[:, -1] - cells[:, len(ROW) - 1] != len(line_end) - 1).any():
        return None
    starts = np.zeros((len(ROW), len(cells)), np.int64)
    starts[0, 1:] = cells[:-1, -1] + 1
    starts[1:] = cells[:, : len(ROW) - 1].T + 1
    lengths = (cells[:, : len(ROW)].T - starts).astype(np.uint32)
    first, second, third, fourth = (
        Texts(letters, one, length) for one, length in zip(starts.astype(np.uint32), lengths, strict=True)
    )
    return SplitBlock(columns=(first, second, third, fourth), json=partial(_plain_json, content, line_end), place=place)


def _plain_json(content: bytes, line_end: bytes) -> bytes:
    """Return plain rows as `json.dumps` writes them."""
    return b'["' + content[: -len(line_end)].replace(b",", b'", "').replace(line_end, b'"], ["') + b'"]'


def _parsed_block(content: bytes, place: tuple[int, int], columns: Sequence[int], *, marked: bool) -> SplitBlock:
    """Return the rows of any block, read by `csv`.

    Raises:
        MissingCellError: a row lacks a cell.
        UnicodeDecodeError, csv.Error: it is not UTF-8 CSV.
    """
    rows = [row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row]
    if any(len(row) <= max(columns) for row in rows):
        raise MissingCellError("a row lacks a cell")
    first, second, third, fourth = (
        texts_of(plain_cell(row[at]) if marked and row[at][:1] == "'" else row[at] for row in rows) for at in columns
    )
    cells = (first, second, third, fourth)
    return SplitBlock(columns=cells, json=partial(_any_json, cells), place=place)


def _any_json(columns: Sequence[Texts]) -> bytes:
    """Return rows as `json.dumps` writes them."""
    return b", ".join(json_rows([texts.to_list() for texts in columns]))

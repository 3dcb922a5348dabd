"""Read columns of a user's table in blocks of rows, without a Python object for each cell.

The rows are those of `csv.DictReader`: blank lines count as no row, missing cells as empty, and of two columns with
one name the last counts. A block without quotation marks whose rows all have the same number of cells is divided at its
commas and line ends by NumPy; any other block is read by Python's `csv`. Rows are never divided: if a block ends inside
quotation marks, its last row is read again together with the next block.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from stages.segmentation.split_blocks import texts_of
from store.disk.regular import MIB, open_regular, read_limited
from store.texts import Texts

__all__ = ["TableBlocks"]

BLOCK = 2 * MIB
"""Bytes that are read at a time."""
END = "end of a part"
"""Row that is put behind a part: it is not a row of its own if the part ends inside quotation marks."""
_BOM = b"\xef\xbb\xbf"
_COMMA, _LINE_FEED, _RETURN = b",\n\r"


class TableBlocks:
    """Read a table. Its header is known at once.

    Args:
        path: of the table; it may begin with a byte-order mark.
        limit: most bytes that it may have.

    Raises:
        IrregularFileError: it is not a regular file, or larger.
        OSError, UnicodeDecodeError, csv.Error: it cannot be read as UTF-8 CSV.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        if path.stat().st_size > limit:
            read_limited(path, limit=limit)  # raises the error
        self._parts = _parts(path)
        content = next(self._parts, b"").removeprefix(_BOM)
        while True:
            text = io.StringIO(content.decode(), newline="")
            self.header = next(csv.reader(text), [])
            """Names of the columns."""
            used = len(text.getvalue()[: text.tell()].encode())
            if used < len(content) or (more := next(self._parts, None)) is None:
                break
            content += more  # the header may hold line ends
        self._begin = content[used:]

    def require_utf8(self) -> None:
        """Read to the end. Afterwards there are no blocks.

        Raises:
            OSError, UnicodeDecodeError: the file cannot be read as UTF-8.
        """
        for part in self._parts:
            part.decode()

    def blocks(self, names: Sequence[str]) -> Iterator[list[Texts]]:
        """Yield the cells of some columns of all rows in blocks. It can be done once.

        Args:
            names: of columns in the header.

        Raises:
            OSError, UnicodeDecodeError, csv.Error: the file cannot be read as UTF-8 CSV.
        """
        places = [len(self.header) - 1 - self.header[::-1].index(name) for name in names]
        held = b""
        for part in chain([self._begin], self._parts):
            content, held = held + part, b""
            columns = _plain_columns(content, len(self.header), places)
            if columns is None:
                columns, held = _parsed_columns(content, places)
            yield columns
        if held:
            yield _columns_of(_rows(held.decode()), places)


def _parts(path: Path) -> Iterator[bytes]:
    """Yield a file in parts that end with a line feed, except the last one."""
    with open_regular(path) as file:
        rest: list[bytes] = []
        while part := file.read(BLOCK):
            end = part.rfind(b"\n") + 1
            if end:
                yield b"".join([*rest, part[:end]])
                rest = []
            rest.append(part[end:])
        if any(rest):
            yield b"".join(rest)


def _plain_columns(content: bytes, count: int, places: Sequence[int]) -> list[Texts] | None:
    """Return columns of a block without quotation marks; None if it has any, or rows with other numbers of cells.

    Args:
        content: rows.
        count: cells of a row.
        places: of the columns.
    """
    if b'"' in content or content[-1:] != b"\n":
        return None
    if not content.isascii():
        content.decode()
    letters = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(letters <= _COMMA)
    found = letters[ends]
    ends = ends[(found == _COMMA) | (found == _LINE_FEED) | (found == _RETURN)]
    line_end = b"\r\n" if b"\r" in content else b"\n"
    pattern = np.frombuffer(b"," * (count - 1) + line_end, np.uint8)
    if len(ends) % len(pattern) or (letters[ends].reshape(-1, len(pattern)) != pattern).any():
        return None
    cells = ends.reshape(-1, len(pattern))
    if (cells[:, -1] - cells[:, count - 1] != len(line_end) - 1).any():
        return None
    starts = np.zeros((count, len(cells)), np.int64)
    starts[0, 1:] = cells[:-1, -1] + 1
    starts[1:] = cells[:, : count - 1].T + 1
    lengths = cells[:, :count].T - starts
    if lengths.max(initial=0) > csv.field_size_limit() or (count == 1 and not lengths.all()):
        return None
    return [Texts(letters, starts[at].astype(np.uint32), lengths[at].astype(np.uint32)) for at in places]


def _parsed_columns(content: bytes, places: Sequence[int]) -> tuple[list[Texts], bytes]:
    """Return columns of any block, and the bytes of its last row if that ends inside quotation marks."""
    decoded = content.decode()
    text = io.StringIO(decoded + END if decoded.endswith("\n") else f"{decoded}\n{END}", newline="")
    rows: list[list[str]] = []
    begin = end = 0  # of the last row
    for row in csv.reader(text):
        rows.append(row)
        begin, end = end, text.tell()
    rest = b"" if rows.pop() == [END] else decoded[begin:].encode()
    return _columns_of([row for row in rows if row], places), rest


def _rows(text: str) -> list[list[str]]:
    """Return the rows of a text that are not blank."""
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


def _columns_of(rows: Sequence[Sequence[str]], places: Sequence[int]) -> list[Texts]:
    return [texts_of(row[at] if at < len(row) else "" for row in rows) for at in places]

"""Hold the texts of a column's chunk as bytes, without a Python object for each of them.

A chunk in `vlen-utf8` is a count, then the length of each text and its bytes (store/FORMAT.md). `Texts` keeps these
bytes, which may be those of a mapped file, and the places of the texts in them. If all texts have one length, as
digests have, the places follow from it and are not searched for.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Texts", "parse_texts"]

_LENGTH = struct.Struct("<I")
PLACE = np.uint32
"""Type of a position in a chunk, and of a length: a chunk has at most 256 MiB."""
LONG = 256
"""Bytes of a text that are compared for all texts of a chunk at once. One long text must not cost memory for each."""
PREFIX = _LENGTH.size
"""Bytes of the length before each text."""
RUN = 16
"""Smallest mean number of neighbouring texts of one length for which such neighbours are compared together."""


class Texts:
    """Texts in UTF-8, one after the other in a buffer, each behind its length in `PREFIX` bytes.

    Args:
        content: (bytes,) uint8 with all texts.
        starts: (text,) position of each text's first byte.
        lengths: (text,) its number of bytes.
    """

    def __init__(self, content: NDArray[np.uint8], starts: NDArray[PLACE], lengths: NDArray[PLACE]) -> None:
        self.content = content
        """(bytes,) the buffer with all texts."""
        self.starts = starts
        """(text,) position of each text's first byte."""
        self.lengths = lengths
        """(text,) number of bytes of each text."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> str:
        """Return one text."""
        return self._bytes(index).decode()

    def _bytes(self, index: int) -> bytes:
        start = int(self.starts[index])
        return self.content[start : start + int(self.lengths[index])].tobytes()

    def to_array(self) -> NDArray[Any]:
        """Return the texts as an array of NumPy's `StringDType`."""
        return np.array([text.decode() for text in self.to_list()], np.dtypes.StringDType())

    def to_list(self) -> list[bytes]:
        """Return the bytes of all texts."""
        return self.chosen(np.arange(len(self)))

    def stored(self) -> bytes:
        """Return the texts, of which there is at least one, as a chunk stores them: each behind its length."""
        return self.content[int(self.starts[0]) - PREFIX : int(self.starts[-1]) + int(self.lengths[-1])].tobytes()

    def first(self, count: int) -> Texts:
        """Return the first texts."""
        return Texts(self.content, self.starts[:count], self.lengths[:count])

    def chosen(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Return the bytes of some texts."""
        content = self.content.tobytes()
        starts, lengths = self.starts[positions].tolist(), self.lengths[positions].tolist()
        return [content[start : start + length] for start, length in zip(starts, lengths, strict=True)]

    def differs_from_previous(self) -> NDArray[np.bool_]:
        """Return True for every text that is not equal to the one before it, (text,); True for the first one."""
        ends = (np.flatnonzero(self.lengths[1:] != self.lengths[:-1]) + 1).tolist()
        if RUN * len(ends) > len(self):
            return self._rows_that_differ()
        differs = np.ones(len(self), np.bool_)
        for first, end in itertools.pairwise((0, *ends, len(self))):
            step = int(self.lengths[first]) + PREFIX if end - first > 1 else 0
            if step:  # the text before lies `step` bytes before, and so do all of its bytes
                run = self.content[int(self.starts[first]) : int(self.starts[end - 1]) + step - PREFIX]
                differs[first + 1 : end] = False
                differs[first + 1 + np.flatnonzero(run[step:] != run[:-step]) // step] = True
        return differs

    def _rows_that_differ(self) -> NDArray[np.bool_]:
        """Return `differs_from_previous` for texts whose lengths change often."""
        differs = np.ones(len(self), np.bool_)
        width = min(LONG, int(self.lengths.max(initial=0)))
        rows = self.padded(width)
        differs[1:] = (rows[1:] != rows[:-1]).any(axis=1) | (self.lengths[1:] != self.lengths[:-1])
        for row in np.flatnonzero(~differs & (self.lengths > width)).tolist():
            differs[row] = self._bytes(row) != self._bytes(row - 1)
        return differs

    def are_hexadecimal(self, digits: int) -> NDArray[np.bool_]:
        """Return True for every text that is this number of digits 0-9 and a-f, (text,)."""
        letters = self.padded(digits)
        sound = ((letters >= ord("0")) & (letters <= ord("9"))) | ((letters >= ord("a")) & (letters <= ord("f")))
        found: NDArray[np.bool_] = sound.all(axis=1) & (self.lengths == digits)
        return found

    def padded(self, width: int) -> NDArray[np.uint8]:
        """Return the bytes of all texts as rows, (text, width), cut or filled with zeros."""
        rows = np.zeros((len(self), width), np.uint8)
        if not len(self):
            return rows
        length = int(self.lengths[0])
        steps = np.diff(self.starts)
        if (self.lengths == length).all() and (not len(steps) or (steps == steps[0]).all()):
            taken = min(length, width)
            strides = (int(steps[0]) if len(steps) else 0, 1)
            texts = self.content[int(self.starts[0]) :]
            rows[:, :taken] = np.lib.stride_tricks.as_strided(texts, (len(self), taken), strides, writeable=False)
            return rows
        places = self.starts[:, None].astype(np.int64) + np.arange(width)
        inside = np.arange(width) < self.lengths[:, None]
        rows[inside] = self.content[places[inside]]
        return rows


def parse_texts(content: bytes | memoryview, count: int) -> Texts:
    """Find the texts in a chunk of `vlen-utf8`.

    Args:
        content: the chunk without its checksum.
        count: number of texts that it must hold.

    Raises:
        ValueError: it does not hold exactly these texts, or they are not UTF-8.
    """
    size = len(content)
    if size < PREFIX * (1 + count) or _LENGTH.unpack_from(content)[0] != count:
        raise ValueError(f"does not hold {count} texts")
    texts = np.frombuffer(content, np.uint8)
    places = _of_one_length(content, count)
    starts, lengths = places if places is not None else _searched(content, count)
    if texts.max(initial=0) >= 128:  # noqa: PLR2004 - else all is ASCII
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            bytes(content[start : start + length]).decode()  # a UnicodeDecodeError is a ValueError
    return Texts(texts, starts, lengths)


def _of_one_length(content: bytes | memoryview, count: int) -> tuple[NDArray[PLACE], NDArray[PLACE]] | None:
    """Return the places of texts that all have one length; None if they differ in length."""
    if not count:
        return None
    length = (len(content) - PREFIX) // count - PREFIX
    step = PREFIX + length
    if PREFIX + count * step != len(content):
        return None
    rows = np.frombuffer(content, np.uint8, offset=PREFIX).reshape(count, step)
    if (rows[:, :PREFIX] != np.frombuffer(_LENGTH.pack(length), np.uint8)).any():
        return None
    starts = (PREFIX + PREFIX + step * np.arange(count)).astype(PLACE)
    return starts, np.broadcast_to(PLACE(length), count)


def _searched(content: bytes | memoryview, count: int) -> tuple[NDArray[PLACE], NDArray[PLACE]]:
    """Return the places of texts, found one after the other; of many neighbours of one length together."""
    runs: list[NDArray[np.int64]] = []
    starts: list[int] = []
    end, at, alike, last = len(content), PREFIX, 0, -1
    length_at = _LENGTH.unpack_from
    left = count
    try:
        while left:
            length = length_at(content, at)[0]
            alike = alike + 1 if length == last else 0
            last = length
            starts.append(at + PREFIX)
            at += PREFIX + length
            left -= 1
            if at > end:
                break
            if alike == RUN and left:
                alike = 0
                number = _of_this_length(content, at, length, left)
                runs += [np.array(starts, np.int64), at + PREFIX + (PREFIX + length) * np.arange(number)]
                starts = []
                at += (PREFIX + length) * number
                left -= number
    except struct.error:
        raise ValueError("corrupt buffer: a text reaches beyond the chunk") from None
    if at != end or left:
        raise ValueError("corrupt buffer: the texts do not fill the chunk")
    places = np.concatenate([*runs, np.array([*starts, end + PREFIX], np.int64)]).astype(PLACE)
    return places[:-1], np.diff(places) - PLACE(PREFIX)


def _of_this_length(content: bytes | memoryview, at: int, length: int, most: int) -> int:
    """Return how many texts of one length follow each other.

    Args:
        content: the chunk.
        at: position of the first one's length.
        length: number of bytes of each.
        most: texts that are looked at.
    """
    step = PREFIX + length
    most = min(most, (len(content) - at) // step)
    lengths = np.ndarray((most,), "<u4", content, offset=at, strides=(step,)) if most else np.empty(0, np.uint32)
    others = np.flatnonzero(lengths != length)
    return int(others[0]) if len(others) else most

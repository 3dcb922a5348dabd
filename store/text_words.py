"""Compare and hash many texts at once, eight bytes of each at a time.

No Python object is made for a text, so ten million texts take about a second. `store.texts.Texts` holds the texts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from store.texts import Texts

__all__ = ["are_equal", "are_rising", "first_of", "text_prints"]

WORD = 8
"""Bytes that are taken at once."""
_KEPT = np.array([(1 << 8 * count) - 1 for count in range(WORD + 1)], np.uint64)
"""Masks of the first bytes of a word, by their number."""
_FACTOR, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_START, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(31)


def text_prints(texts: Texts, salt: int = 0) -> NDArray[np.uint64]:
    """Return 64 bits for each text, (text,). Equal texts have equal bits, in every process and version.

    Different texts have different bits, except by chance: among ten million texts any two agree with a probability of
    3 in a million. Without a secret salt, texts can be chosen to agree. A step is that of SplitMix64's end.

    Args:
        texts: the texts.
        salt: 64 bits; only bits with the same salt can be compared.
    """
    prints: NDArray[np.uint64] = texts.lengths.astype(np.uint64) * _START ^ np.uint64(salt)
    for rows, words in _words(texts):
        values = prints if rows is None else prints[rows]
        mixed = values ^ words
        mixed *= _FACTOR
        mixed ^= mixed >> _SHIFT
        mixed *= _SECOND
        mixed ^= mixed >> _SHIFT
        if rows is None:
            prints = mixed
        else:
            prints[rows] = mixed
    return prints


def are_rising(texts: Texts) -> bool:
    """Return True if every text comes after the one before it, in the order of their bytes.

    This is also the order of Python's texts, because UTF-8 keeps the order of code points.
    """
    windows = _windows(texts)
    one = np.arange(max(0, len(texts) - 1))  # the pairs that agree so far
    lengths = texts.lengths
    place = 0
    while len(one):
        ends = np.minimum(lengths[one], lengths[one + 1]) <= place
        if (lengths[one[ends]] >= lengths[one[ends] + 1]).any():
            return False  # the second text is a part of the first one, or equal
        one = one[~ends]
        before, after = (_word(texts, windows, rows, place).byteswap() for rows in (one, one + 1))
        if (before > after).any():
            return False
        one = one[before == after]
        place += WORD
    return True


def are_equal(one: Texts, other: Texts) -> NDArray[np.bool_]:
    """Return True where the texts of two sequences are equal, (text,)."""
    equal: NDArray[np.bool_] = one.lengths == other.lengths
    rows = np.flatnonzero(equal)
    windows, other_windows, place = _windows(one), _windows(other), 0
    while len(rows):
        rows = rows[one.lengths[rows] > place]
        same = _word(one, windows, rows, place) == _word(other, other_windows, rows, place)
        equal[rows[~same]] = False
        rows, place = rows[same], place + WORD
    return equal


def first_of(texts: Texts, rows: NDArray[np.int64]) -> bytes:
    """Return the text that is the first in order of those at `rows`, of which there is at least one."""
    windows, place = _windows(texts), 0
    while not (ended := texts.lengths[rows] <= place).any():
        words = _word(texts, windows, rows, place).byteswap()
        rows, place = rows[words == words.min()], place + WORD
    shortest = rows[ended][np.argmin(texts.lengths[rows[ended]])]
    return texts.chosen(np.array([shortest]))[0]


def _words(texts: Texts) -> Iterator[tuple[NDArray[np.int64] | None, NDArray[np.uint64]]]:
    """Yield the texts that reach so far (None for all), and their next eight bytes, filled with zeros."""
    lengths = texts.lengths
    shortest, longest = int(lengths.min(initial=1 << 30)), int(lengths.max(initial=0))
    windows, rows = _windows(texts), None
    for place in range(0, longest, WORD):
        if shortest <= place:
            rows = np.flatnonzero(lengths > place) if rows is None else rows[lengths[rows] > place]
        yield rows, _word(texts, windows, rows, place)


def _word(texts: Texts, windows: NDArray[np.uint64], rows: NDArray[np.int64] | None, place: int) -> NDArray[np.uint64]:
    """Return the eight bytes from `place` on of some texts that are longer than that, filled with zeros, (row,)."""
    starts, lengths = (texts.starts, texts.lengths) if rows is None else (texts.starts[rows], texts.lengths[rows])
    words: NDArray[np.uint64] = windows[starts.astype(np.int64) + place]
    left = lengths.astype(np.int64) - place
    if left.min(initial=WORD) < WORD:
        words &= _KEPT[np.minimum(left, WORD)]
    return words


def _windows(texts: Texts) -> NDArray[np.uint64]:
    """Return the eight bytes at every position of the texts' buffer, as numbers whose lowest byte is the first."""
    content = np.concatenate([texts.content, np.zeros(WORD, np.uint8)])
    return np.ndarray((len(content) - WORD + 1,), "<u8", content.data, strides=(1,))

"""Join the places of several chunks in a file into few ranges to fetch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FileRange", "joined_ranges"]

GAP = 64 * 1024
"""Unneeded bytes between two chunks that cost less than a further request."""

MOST = 4 * 1024 * 1024
"""Largest range that is made of several chunks, so that a batch is fetched by several requests at once."""


@dataclass(frozen=True)
class FileRange:
    """Hold one range of a file and the chunks inside."""

    start: int
    stop: int
    chunks: tuple[tuple[int, int, int], ...]
    """(sample, first byte, byte after the last one) of every chunk, in the order of the file."""


def joined_ranges(places: Iterable[tuple[int, int, int]]) -> list[FileRange]:
    """Join chunks that are near each other in one file.

    Args:
        places: (sample, first byte, byte after the last one) of every chunk; each sample once.

    Returns:
        Ranges in the order of the file.
    """
    ranges: list[FileRange] = []
    for place in sorted(places, key=lambda one: one[1]):
        _, start, stop = place
        last = ranges[-1] if ranges else None
        if last is not None and start - last.stop <= GAP and stop - last.start <= MOST:
            ranges[-1] = FileRange(last.start, stop, (*last.chunks, place))
        else:
            ranges.append(FileRange(start, stop, (place,)))
    return ranges

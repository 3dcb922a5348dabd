"""Make room in the cache: remove the files that were used longest ago until a further one fits.

All processes that share a cache count its bytes in one file, `FOLDER/.bytes`. So adding a file costs the same whatever
the number of files. The files themselves are listed in three cases: the count would exceed the size, the count cannot
be read, or this process has not listed them for `RECOUNT` seconds. The last case corrects a count that is wrong because
somebody added or removed files, because a process was killed, or because downloads were under way during a listing.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from pathlib import Path

from store.disk.locks import is_locked, lock_file
from store.remote.cache import BEGUN, PARTIAL, STORE_NAME

__all__ = ["Room"]

RECOUNT = 600.0
"""Seconds after which a process lists the files of the cache again."""

SPARE = 0.05
"""Share of the size that is freed beyond what one file needs, so that the files are not listed for each one."""

ABANDONED = 3600.0
"""Seconds after which a partial file that nobody writes to counts as left behind by a killed process."""

_COUNT = re.compile(rb"[0-9]{1,18}")


class Room:
    """Keep one cache below its size. Use it from several threads and processes.

    Args:
        folder: of the cache.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed = -math.inf

    def make(self, size: int, needed: int) -> None:
        """Remove the files that were used longest ago, until a further one fits, and count it. Files in use stay.

        Args:
            size: most bytes that all files may have.
            needed: bytes of the new file.

        Raises:
            OSError: the cache cannot be listed, or not be written.
        """
        with lock_file(self._folder / ".lock"):
            total = self._counted() if time.monotonic() - self._listed < RECOUNT else None
            if total is None or total + needed > size:
                total = self._shrunk(size, needed)
                self._listed = time.monotonic()
            (self._folder / ".bytes").write_bytes(b"%d" % (total + needed))

    def _counted(self) -> int | None:
        """Return the bytes of all files by the shared count; None if there is none."""
        with contextlib.suppress(OSError):
            text = (self._folder / ".bytes").read_bytes()
            if _COUNT.fullmatch(text):
                return int(text)
        return None

    def _shrunk(self, size: int, needed: int) -> int:
        """Remove files if a further one does not fit. Return the bytes of those that stay."""
        files = [(file, status) for file, status in _files(self._folder) if not _is_note(file)]
        total = sum(status.st_size for _, status in files)
        if total + needed <= size:
            return total
        for file, _ in sorted(files, key=lambda entry: entry[1].st_mtime):
            if total + needed <= size * (1 - SPARE):
                break
            with contextlib.suppress(OSError):
                status = file.stat()
                if file.name.endswith(PARTIAL) and (
                    time.time() - status.st_mtime < ABANDONED or is_locked(file)  # clocks of file servers may differ
                ):
                    continue
                file.unlink()
                total -= status.st_size
                if file.name.endswith(PARTIAL):
                    _note_of(file).unlink(missing_ok=True)
                file.parent.rmdir()  # fails while it holds other files
                file.parent.parent.rmdir()
        return total


def _note_of(partial: Path) -> Path:
    return partial.with_name(partial.name.removesuffix(PARTIAL) + BEGUN)


def _is_note(file: Path) -> bool:
    """Return True for the note of a download. Without its partial file it was left behind, and is removed."""
    if not file.name.endswith(BEGUN):
        return False
    if not file.with_name(file.name.removesuffix(BEGUN) + PARTIAL).exists():
        with contextlib.suppress(OSError):
            file.unlink()
    return True


def _files(cache: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files of all stores in the cache with their status."""
    found = []
    for store in cache.iterdir():
        if STORE_NAME.fullmatch(store.name):
            for folder, _, names in os.walk(store):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):  # another process has just moved it
                        found.append((file := Path(folder) / name, file.stat()))
    return found

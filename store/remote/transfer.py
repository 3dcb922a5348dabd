"""Read objects: whole, in parts, resumed after dropped connections, with bounded patience.

A request that fails for a reason that may pass is tried again after a pause that grows. A request that has brought new
bytes starts counting anew and goes on where it stopped. So a slow connection is never given up while bytes arrive.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from store.remote.clients import Patience
from store.remote.failures import FetchError, classify

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

__all__ = ["object_size", "read_object"]

CHUNK = 32 * 1024
"""Bytes that are passed on at once."""


class _Reading:
    """Read the bytes from `start` to `stop` of one object, and remember how far it came."""

    def __init__(
        self,
        client: ObjectStore,
        path: str,
        start: int,
        stop: int | None,
        write: Callable[[memoryview], object],
        sized: Callable[[int], object],
    ) -> None:
        self._client, self._path, self._write, self._sized = client, path, write, sized
        self._start, self._stop = start, stop
        self._tag: str | None = None
        self._size: int | None = None
        self._in_parts = True
        self.done = 0
        """Bytes that were passed to `write`."""

    def go_on(self) -> int:
        """Read what is missing. Return the size of the object.

        Raises:
            Exception: any error of the network library, or a `FetchError`.
        """
        result = self._answer()
        size: int = result.meta["size"]
        self._remember(size, result.meta["e_tag"])
        stop = size if self._stop is None else min(self._stop, size)
        position = result.range[0]
        for part in result.stream(min_chunk_size=CHUNK):
            view = memoryview(part)
            wanted = view[max(0, self._start + self.done - position) : max(0, stop - position)]
            position += len(view)
            self._write(wanted)
            self.done += len(wanted)
            if position >= stop:
                break
        if self._start + self.done < stop:
            raise FetchError("network", "the connection was dropped", transient=True)
        return size

    def _answer(self) -> GetResult:
        """Ask for the bytes that are missing; for all bytes if the server sends whole files only."""
        import obstore

        begin = self._start + self.done
        options: GetOptions = {}
        if self._in_parts and (begin or self._stop is not None):
            options["range"] = {"offset": begin} if self._stop is None else (begin, self._stop)
            if self._tag:
                options["if_match"] = self._tag
        try:
            return obstore.get(self._client, self._path, options=options)
        except obstore.exceptions.NotSupportedError:
            if not options:
                raise
            self._in_parts = False
            return self._answer()

    def _remember(self, size: int, tag: str | None) -> None:
        """Make sure that a part comes from the same object as the parts before.

        Raises:
            FetchError: the object was replaced.
        """
        if self._size is not None and self._size != size:
            raise FetchError("changed", "it was replaced while it was being read")
        if self._size is None:
            self._sized(size)
        self._size = size
        if tag and not tag.startswith("W/"):  # weak tags cannot be compared
            self._tag = tag


def read_object(
    client: ObjectStore,
    path: str,
    write: Callable[[memoryview], object],
    *,
    start: int = 0,
    stop: int | None = None,
    sized: Callable[[int], object] = lambda _: None,
    patience: Patience,
) -> int:
    """Pass the bytes of an object to `write`, in order.

    Args:
        client: of the object's folder.
        path: of the object in this folder.
        write: takes the bytes, part by part.
        start: first byte.
        stop: byte after the last one; None for the end of the object.
        sized: is called with the size of the object before the first byte is passed on.
        patience: the limits of waiting.

    Returns:
        The size of the whole object in bytes.

    Raises:
        FetchError: it cannot be read.
        OSError: `write` failed.
    """
    reading = _Reading(client, path, start, stop, write, sized)

    def go_on() -> int:
        before = reading.done
        try:
            return reading.go_on()
        except _errors() as error:
            raise _AttemptError(classify(error), reading.done - before) from None

    return _patiently(go_on, patience)


def object_size(client: ObjectStore, path: str, patience: Patience) -> int:
    """Return the size of an object in bytes.

    Raises:
        FetchError: it cannot be found out.
    """
    import obstore

    def ask() -> int:
        try:
            return obstore.head(client, path)["size"]
        except _errors() as error:
            raise _AttemptError(classify(error), 0) from None

    return _patiently(ask, patience)


class _AttemptError(Exception):
    """A failed attempt, and the bytes that it brought."""

    def __init__(self, failure: FetchError, brought: int) -> None:
        super().__init__()
        self.failure, self.brought = failure, brought


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors of a failed attempt; a full disk is none of them."""
    from obstore.exceptions import BaseError

    return (BaseError, FileNotFoundError, FetchError)


def _patiently(attempt: Callable[[], int], patience: Patience) -> int:
    """Return the first result of `attempt` that succeeds."""
    failed = 0
    while True:
        try:
            return attempt()
        except _AttemptError as interrupted:
            failed = 1 if interrupted.brought else failed + 1
            if not interrupted.failure.transient or failed >= patience.attempts:
                raise interrupted.failure from None
        pause = min(patience.longest_pause, patience.pause * 2 ** (failed - 1))
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads the requests of many readers

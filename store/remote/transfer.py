"""Read objects: whole, in parts, resumed after dropped connections, with bounded patience.

A request that fails for a reason that may pass is tried again after a pause that grows. A request that has brought new
bytes starts counting anew and goes on where it stopped. So a slow connection is never given up while bytes arrive. A
server that has answered before is waited for longer than one that never did: its address is right.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.remote.clients import Patience
from store.remote.failures import FetchError, classify

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

__all__ = ["Begun", "object_size", "read_object"]

CHUNK = 32 * 1024
"""Bytes that are passed on at once."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Describe a download that was begun earlier."""

    size: int
    """Bytes of the whole object."""
    tag: str
    """The server's strong entity tag of the object."""
    done: int = 0
    """Bytes that are there."""


class _Reading:
    """Read the bytes from `start` to `stop` of one object, and remember how far it came."""

    def __init__(
        self,
        client: ObjectStore,
        path: str,
        start: int,
        stop: int | None,
        write: Callable[[memoryview], object],
        sized: Callable[[int, str | None], object],
        begun: Begun | None,
    ) -> None:
        self._client, self._path, self._write, self._sized = client, path, write, sized
        self._start, self._stop = start, stop
        self._tag = begun.tag if begun else None
        self._size = begun.size if begun else None
        self._in_parts = True
        self._known = False
        self.done = begun.done if begun else 0
        """Bytes that were there before, or were passed to `write`."""

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
        tag = tag if tag and not tag.startswith("W/") else None  # weak tags cannot be compared
        if (self._size is not None and self._size != size) or (self._tag and tag and self._tag != tag):
            raise FetchError("changed", "it was replaced while it was being read")
        if not self._known:
            self._sized(size, tag)
        self._known, self._size, self._tag = True, size, tag or self._tag


def read_object(
    client: ObjectStore,
    path: str,
    write: Callable[[memoryview], object],
    *,
    start: int = 0,
    stop: int | None = None,
    sized: Callable[[int, str | None], object] = lambda *_: None,
    begun: Begun | None = None,
    patience: Patience,
    known: bool = False,
) -> int:
    """Pass the bytes of an object to `write`, in order.

    Args:
        client: of the object's folder.
        path: of the object in this folder.
        write: takes the bytes, part by part.
        start: first byte.
        stop: byte after the last one; None for the end of the object.
        sized: is called with the size of the object and its strong entity tag, if it has one, before the first byte is
            passed on.
        begun: the part from `start` that is there already; it is not passed on again.
        patience: the limits of waiting.
        known: True if this server has answered before.

    Returns:
        The size of the whole object in bytes.

    Raises:
        FetchError: it cannot be read.
        OSError: `write` failed.
    """
    reading = _Reading(client, path, start, stop, write, sized, begun)

    def go_on() -> int:
        before = reading.done
        try:
            return reading.go_on()
        except _errors() as error:
            raise _AttemptError(classify(error), reading.done - before) from None

    return _patiently(go_on, patience, known=known)


def object_size(client: ObjectStore, path: str, patience: Patience, *, known: bool = False) -> int:
    """Return the size of an object in bytes. Arguments as in `read_object`.

    Raises:
        FetchError: it cannot be found out.
    """
    import obstore

    def ask() -> int:
        try:
            return obstore.head(client, path)["size"]
        except _errors() as error:
            raise _AttemptError(classify(error), 0) from None

    return _patiently(ask, patience, known=known)


class _AttemptError(Exception):
    """A failed attempt, and the bytes that it brought."""

    def __init__(self, failure: FetchError, brought: int) -> None:
        super().__init__()
        self.failure, self.brought = failure, brought


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors of a failed attempt; a full disk is none of them."""
    from obstore.exceptions import BaseError

    return (BaseError, FileNotFoundError, FetchError)


def _patiently(attempt: Callable[[], int], patience: Patience, *, known: bool) -> int:
    """Return the first result of `attempt` that succeeds."""
    failed, since = 0, time.monotonic()
    while True:
        try:
            return attempt()
        except _AttemptError as interrupted:
            if interrupted.brought:
                failed, since = 0, time.monotonic()
            failed += 1
            waited = not known or time.monotonic() - since >= patience.outage
            if not interrupted.failure.transient or (failed >= patience.attempts and waited):
                raise interrupted.failure from None
        pause = min(patience.longest_pause, patience.pause * 2.0 ** min(failed - 1, 20))
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads the requests of many readers

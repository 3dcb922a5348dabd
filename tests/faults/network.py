"""Forbid the network in a test and record every attempt to use it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_network"]

_EVENTS = ("socket.__new__", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
_recorded: list[list[str]] = []
_installed: list[bool] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _recorded and event in _EVENTS:
        _recorded[-1].append(f"{event} {arguments}")
        raise OSError(101, "Network is unreachable")


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Let every socket, connection and look-up of a name raise an OSError. Yield the list of attempts.

    Python reports these events itself, so an attempt is seen whatever library makes it, in any thread.
    """
    if not _installed:
        sys.addaudithook(_audit)  # cannot be removed, so it is added once and does nothing outside of the block
        _installed.append(True)
    attempts: list[str] = []
    _recorded.append(attempts)
    try:
        yield attempts
    finally:
        _recorded.remove(attempts)

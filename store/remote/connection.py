"""Send requests to the helper process of this process. It is started by the first request.

A forked process does not use its parent's helper: it starts its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from store.remote.failures import FetchError
from store.remote.frames import read_frame, write_frame

__all__ = ["Answer", "Connection", "connection"]

PIPE_BYTES = 1024 * 1024
"""Bytes of answers that wait between the processes: the most that Linux gives to any user."""

ENDED = FetchError("network", "the process that fetches files has ended")


@dataclass(frozen=True)
class Answer:
    """Hold the answer to a request."""

    size: int
    """Bytes of the whole object."""
    content: bytes
    """The bytes that were asked for; empty for other requests."""


class Connection:
    """Send requests, and match the answers to them.

    Args:
        requests: stream that takes the requests.
        answers: stream of the answers.
        process: the helper; None if there is no process.
    """

    def __init__(self, requests: BinaryIO, answers: BinaryIO, process: subprocess.Popen[bytes] | None = None) -> None:
        self._requests, self._answers, self._process = requests, answers, process
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Answer]] = {}
        self._sent = 0
        self.ended = False
        self._receiver = threading.Thread(target=self._receive, name="answers of the remote store", daemon=True)
        self._receiver.start()

    def send(self, request: Mapping[str, Any], *, order: int | None = None) -> Future[Answer]:
        """Send a request.

        Args:
            request: see `store.remote.tasks.Tasks.carry_out`.
            order: None if somebody waits for it; else requests with lower numbers are carried out first.

        Returns:
            The answer to come; its exception is a `FetchError`.
        """
        future: Future[Answer] = Future()
        with self._lock:
            self._sent += 1
            self._waiting[self._sent] = future
            try:
                write_frame(self._requests, {**request, "id": self._sent, "order": order})
            except (OSError, ValueError):  # it has ended, or is closed
                self._fail_all()
        return future

    def close(self) -> None:
        """End the helper. Requests that are under way fail."""
        with contextlib.suppress(OSError):
            self._requests.close()
        if self._process is not None:
            self._process.wait()
        self._receiver.join()  # the helper has closed the stream of its answers

    def forget(self) -> None:
        """Give the streams up in a forked process, which shares them with its parent.

        Their descriptors stay taken. Otherwise closing the streams later would close other files.
        """
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (self._requests, self._answers):
            os.dup2(nothing, stream.fileno())
        os.close(nothing)

    def _receive(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (frame := read_frame(self._answers)) is not None:
                message, content = frame
                with self._lock:
                    future = self._waiting.pop(message["id"])
                if "kind" in message:
                    future.set_exception(FetchError(message["kind"], message["what"]))
                else:
                    future.set_result(Answer(message["size"], content))
        self._answers.close()
        with self._lock:
            self._fail_all()

    def _fail_all(self) -> None:
        self.ended = True
        for future in self._waiting.values():
            future.set_exception(ENDED)
        self._waiting.clear()


class _Held:
    """Hold the connection of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: Connection | None = None

    def after_fork(self) -> None:
        if self.connection is not None:
            self.connection.forget()
        self.lock, self.connection = threading.Lock(), None

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


_HELD = _Held()
atexit.register(_HELD.close)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_HELD.after_fork)


def connection() -> Connection:
    """Return the connection of this process. A helper that has ended is replaced."""
    with _HELD.lock:
        if _HELD.connection is not None and _HELD.connection.ended:
            _HELD.connection.close()
            _HELD.connection = None
        if _HELD.connection is None:
            _HELD.connection = _started()
        return _HELD.connection


def _started() -> Connection:
    """Start a helper process that imports this package, whatever the current folder holds."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from store.remote.helper import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C ends the reader, and with it the helper
    )
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101
    _widen(process.stdout)
    return Connection(process.stdin, process.stdout, process)  # type: ignore[arg-type]


def _widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold more, so that the two processes take turns less often. Systems other than Linux keep theirs."""
    with contextlib.suppress(ImportError, AttributeError, OSError):  # OSError: the user has many pipes already
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

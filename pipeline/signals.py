"""Stop the program in order when a signal asks for it: Ctrl-C, SIGTERM of a batch system, SIGHUP of a closed terminal.

The first signal raises `StopRequest` in the main thread. So every `with` and `finally` on the way runs: partial files
are removed, locks are released, and what was computed stays in the memo or in the state of a run. The second signal
ends the program at once, after a line that says so. A signal that was ignored when the program started stays ignored,
as `nohup` and background jobs of a shell want it.

A program that was stopped by a signal also ends by it, after the usual end of Python. So a shell sees the signal (its
exit status is 130, 143 or 129) and stops a loop or a script as well. Where the system does not let a process end by its
own signal, as with the first process of a container, the exit status is the same number.

Python runs signal handlers in the main thread only, between two steps of the interpreter. A long call into compiled
code delays the first signal. So a thread, which the signals wake, watches for the second one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

RETRY_SECONDS = 0.05
"""Time after which a request to stop is repeated that Python had to drop."""


SECONDS_TO_PRINT = 1.0
"""Longest time that the last line may take."""
STDERR = 2
SHOW_CURSOR = "\x1b[?25h"
"""A display of progress has hidden it."""


class StopRequest(BaseException):
    """A signal asks the program to stop.

    It is no `KeyboardInterrupt`, which Typer turns into an exit without a message, or with another status in some
    versions.
    """

    def __init__(self, number: int) -> None:
        """Keep the signal.

        Args:
            number: of the signal.
        """
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """Return the exit status that shells report for the signal."""
        return 128 + self.number

    @property
    def cause(self) -> str:
        """Return what asked for the stop, in words."""
        return cause_of(self.number)


def cause_of(number: int) -> str:
    """Return what sent a signal, in words."""
    name = signal.Signals(number).name
    return f"Ctrl-C ({name})" if number == signal.SIGINT else name


SayEnd = Callable[[int], str]
"""Returns the line to print when the second signal, with this number, ends the program; "" to print nothing."""


@dataclass
class StopSignals:
    """The signals that were received while `stop_signals` was active."""

    first: int | None = None
    """The number of the first one; None before it came."""
    say_end: SayEnd = lambda _: ""
    _ending: threading.Lock = field(default_factory=threading.Lock)
    _replaced: dict[int, Any] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget the signal: it was the normal end of the command, and the process ends with an exit status."""
        self.first = None

    def end_by_signal(self) -> None:
        """End the process by the signal that stopped it; return if there was none, or if the system refuses."""
        if self.first is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        signal.signal(self.first, signal.SIG_DFL)
        os.kill(os.getpid(), self.first)

    def _request_stop(self, number: int, _frame: FrameType | None) -> None:
        """Raise the request in the main thread; end at once if there was one before."""
        if self.first is not None:
            self._end_at_once(number)
        self.first = number
        raise StopRequest(number)

    def _end_at_once(self, number: int) -> None:
        """Print why, without the streams of Python, which another thread may be using; then end the process."""
        if not self._ending.acquire(blocking=False):
            time.sleep(SECONDS_TO_PRINT)  # the other thread prints, and ends the process
            os._exit(128 + number)
        with contextlib.suppress(Exception):
            line = self.say_end(number)
            if line and select.select([], [STDERR], [], SECONDS_TO_PRINT)[1]:  # a pager may have stopped reading
                shown = f"\n{SHOW_CURSOR}{line}\n" if os.isatty(STDERR) else f"{line}\n"
                os.write(STDERR, shown.encode())
        os._exit(128 + number)

    def _repeat_request(self, _number: int, _frame: FrameType | None) -> None:
        if self.first is not None:
            raise StopRequest(self.first)

    def _install(self) -> None:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: a handler that is not of Python
                self._replaced[number] = signal.signal(number, self._request_stop)

    def _restore(self) -> None:
        for number, handler in self._replaced.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_signals(say_end: SayEnd = lambda _: "") -> Iterator[StopSignals]:
    """Turn the first stop signal into `StopRequest`, and end at once at the second, while the block runs.

    Outside the main thread nothing changes, because Python does not allow it.

    Args:
        say_end: see there. It may be called in another thread.
    """
    received = StopSignals(say_end=say_end)
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    with _repeated_if_dropped(received), _second_signal_watched(received):
        received._install()  # noqa: SLF001 - one class and its context manager
        try:
            yield received
        finally:
            received._restore()  # noqa: SLF001


@contextlib.contextmanager
def _repeated_if_dropped(received: StopSignals) -> Iterator[None]:
    """Repeat a request that was raised where Python drops exceptions, such as in `__del__` or a weak reference."""
    if not hasattr(signal, "setitimer") or signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, signal.SIG_IGN):
        yield
        return
    hook, handler = sys.unraisablehook, signal.signal(signal.SIGALRM, received._repeat_request)  # noqa: SLF001

    def repeat(dropped: Any) -> None:
        if isinstance(dropped.exc_value, StopRequest):
            signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
        else:
            hook(dropped)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = hook


@contextlib.contextmanager
def _second_signal_watched(received: StopSignals) -> Iterator[None]:
    """Let a thread end the process at the second signal, also while the main thread is in compiled code."""
    if sys.platform == "win32":  # there only sockets can be woken
        yield
        return
    try:
        reading, writing = os.pipe()
    except OSError:  # no file handles left: the second signal waits for the main thread
        yield
        return
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_end_at_second, args=(reading, received), name="second-signal", daemon=True)
    try:
        with contextlib.suppress(RuntimeError):  # no threads left: likewise
            watcher.start()
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        if watcher.ident is None:
            os.close(reading)


def _end_at_second(reading: int, signals: StopSignals) -> None:
    """Read the numbers of received signals, and end the process at the second stop signal."""
    stops = 0
    while received := os.read(reading, 1):
        stops += received[0] in STOP_SIGNALS
        if stops > 1:
            signals._end_at_once(received[0])  # noqa: SLF001 - one class and its context manager
    os.close(reading)

"""Report the progress of a stage as events to a function of the caller.

The function is called in the thread that does the work, so a long call delays it. An exception that it raises ends the
stage as Ctrl-C does: partial files are removed, locks are released, and the previous output stays.

The exception reaches the caller of the stage as it is, whatever its type. On the way it is kept in a `CallbackStop`,
which no `except` of a stage catches: a stage would retry after an out-of-memory error, explain a full disk, and Python
turns a StopIteration in a generator into a RuntimeError.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from stages.errors import UsageError
from stages.runtime.progress import SILENT, Progress, Task

__all__ = ["CallbackErrors", "EventProgress", "ProgressCallback", "ProgressEvent", "progress_for"]


@dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """Describe how far a stage has come.

    Events come when a task begins (`done` is 0), after every step of it, and with every message. A stage may have
    several tasks, one after the other. Steps that an earlier run has done are reported too.
    """

    stage: str
    """Name of the function: `extract`, `train`, `evaluate`, `predict` or `export`."""
    task: str
    """The present task, such as `checking` or `extracting`; "" before the first one."""
    done: int
    """Steps of the task that are done."""
    total: int
    """Steps of the task; 0 before the first task."""
    unit: str
    """Unit of the steps, such as `images` or `samples`."""
    rate: float
    """Steps per second since the task began; 0 until the first step."""
    message: str = ""
    """A line for the user, such as a warning about the input or the scores of an epoch; "" for a step."""


ProgressCallback = Callable[[ProgressEvent], object]
"""A function that takes events; what it returns is ignored."""


class CallbackStop(BaseException):
    """Carry an exception of the callback through a stage."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class CallbackErrors:
    """Raise what the callback has raised, in place of the `CallbackStop` that ends the block.

    A class, because `contextlib.contextmanager` cannot raise every exception: it works with generators.
    """

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _kind: object, stop: BaseException | None, _traceback: TracebackType | None) -> None:
        """Raise the exception with the context that it had in the callback."""
        if isinstance(stop, CallbackStop):
            error = stop.error
            context = error.__context__
            try:
                raise error
            finally:
                error.__context__ = context


def progress_for(callback: ProgressCallback | None, stage: str) -> Progress:
    """Return what a stage reports its progress to; without a callback it displays nothing.

    Raises:
        UsageError: it cannot be called.
    """
    if callback is not None and not callable(callback):
        raise UsageError(
            f"progress is a {type(callback).__name__}, and a function that takes a ProgressEvent is needed.\n"
            "  Give the function itself, such as progress=show."
        )
    return SILENT if callback is None else EventProgress(callback, stage)


class EventProgress(Progress):
    """Call a function with every event of a stage."""

    def __init__(self, callback: ProgressCallback, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep the function.

        Args:
            callback: Takes the events.
            stage: Name of the stage in the events.
            clock: Returns seconds; only differences count.
        """
        self._callback = callback
        self._clock = clock
        self._task = _EventTask(self, "", 0, "")
        self.stage = stage

    def say(self, line: str) -> None:
        """Report a line that the user should read before the work goes on."""
        self._task.emit(line)

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        """Report a task of `total` steps, counted in `unit`."""
        self._task = task = _EventTask(self, description, total, unit)
        task.emit()
        yield task

    def now(self) -> float:
        """Return the time in seconds."""
        return self._clock()

    def send(self, event: ProgressEvent) -> None:
        """Call the function.

        Raises:
            CallbackStop: it has raised an exception.
        """
        try:
            self._callback(event)
        except BaseException as error:  # noqa: BLE001 - `CallbackErrors` raises it
            raise CallbackStop(error) from None


class _EventTask(Task):
    def __init__(self, progress: EventProgress, description: str, total: int, unit: str) -> None:
        self._total = total
        self._progress, self._description, self._unit = progress, description, unit
        self._began = progress.now()
        self._done = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        self.emit(note)

    def report(self, line: str) -> None:
        self.emit(line)

    def emit(self, message: str = "") -> None:
        seconds = self._progress.now() - self._began
        self._progress.send(
            ProgressEvent(
                stage=self._progress.stage,
                task=self._description,
                done=self._done,
                total=self._total,
                unit=self._unit,
                rate=self._done / seconds if self._done and seconds > 0 else 0.0,
                message=message,
            )
        )

"""Show the progress of a command on standard error: bars on a terminal, a line a minute elsewhere.

A log of a batch job has no use for bars, but without any sign of life nobody knows whether the job works. So there a
line says what is done, how much of it, how fast, and how long the rest will take. Short tasks print nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.console import say
from stages.runtime.progress import Progress, Task
from stages.runtime.wording import duration, rate

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

FIRST_LINE = 10.0
"""Seconds after which a task prints its first line."""
LATER_LINES = 60.0
"""Seconds from one line to the next."""

AT_ONCE = 1.0
"""Seconds within which steps were not done by this run."""
BETWEEN_MARKS, MARKS = 10.0, 4
"""Seconds between the times from which the rate is measured, and how many of them are kept."""
SHORTEST_BAR, LONGEST_BAR = 4, 40
LEAST_TIME = 7
"""Columns of a time such as 0:12:34."""
GAPS = 5
"""Columns between the six parts of a line."""


def progress_display() -> Progress:
    """Return the display that fits standard error."""
    terminal = sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
    return BarProgress() if terminal else LineProgress()


class Speed:
    """Measure how fast steps are done, over about the last half minute.

    Steps of the first second do not count later: they were done by an earlier run, or their results were in the memo.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin to measure.

        Args:
            clock: returns seconds.
        """
        self._clock = clock
        self._began = clock()
        self._done = 0
        self._marks = deque([(self._began, 0)], maxlen=MARKS)

    def advance(self, steps: int) -> None:
        """Count some steps as done now."""
        now = self._clock()
        self._done += steps
        if now - self._began < AT_ONCE:
            self._marks[0] = (now, self._done)
        elif now - self._marks[-1][0] >= BETWEEN_MARKS:
            self._marks.append((now, self._done))

    def per_second(self) -> float | None:
        """Return steps per second; None if that is not known yet."""
        now = self._clock()
        since, before = self._marks[0]
        if now - self._began < AT_ONCE or now <= since or self._done <= before:
            return None
        return (self._done - before) / (now - since)


class LineProgress(Progress):
    """Progress as plain lines, at most one a minute.

    A line is printed when a step ends, so a step that takes longer than a minute delays it.
    """

    def __init__(self, write: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep where lines go and what tells the time.

        Args:
            write: prints one line.
            clock: returns seconds; only differences count.
        """
        self._write = write
        self._clock = clock

    def say(self, line: str) -> None:
        """Print the line."""
        self._write(line)

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        """Print lines while the block runs, and one at its end if there was any before."""
        task = _Lines(description, total, unit, self._write, self._clock)
        yield task
        task.close()


class _Lines(Task):
    def __init__(
        self, description: str, total: int, unit: str, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._write, self._clock = write, clock
        self._began = clock()
        self._due = self._began + FIRST_LINE
        self._done = 0
        self._printed = False
        self._speed = Speed(clock)
        self._note = ""

    def advance(self, steps: int = 1, note: str = "") -> None:
        now = self._clock()
        self._done += steps
        self._note = note or self._note
        self._speed.advance(steps)
        if now >= self._due and self._done < self._total:
            self._print(now)

    def report(self, line: str) -> None:
        self._write(line)
        self._due = max(self._due, self._clock() + FIRST_LINE)

    def close(self) -> None:
        if self._printed:
            took = duration(self._clock() - self._began)
            self._write(f"{self._description}: {self._done:,} of {self._total:,} {self._unit} in {took}")

    def _print(self, now: float) -> None:
        parts = [f"{self._description}: {self._done:,} of {self._total:,} {self._unit}"]
        if speed := self._speed.per_second():
            parts += [rate(speed, self._unit), f"{duration((self._total - self._done) / speed)} left"]
        self._write(", ".join([*parts, *filter(None, [self._note])]))
        self._printed = True
        self._due = now + LATER_LINES


class BarProgress(Progress):
    """Progress as bars on a terminal, with a rate and the time left."""

    def say(self, line: str) -> None:
        """Print the line."""
        say(line)

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        """Show a bar while the block runs; lines if the system allows no thread for drawing it."""
        bars = _new_bars()
        try:
            bars.start()
        except RuntimeError:  # no threads left
            bars.stop()
            with LineProgress().task(description, total, unit) as task:
                yield task
            return
        try:
            yield _Bar(bars, bars.add_task(description, total=total, rate="", note=""), unit)
        finally:
            bars.stop()


class _Bar(Task):
    def __init__(self, bars: Bars, task: TaskID, unit: str) -> None:
        self._bars, self._task, self._unit = bars, task, unit
        self._speed = Speed(time.monotonic)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._bars.advance(self._task, steps)
        self._speed.advance(steps)
        speed = self._speed.per_second()
        fields = {"rate": rate(speed, self._unit)} if speed else {}
        if note:
            fields["note"] = note
        self._bars.update(self._task, **fields)  # type: ignore[arg-type]


def _new_bars() -> Bars:
    """Return bars that fit the terminal: first the bar becomes shorter, then the note. Numbers are never cut."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import Task as Shown
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    console = Console(stderr=True)

    def room(task: Shown) -> int:
        """Return the columns for bar and note."""
        counts = 2 * len(str(task.total or 0)) + 1
        return console.width - len(task.description) - counts - len(task.fields["rate"]) - LEAST_TIME - GAPS

    class Bar(BarColumn):
        def render(self, task: Shown) -> ProgressBar:
            wanted = room(task) - len(task.fields["note"])
            self.bar_width = max(SHORTEST_BAR, min(LONGEST_BAR, wanted))
            return super().render(task)

    class Note(TextColumn):
        def render(self, task: Shown) -> Text:
            text = Text(task.fields["note"])
            text.truncate(max(1, room(task) - SHORTEST_BAR), overflow="ellipsis")
            return text

    return Progress(
        TextColumn("{task.description}"),
        Bar(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        Note(""),
        console=console,
        redirect_stdout=False,  # a library imported meanwhile would keep the replacement and write into it at the end
    )

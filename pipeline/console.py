"""Print results, messages, errors and progress bars.

Results go to standard output, everything else to standard error. Without a terminal there are no
progress bars, so that logs stay readable. Names of files and samples come from other people, so they are
printed literally: no markup, and no control character that would move a terminal's cursor. A message
that would fill screens is cut; the full text is written to a private temporary file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.runtime.progress import Progress, Task
from store.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

MOST_LINES = 31
"""Lines of one message shown before it is cut: a heading and thirty problems."""
LAST_LINES = 2
"""Lines shown after the cut: a message ends with what to do."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal or reverse the direction of writing. Line feed and tab are allowed."""

OTHER_PLACE = "Choose another path, or change the permissions of this one."
IN_THE_WAY = "A file stands where a folder is needed, or the other way round; choose another path."
BAD_DISK = "Check the disk, or the network it is on, and run the command again."
USER_ERRORS = {
    errno.EACCES: OTHER_PLACE,
    errno.EDQUOT: "Free some space, or choose another path.",
    errno.EEXIST: IN_THE_WAY,
    errno.EINTR: "Run the command again.",
    errno.EIO: BAD_DISK,
    errno.EISDIR: IN_THE_WAY,
    errno.ELOOP: "Its links lead in a circle; correct them.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOENT: "Check the path.",
    errno.ENOSPC: "Free some space, or choose another path.",
    errno.ENOTDIR: IN_THE_WAY,
    errno.EPERM: OTHER_PLACE,
    errno.EROFS: OTHER_PLACE,
    errno.ESTALE: BAD_DISK,
    errno.ETIMEDOUT: BAD_DISK,
}
"""System errors whose cause is the user's disk or folders, not this program, and what to do about each."""


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def literal(value: object) -> Text:
        return Text(_escaped(f"{value:.4g}" if isinstance(value, float) else str(value)))

    table = Table(title=literal(title), title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1))
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        # The first column names the row. Users copy it, so it is never broken over two lines.
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*map(literal, row))
    Console().print(table)


def show_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_text(text: str) -> None:
    """Print a result on standard output, with control characters written out. It is never cut."""
    sys.stdout.write(_escaped(text) + "\n")


def say(text: str) -> None:
    """Print a message on standard error. A long text is cut."""
    text = _escaped(text)
    lines = text.splitlines()
    if len(lines) > MOST_LINES + LAST_LINES + 1:
        hidden = len(lines) - MOST_LINES - LAST_LINES
        more = f"  … and {hidden} more lines{_saved_copy(text)}"
        text = "\n".join([*lines[:MOST_LINES], more, *lines[-LAST_LINES:]])
    sys.stderr.write(text + "\n")


def _escaped(text: str) -> str:
    """Return the text with control characters escaped, so that a name cannot control a terminal."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _saved_copy(text: str) -> str:
    """Save a text that was cut in a file that only its owner may open, and return a phrase with the file's name."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="pipeline-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
    except OSError:  # print the message even if it cannot be saved
        return ""
    return f"; all of them are in {name}"


def report_error(error: BaseException) -> int | None:
    """Print an error and return the exit status. Return None, and print nothing, if the error is a bug."""
    if isinstance(error, PipelineError):
        say(f"error: {error}")
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE
    if isinstance(error, OSError) and error.errno in USER_ERRORS:
        say(f"error: {error.filename or 'the disk'}: {error.strerror}.\n  {USER_ERRORS[error.errno]}")
        return EXIT_FAILURE
    if _is_out_of_memory(error):
        say(
            f"error: not enough memory ({str(error).splitlines()[0] if str(error) else type(error).__name__}).\n"
            "  End other programs that use much memory, or choose smaller sizes or a smaller --batch-size."
        )
        return EXIT_FAILURE
    if isinstance(error, KeyboardInterrupt):
        say("interrupted; run the command again (train and pretrain go on with --resume)")
        return EXIT_INTERRUPTED
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means out of memory. torch is slow to import, so it is used only if already imported."""
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from stages.runtime.out_of_memory import is_out_of_memory

    return is_out_of_memory(error)


class BarProgress(Progress):
    """Progress as bars on standard error, with a rate and the time left; silent without a terminal."""

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        """Show a bar while the block runs."""
        if not sys.stderr.isatty():
            yield Task()
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        with Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        ) as bars:
            yield _Bar(bars, bars.add_task(description, total=total, rate="", note=""), unit)


class _Bar(Task):
    def __init__(self, bars: Bars, task: TaskID, unit: str) -> None:
        self._bars, self._task, self._unit = bars, task, unit

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._bars.advance(self._task, steps)
        speed = self._bars.tasks[self._task].speed
        fields = {"rate": f"{speed:.1f} {self._unit}/s"} if speed else {}
        if note:
            fields["note"] = note
        self._bars.update(self._task, **fields)  # type: ignore[arg-type]

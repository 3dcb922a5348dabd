"""Print results, messages, errors and progress bars.

Results go to standard output, everything else to standard error. Without a terminal there are no
progress bars, so that logs stay readable. Names of files and samples come from other people, so they are
printed literally: no markup, and no control character that would move a terminal's cursor. A message
that would fill screens is cut; the full text is written to a private temporary file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.streams import write_message, write_result
from stages.runtime.progress import Progress, Task

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

MOST_LINES = 31
"""Lines of one message shown before it is cut: a heading and thirty problems."""
LAST_LINES = 2
"""Lines shown after the cut: a message ends with what to do."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal or reverse the direction of writing. Line feed and tab are allowed."""


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
    console = Console()
    with console.capture() as printed:  # printing directly, rich would end the program if the reader has ended
        console.print(table)
    write_result(printed.get())


def show_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    write_result(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_text(text: str) -> None:
    """Print a result on standard output, with control characters written out. It is never cut."""
    write_result(_escaped(text) + "\n")


def say(text: str) -> None:
    """Print a message on standard error. A long text is cut."""
    text = _escaped(text)
    lines = text.splitlines()
    if len(lines) > MOST_LINES + LAST_LINES + 1:
        hidden = len(lines) - MOST_LINES - LAST_LINES
        more = f"  … and {hidden} more lines{_saved_copy(text)}"
        text = "\n".join([*lines[:MOST_LINES], more, *lines[-LAST_LINES:]])
    write_message(text + "\n")


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

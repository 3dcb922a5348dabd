"""Print results and messages.

Results go to standard output, everything else to standard error. Names of files and samples come from other people, so
they are printed literally: no markup, and no control character that would move a terminal's cursor. A message that
would fill screens is cut; the full text is written to a private temporary file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.streams import write_message, write_result

MOST_LINES = 31
"""Lines of one message shown before it is cut: a heading and thirty problems."""
LAST_LINES = 2
"""Lines shown after the cut: a message ends with what to do."""

UNFOLDED = 10_000
"""Width of a table that no terminal shows: a program that reads it would not understand folded cells."""

SLOW = 0.4
"""Seconds after which a command that prints its result at once says that it works."""

NARROWEST = 40
"""Columns below which a message is not wrapped further."""

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

    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if folded else UNFOLDED)
    table = Table(title=literal(title), title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1))
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        # The first column names the row. Users copy it, so it is not broken over two lines, if others have space too.
        whole = position == 0 and max((len(str(row[0])) for row in rows), default=0) <= console.width // 2
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*map(literal, row))
    with console.capture() as printed:  # printing directly, rich would end the program if the reader has ended
        console.print(table)
    write_result("\n".join(line.rstrip() for line in printed.get().splitlines()) + "\n")


def show_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    write_result(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_text(text: str) -> None:
    """Print a result on standard output, with control characters written out. It is never cut."""
    write_result(_escaped(text) + "\n")


def say(text: str) -> None:
    """Print a message on standard error. A long text is cut, and on a terminal its lines are wrapped between words."""
    text = _escaped(text)
    lines = text.splitlines()
    if len(lines) > MOST_LINES + LAST_LINES + 1:
        hidden = len(lines) - MOST_LINES - LAST_LINES
        more = f"  … and {hidden} more lines{_saved_copy(text)}"
        text = "\n".join([*lines[:MOST_LINES], more, *lines[-LAST_LINES:]])
    write_message(_wrapped(text) + "\n")


def say_literally(text: str) -> None:
    """Print a message on standard error without breaking its lines: users copy the commands in it."""
    write_message(_escaped(text) + "\n")


@contextlib.contextmanager
def said_if_slow(text: str) -> Iterator[None]:
    """Print a message while the block runs, unless it is done within `SLOW` seconds."""
    timer = threading.Timer(SLOW, say, [text])
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # no threads left
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class MessageHandler(logging.Handler):
    """Print records of the log as messages: above a bar, if there is one, and escaped like all messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(self.format(record))


def _escaped(text: str) -> str:
    """Return the text with control characters escaped, so that a name cannot control a terminal."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _wrapped(text: str) -> str:
    """Return the text in lines that fit the terminal; unchanged if it goes elsewhere. No word or path is broken."""
    if not sys.stderr.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.lstrip(),
            width,
            initial_indent=indent,
            replace_whitespace=False,
            expand_tabs=False,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def _saved_copy(text: str) -> str:
    """Save a text that was cut in a file that only its owner may open, and return a phrase with the file's name."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="pipeline-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
    except OSError:  # print the message even if it cannot be saved
        return ""
    return f"; all of them are in {name}"

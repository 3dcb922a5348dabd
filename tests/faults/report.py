"""Write the section of `FAULTS.md` about bad input, from the kinds and the messages of their commands.

`python -m tests.faults.report` rewrites the section, which takes some minutes. With `--new` it runs only the kinds that
have no row yet, or whose row expects something else. A test compares the file with the kinds.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.kinds import Kind, Observation, furnish, observe

FILE = Path(__file__).with_name("FAULTS.md")
HEADING = "## Bad input"
LONGEST = 260  # characters of a message in the table
MODULES = sorted(path.stem for path in FILE.parent.glob("bad_*.py"))
KINDS: list[Kind] = [kind for module in MODULES for kind in importlib.import_module(f"tests.faults.{module}").KINDS]
INTRODUCTION = f"""{HEADING}

Written by `python -m tests.faults.report` from the kinds that `test_bad_inputs.py` tests. Each row ends with NAME; its
test is `test_bad_input[NAME]`. Exit 0: the input is unusual and must work. Exit 1: a failure. Exit 2: a usage error.
A command that fails changes no file.

| fault | expected | observed |
|---|---|---|
"""


def expected(kind: Kind) -> str:
    """Return the first two cells of a kind's row."""
    words = " · ".join(_cell(word) for word in kind.words)
    return f"| {_cell(kind.fault)}: `{_cell(kind.command)}` | exit {kind.status}: {words} |"


def row(kind: Kind, observed: Observation, room: Path) -> str:
    """Return a kind's row, with the message that was observed."""
    said = observed.message.replace(f"{room.resolve()}/", "").removeprefix("error: ")
    said = re.sub(r"x{60,}", "xxx…", said.removeprefix("1 problem with the input:\n"))
    said = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
    return f"{expected(kind)} exit {observed.status}: {_cell(said)} [{kind.name}] |"


def section(text: str) -> str:
    """Return the section about bad input from the text of a `FAULTS.md`."""
    return HEADING + text.partition(HEADING)[2].partition("\n## ")[0]


def _cell(text: str) -> str:
    """Escape text for one cell of a Markdown table, and shorten long runs of x."""
    return re.sub(r"x{60,}", "xxx…", text).replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def main(*, only_new: bool) -> None:
    """Run the commands of the kinds and rewrite the section."""
    os.environ["COLUMNS"] = "200"  # as in the tests, so that no message is wrapped
    text = FILE.read_text(encoding="utf-8")
    known = [line for line in section(text).splitlines() if only_new]
    with tempfile.TemporaryDirectory() as folder:
        house, rows = Path(folder) / "house", []
        furnish(house)
        for kind in KINDS:
            kept = [line for line in known if line.startswith(expected(kind)) and line.endswith(f" [{kind.name}] |")]
            if kept:
                rows.append(kept[0])
                continue
            room = Path(folder) / "room"
            shutil.rmtree(room, ignore_errors=True)
            shutil.copytree(house, room)
            kind.make(room)
            with kind.meanwhile(room):
                rows.append(row(kind, observe(kind.command, room), room))
    new = INTRODUCTION + "\n".join(rows) + "\n"
    FILE.write_text(text.replace(section(text), new), encoding="utf-8")
    sys.stdout.write(f"{len(rows)} rows in {FILE}\n")


if __name__ == "__main__":
    main(only_new="--new" in sys.argv[1:])

"""The rows of `FAULTS.md` about bad input, made from the kinds and from what came of them.

`python -m tests.faults.report` writes the section anew; a test holds the file against the kinds.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults import bad_files, bad_images, bad_masks, bad_tables
from tests.faults.kinds import Kind, Observation, furnish, observe

FILE = Path(__file__).with_name("FAULTS.md")
HEADING = "## Bad input"
LONGEST = 260  # characters of a message in the table
KINDS = [*bad_images.KINDS, *bad_masks.KINDS, *bad_tables.KINDS, *bad_files.KINDS]
INTRODUCTION = f"""{HEADING}

Made by `python -m tests.faults.report` from the same kinds that `test_bad_inputs.py` tries. The test is
`test_bad_input[NAME]`; NAME ends each row. Exit 0: unusual, and must simply work. 1: a failure. 2: a request that
makes no sense. A failure leaves every file as it was.

| fault | expected | observed |
|---|---|---|
"""


def expected(kind: Kind) -> str:
    """The first two cells of a kind's row."""
    words = " · ".join(_cell(word) for word in kind.words)
    return f"| {_cell(kind.fault)}: `{_cell(kind.command)}` | exit {kind.status}: {words} |"


def row(kind: Kind, observed: Observation, room: Path) -> str:
    """A kind's row."""
    said = observed.message.replace(f"{room.resolve()}/", "").removeprefix("error: ")
    said = re.sub(r"x{60,}", "xxx…", said.removeprefix("1 problem with the input:\n"))
    said = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
    return f"{expected(kind)} exit {observed.status}: {_cell(said)} [{kind.name}] |"


def section(text: str) -> str:
    """The section about bad input of a `FAULTS.md`."""
    return HEADING + text.partition(HEADING)[2].partition("\n## ")[0]


def _cell(text: str) -> str:
    """Text that breaks neither the row nor the page."""
    return re.sub(r"x{60,}", "xxx…", text).replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def main() -> None:
    """Try every kind and write the section."""
    with tempfile.TemporaryDirectory() as folder:
        house, rows = Path(folder) / "house", []
        furnish(house)
        for kind in KINDS:
            room = Path(folder) / "room"
            shutil.rmtree(room, ignore_errors=True)
            shutil.copytree(house, room)
            kind.make(room)
            with kind.meanwhile(room):
                rows.append(row(kind, observe(kind.command, room), room))
    text = FILE.read_text(encoding="utf-8")
    new = INTRODUCTION + "\n".join(rows) + "\n"
    FILE.write_text(text.replace(section(text), new), encoding="utf-8")
    sys.stdout.write(f"{len(rows)} rows in {FILE}\n")


if __name__ == "__main__":
    main()

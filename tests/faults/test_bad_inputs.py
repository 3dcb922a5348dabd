"""Bad input of every kind we know: one clear message, the right exit status, and nothing changed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kinds import IDS, Kind, furnish, observe, snapshot
from tests.faults.report import FILE, KINDS, expected, section

OURS_TO_KNOW = re.compile(r"Traceback|Errno|\w+Error\b|<class|object at 0x|\bNone\b")
"""What belongs into a bug report and not into a message."""


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, masks, a store, a run, a report, predictions. Not to be changed by a test."""
    house = tmp_path_factory.mktemp("bad_inputs") / "house"
    furnish(house)
    return house


@pytest.fixture
def room(house: Path) -> Iterator[Path]:
    """A copy of the house for one test, which may be left in any state."""
    room = house.with_name("room")
    shutil.copytree(house, room)
    yield room
    shutil.rmtree(room)


@pytest.fixture(autouse=True)
def _own_temporaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in KINDS])
def test_bad_input(kind: Kind, room: Path):
    """The message names what is wrong; a failure leaves all earlier output, and the input, byte for byte."""
    kind.make(room)
    before = snapshot(room)
    with kind.meanwhile(room):
        observed = observe(kind.command, room)
    verdict = observed.out if kind.command.startswith("verify") else ""  # a verdict is a result, not an error
    said = observed.err + verdict
    assert observed.status == kind.status, said
    for word in kind.words:
        assert word in said
    assert not OURS_TO_KNOW.search(said)
    assert not (room / "harmed").exists(), "code in the input was run"
    after = snapshot(room)
    assert not [name for name in after if ".partial-" in name and name not in before], "a temporary was left behind"
    vanished = {f"images/{IDS[0]}.png"} if kind.name.startswith("vanishing") else set()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} - vanished
    if kind.status:
        assert not changed
        assert observed.out == verdict
        assert sum(said.count(opening) for opening in ("error: ", "fault: ", "Usage: ")) == 1
    else:
        assert not {name for name in changed if name.startswith(("images", "masks", "params"))}


def test_every_kind_stands_in_the_table_of_faults():
    """`FAULTS.md` says what the tests try, row by row, and what it says was seen is what was to be seen."""
    rows = section(FILE.read_text(encoding="utf-8")).splitlines()[8:]
    assert [row.partition(" exit ")[0] for row in rows] == [expected(kind).partition(" exit ")[0] for kind in KINDS]
    for kind, row in zip(KINDS, rows, strict=True):
        assert row.startswith(expected(kind)), f"run `python -m tests.faults.report`: {kind.name}"
        assert row.removeprefix(expected(kind)).startswith(f" exit {kind.status}: ")
        assert row.endswith(f"[{kind.name}] |")


def test_there_are_many_kinds_and_each_once():
    """A name twice would hide a kind."""
    names = [kind.name for kind in KINDS]
    assert len(names) == len(set(names)) > 150

"""Test every known kind of bad input: one clear message, the right exit status, and no file changed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kinds import IDS, Kind, furnish, observe, snapshot
from tests.faults.report import FILE, KINDS, expected, section

OURS_TO_KNOW = re.compile(r"Traceback|Errno|\w+Error\b|<class|object at 0x|\bNone\b")
"""Traces of Python that must not appear in a message to users."""


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, masks, a store, a run, a report and predictions. Tests must not change it."""
    house = tmp_path_factory.mktemp("bad_inputs") / "house"
    furnish(house)
    return house


@pytest.fixture
def room(house: Path) -> Iterator[Path]:
    """Return a copy of the folder `house` that the test may change."""
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
    """The message names the file and the fault. After a failure all inputs and earlier outputs have the same bytes."""
    kind.make(room)
    before = snapshot(room)
    with kind.meanwhile(room):
        observed = observe(kind.command, room)
    verdict = (
        observed.out if kind.command.startswith(("verify", "doctor")) else ""
    )  # a verdict is a result, not an error
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


def test_every_kind_has_its_row_in_the_table_of_faults():
    """`FAULTS.md` has one row for each kind, in the same order. The observed exit status is the expected one."""
    rows = section(FILE.read_text(encoding="utf-8")).splitlines()[8:]
    assert [row.partition(" exit ")[0] for row in rows] == [expected(kind).partition(" exit ")[0] for kind in KINDS]
    for kind, row in zip(KINDS, rows, strict=True):
        assert row.startswith(expected(kind)), f"run `python -m tests.faults.report`: {kind.name}"
        assert row.removeprefix(expected(kind)).startswith(f" exit {kind.status}: ")
        assert row.endswith(f"[{kind.name}] |")


def test_every_test_that_the_table_of_faults_names_exists():
    """A renamed or deleted test must not leave its row behind."""
    text = FILE.read_text(encoding="utf-8")
    sources = {file.name: file.read_text(encoding="utf-8") for file in FILE.parents[1].rglob("test_*.py")}
    files, tests = set(re.findall(r"\btest_\w+\.py", text)), set(re.findall(r"\btest_\w+\b(?!\.py)", text))
    assert len(files) > 5
    assert len(tests) > 20
    assert files <= sources.keys()
    everything = "\n".join(sources.values())
    assert [test for test in sorted(tests) if f"def {test}(" not in everything] == []


def test_there_are_many_kinds_and_each_once():
    """A name used twice would hide a kind."""
    names = [kind.name for kind in KINDS]
    assert len(names) == len(set(names)) > 150

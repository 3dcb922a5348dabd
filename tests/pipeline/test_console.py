"""Messages and tables: names are printed literally, long messages are shortened and saved in full."""

from __future__ import annotations

import io
import re
import stat
import sys
import threading
from pathlib import Path

import pytest

from pipeline import console
from pipeline.failures import report_error
from stages.errors import InputProblemsError, Problem


@pytest.fixture(autouse=True)
def _own_temporaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def _error(count: int) -> InputProblemsError:
    problems = [Problem(f"{number}.png", "is empty; restore it") for number in range(count)]
    return InputProblemsError(problems, "Correct or remove them.")


def test_thirty_problems_are_all_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Thirty problems fit on a screen, so no file is written."""
    assert report_error(_error(30)) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "error: 30 problems with the input:"
    assert len(shown) == 32
    assert not list(tmp_path.iterdir())


def test_hundreds_of_problems_are_cut_and_kept_whole_in_a_private_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """The message has the first thirty, the number of other lines, the file with all of them, and the remedy."""
    report_error(_error(692))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 34
    assert shown[1] == "  0.png: is empty; restore it"
    assert shown[-1] == "Correct or remove them."
    file = Path(re.findall(r"… and 661 more lines; all of them are in (.*)", shown[31])[0])
    assert file.parent == tmp_path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_text(encoding="utf-8").splitlines()
    assert kept == f"error: {_error(692)}".splitlines()


def test_the_message_is_cut_even_where_no_file_can_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A full disk may be the reason for the message."""
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/no folder")
    report_error(_error(692))
    shown = capsys.readouterr().err.splitlines()
    assert shown[31].strip() == "… and 661 more lines"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("[red]a[/red].png", "[red]a[/red].png", id="markup"),
        pytest.param(":warning: a", ":warning: a", id="emoji_code"),
        pytest.param("a\x1b[2J\rb", r"a\x1b[2J\rb", id="terminal_escape"),
        pytest.param("a\u202egnp.exe", r"a\u202egnp.exe", id="turned_direction"),
        pytest.param("Schädel Ω 皮膚", "Schädel Ω 皮膚", id="other_scripts"),
    ],
)
def test_names_are_printed_literally(capsys: pytest.CaptureFixture[str], name: str, shown: str):
    """This holds on standard error and in tables."""
    console.say(name)
    assert capsys.readouterr().err == f"{shown}\n"
    console.show_table(name, ["a"], [[name]])
    title, *_, row = capsys.readouterr().out.rstrip().splitlines()
    assert (title.strip(), row.strip()) == (shown, shown)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_message_is_wrapped_between_words(monkeypatch: pytest.MonkeyPatch):
    """A path and a long name stay whole, so that they can be copied. Later lines are indented."""
    monkeypatch.setattr("sys.stderr", _Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    path = "/data/" + "x" * 60 + "/a-b.png"
    console.say(f"error: one two three four five six seven eight nine\n  {path}: is empty")
    assert sys.stderr.getvalue().splitlines() == [
        "error: one two three four five six seven",
        "  eight nine",
        f"  {path}:",
        "    is empty",
    ]


def test_elsewhere_a_line_stays_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A program that reads a log wants whole messages."""
    monkeypatch.setenv("COLUMNS", "40")
    console.say("word " * 100)
    assert capsys.readouterr().err == "word " * 100 + "\n"


def test_a_long_name_of_a_row_is_not_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """The other columns keep their space."""
    monkeypatch.setenv("COLUMNS", "80")
    console.show_table("classes", ["class", "share"], [["name" * 30, "12 %"]])
    shown = capsys.readouterr().out
    assert shown.count("name") == 30
    assert "12 %" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_slow_command_says_that_it_works(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A quick one says nothing but its result."""
    said = threading.Event()
    monkeypatch.setattr(console, "SLOW", 0.0)
    monkeypatch.setattr(console, "say", lambda text: (sys.stderr.write(text), said.set()))
    with console.said_if_slow("verify: reading s.zarr"):
        assert said.wait(60)
    assert capsys.readouterr().err == "verify: reading s.zarr"
    monkeypatch.setattr(console, "SLOW", 3600.0)
    with console.said_if_slow("verify: reading s.zarr"):
        pass
    assert capsys.readouterr().err == ""

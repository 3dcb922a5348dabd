"""Messages and tables: names are printed literally, long messages are shortened and saved in full."""

from __future__ import annotations

import re
import stat
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

"""The live log: written in a DVC repository with DVCLive, and nowhere else."""

from __future__ import annotations

import csv
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.outputs.kinds import RUN
from stages.runs.history import Row
from stages.runs.live_log import LIVE_FOLDER, live_log
from store.disk.contents import foreign_entries
from tests.faults.network import no_network

COLUMNS = ("loss", "dice")
ROWS: list[Row] = [{"epoch": 1, "dice": None, "loss": 0.5}, {"epoch": 2, "dice": 0.25, "loss": 0.4}]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a folder inside a new DVC repository, and return the repository."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    return tmp_path


def _logged(folder: Path, column: str) -> list[tuple[str, str]]:
    with (folder / LIVE_FOLDER / "plots" / "metrics" / f"{column}.tsv").open() as file:
        return [(row["step"], row[column]) for row in csv.DictReader(file, delimiter="\t")]


def test_rows_so_far_and_new_rows_are_logged_over_an_older_log(repository: Path):
    """The rows that an interrupted run had logged are replaced; a figure that is None is left out."""
    for _ in range(2):
        with live_log(repository, ROWS[:1], COLUMNS) as log:
            log(ROWS[1])
    assert _logged(repository, "loss") == [("0", "0.5"), ("1", "0.4")]
    assert _logged(repository, "dice") == [("1", "0.25")]


def test_the_files_of_a_log_are_those_that_a_run_may_hold(repository: Path):
    """Otherwise a run with a live log could never be replaced."""
    with live_log(repository, ROWS, COLUMNS):
        pass
    described = RUN.contents(repository).folder(LIVE_FOLDER)
    assert described is not None
    assert list(foreign_entries(repository / LIVE_FOLDER, described)) == []
    assert not (repository / LIVE_FOLDER / "plots" / "metrics" / "epoch.tsv").exists()


def test_outside_a_repository_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """DVCLive would create a repository there."""
    monkeypatch.chdir(tmp_path)
    with live_log(tmp_path, ROWS[:1], COLUMNS) as log:
        log(ROWS[1])
    assert not list(tmp_path.iterdir())


def test_without_dvclive_training_goes_on_and_says_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """DVCLive is an extra; the history is written in any case."""
    monkeypatch.setitem(sys.modules, "dvclive", None)
    monkeypatch.setitem(sys.modules, "dvclive.live", None)
    with caplog.at_level(logging.WARNING), live_log(repository, ROWS[:1], COLUMNS) as log:
        log(ROWS[1])
    assert not (repository / LIVE_FOLDER).exists()
    assert "DVCLive is not installed" in caplog.text


def test_in_a_repository_without_a_commit_training_goes_on_and_says_so(
    repository: Path, caplog: pytest.LogCaptureFixture
):
    """DVCLive raises an error if git has no commit yet. A missing log must not stop a training."""
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    (repository / ".dvc" / "config").touch()
    with caplog.at_level(logging.WARNING), live_log(repository, ROWS[:1], COLUMNS) as log:
        log(ROWS[1])
    assert "DVCLive cannot log this run" in caplog.text
    assert "continues without a live log" in caplog.text


@pytest.mark.parametrize("before", [None, "false"])
def test_offline_nothing_is_reported_to_dvc_studio(
    repository: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
):
    """The log is written all the same, and the environment is as it was. Without `offline` a report is tried."""
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "isat_secret")
    monkeypatch.setenv("DVC_STUDIO_REPO_URL", "git@github.com:owner/name.git")
    if before is None:
        monkeypatch.delenv("DVC_STUDIO_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("DVC_STUDIO_OFFLINE", before)
    tried = {}
    for offline in (False, True):
        with no_network() as attempts, live_log(repository, ROWS[:1], COLUMNS, offline=offline) as log:
            log(ROWS[1])
        tried[offline] = attempts
        assert os.environ.get("DVC_STUDIO_OFFLINE") == before
        assert _logged(repository, "loss") == [("0", "0.5"), ("1", "0.4")]
    assert tried[False]
    assert tried[True] == []


def test_an_error_without_a_text_is_named_by_its_type(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_arguments: object, **_options: object) -> None:
        raise ValueError

    monkeypatch.setattr("dvclive.live.Live", fail)
    with caplog.at_level(logging.WARNING), live_log(repository, [], COLUMNS) as log:
        log(ROWS[1])
    assert "DVCLive cannot log this run (ValueError)." in caplog.text

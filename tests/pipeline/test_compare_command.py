"""`pipeline compare`: where its settings come from, what it prints, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.forks import Finished, Forks

PROGRAM = (
    "import os, sys; os.chdir(sys.argv[1]); sys.argv = ['pipeline', *sys.argv[2:]]\n"
    "from pipeline.cli import main; main()\n"
)
PARAMS = """
train: {store: elsewhere.zarr, epochs: 900, seed: 7, width: 4, batch_size: 2, lr: 0.002, test: 0.3}
compare: {store: test.zarr, out: made, arms: [dual, image], labels: [2, all], seeds: 0-1, steps: 2, device: cpu}
"""

Compare = Callable[..., Finished]


@pytest.fixture
def compare(make_store: Callable[..., Path], tmp_path: Path, forks: Forks) -> Compare:
    """Return a function that runs `pipeline compare` in a folder with a store and a `params.yaml`."""
    make_store(30)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return lambda *arguments: forks.run(PROGRAM, tmp_path, "compare", *arguments)


def test_settings_come_from_two_sections_and_the_result_is_said(compare: Compare, tmp_path: Path):
    """`compare` has its own section; all that an arm is trained with, but its seed and length, is that of `train`."""
    finished = compare()
    assert finished.returncode == 0, finished.stderr
    assert "compare: 2 arms × 2 numbers of labels × 2 seeds = 8 runs of 2 steps\n" in finished.stderr
    assert finished.stderr.count("run ") >= 8  # a line for every run, because nobody sees a bar here
    assert finished.stderr.splitlines()[-2].startswith("result: made/report.html")
    assert "pipeline predict" in finished.stderr.splitlines()[-1]
    content = json.loads((tmp_path / "made" / "comparison.json").read_text())
    assert content["seeds"] == [0, 1]
    assert {run["steps"] for run in content["runs"]} == {2}
    common = content["settings"]["common"]
    assert (common["width"], common["lr"], common["test"]) == (4, 0.002, 0.3)
    assert "seed" not in common


def test_the_command_line_wins_and_json_is_the_only_result(compare: Compare, tmp_path: Path):
    finished = compare("--json", "--seeds", "3", "--labels", "2", "--common", "lr=0.1", "--arm", "wide=dual,width=6")
    assert finished.returncode == 0, finished.stderr
    content = json.loads(finished.stdout)
    assert content == json.loads((tmp_path / "made" / "comparison.json").read_text())
    assert content["arms"] == ["dual", "image", "wide"]
    assert content["settings"]["common"]["lr"] == 0.1
    assert content["settings"]["arms"]["wide"] == {"branches": "dual", "width": 6}


def test_a_second_start_says_what_is_done_and_trains_nothing(compare: Compare):
    compare("--labels", "2", "--seeds", "0")
    again = compare("--labels", "2", "--seeds", "0")
    assert "= 2 runs of 2 steps (2 done)" in again.stderr
    assert "run 1 of 2" not in again.stderr


def test_a_wrong_request_ends_with_status_2_and_writes_nothing(compare: Compare, tmp_path: Path):
    finished = compare("--labels", "1000")
    assert finished.returncode == 2
    assert "--labels 1000" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "made").exists()
    assert not list(tmp_path.glob(".made*"))

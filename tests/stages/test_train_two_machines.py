"""Two agents of `torchrun`, one for each machine of docs/many-gpus.md, train what one process trains."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, blocks_of
from tests.stages.runs_alike import assert_same_run
from tests.stages.together import free_port

PROGRAM = """
import sys
from unittest.mock import patch
from pipeline import cli
from stages.segmentation import trainer
from tests.stages.trained_together import CALM
with patch.object(trainer, "AdamW", CALM):
    cli.main()
"""
"""The command line with an optimiser that does not enlarge rounding errors."""

OPTIONS = "train --store mine.zarr --out run --device cpu --batch-size 8 --epochs 2 --width 4 --val 0.4 --test 0.1"


def _start(folder: Path, *launcher: str) -> subprocess.Popen[str]:
    """Start a training in the folder of a machine; `launcher` comes before the program."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [sys.executable, *launcher, folder.parent / "program.py", *OPTIONS.split()],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(DOCS.parent), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _agent(port: int, rank: int, rendezvous: str, logs: Path) -> list[str]:
    """Return how the agent of a machine is started: the documented way, or by rank and address of the first one.

    What its process prints goes to files. The agent's own words are of no account here: it may warn at the very end
    that the other one was gone before it (see docs/many-gpus.md).
    """
    if rendezvous == "static":
        found = ["--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    else:
        (command,) = [one.text for one in blocks_of(DOCS / "many-gpus.md") if "--rdzv-endpoint" in one.text]
        text = command.replace("first:29500", f"127.0.0.1:{port}").replace("--nproc-per-node 4", "--nproc-per-node 1")
        found = re.findall(r"torchrun (.*) -m pipeline train", text)[0].split()
    found = [*found, "--nnodes", "2", "--nproc-per-node", "1", "--redirects", "3", "--log-dir", str(logs)]
    return ["-m", "torch.distributed.run", *found]


def _printed(logs: Path) -> tuple[str, str]:
    """Return what the only process of a machine wrote to standard output and standard error."""
    (output,), (error,) = logs.rglob("stdout.log"), logs.rglob("stderr.log")
    return output.read_text(), error.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("rendezvous", ["c10d", "static"])
def test_two_machines_train_what_one_process_trains(phantom_store: Path, tmp_path: Path, rendezvous: str):
    """Splits, weights, history and messages are the same. The second machine writes no file, and prints nothing."""
    (tmp_path / "program.py").write_text(PROGRAM)
    for name in ("alone", "first", "second"):
        (tmp_path / name).mkdir()
        shutil.copytree(phantom_store, tmp_path / name / "mine.zarr")
    alone = _start(tmp_path / "alone")
    expected = alone.communicate()
    assert alone.returncode == 0, expected
    port = free_port()
    machines = [tmp_path / "first", tmp_path / "second"]
    logs = [tmp_path / "logs" / machine.name for machine in machines]
    agents = [_start(machines[rank], *_agent(port, rank, rendezvous, logs[rank])) for rank in range(2)]
    of_agents = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], of_agents
    assert [output for output, _ in of_agents] == ["", ""]
    said = [_printed(log) for log in logs]
    leading = [machine for machine in machines if (machine / "run").exists()]
    assert len(leading) == 1  # with c10d the first to come leads
    other = machines.index(leading[0]) ^ 1
    assert rendezvous == "c10d" or other == 1
    assert_same_run(tmp_path / "alone" / "run", leading[0] / "run")
    assert {file.name for file in leading[0].iterdir()} == {file.name for file in (tmp_path / "alone").iterdir()}
    assert [file.name for file in machines[other].iterdir()] == ["mine.zarr"]
    assert _without_progress(said[other ^ 1]) == _without_progress(expected)
    assert said[other] == ("", "")


def _without_progress(said: tuple[str, str]) -> list[str]:
    """Return the lines of standard output and error, without those that say how far it is at some time."""
    return [line for one in said for line in one.splitlines() if not line.startswith("training: ")]

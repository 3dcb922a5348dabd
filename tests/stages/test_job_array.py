"""The job array of docs/cluster.md, with processes in the place of Slurm's tasks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from stages.extract import run
from tests.conftest import extract_settings
from tests.docs.blocks import DOCS, blocks_of

TASKS = 3


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_documented_script_and_command_make_the_store_of_one_extraction(phantoms: Path, memo: Path, tmp_path: Path):
    """Three tasks at the same time, and the merge. The settings of the model come from params.yaml here."""
    small = {"image_size": "32x40", "attention_size": "32x48", "layers": [-1], "batch_size": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"extract": small}))
    (tmp_path / "photos").symlink_to(phantoms / "images")
    (tmp_path / "masks").symlink_to(phantoms / "masks")
    command = tmp_path / "bin" / "pipeline"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pipeline "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(DOCS.parent),
        "SLURM_ARRAY_TASK_COUNT": str(TASKS),
    }
    blocks = blocks_of(DOCS / "cluster.md")
    script = next(block.text for block in blocks if "#SBATCH" in block.text).replace("dino_vits8", "untrained_tiny8")
    merge = next(block.text for block in blocks if "$ pipeline merge" in block.text).strip().removeprefix("$ ")
    tasks = [
        subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env={**environment, "SLURM_ARRAY_TASK_ID": str(number)})
        for number in range(1, TASKS + 1)
    ]
    assert [task.wait() for task in tasks] == [0] * TASKS
    subprocess.run(["bash", "-c", merge], cwd=tmp_path, env=environment, check=True)
    run(extract_settings(phantoms, tmp_path / "one.zarr", memo))
    assert _bytes(tmp_path / "store" / "mine.zarr") == _bytes(tmp_path / "one.zarr")

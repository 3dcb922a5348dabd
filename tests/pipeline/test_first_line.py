"""Every command that works for long says at once what it does, before anything slow is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AT_FIRST_SLOW_IMPORT = """
import sys
class Slow:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"torch", "numpy", "zarr", "timm", "PIL", "scipy", "dask"}:
            sys.stderr.flush()
            raise SystemExit(f"imports {name}")
sys.meta_path.insert(0, Slow())
from pipeline.cli import main
main()
"""
"""Run a command until it imports a module that takes long to load."""


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("phantom --out drawn --samples 1", "phantom: 1 image → drawn"),
        ("pretrain --images . --out a.safetensors", "pretrain: . → a.safetensors"),
        ("extract --images . --store s.zarr", "extract: . → s.zarr"),
        ("extract --csv t.csv --store s.zarr", "extract: t.csv → s.zarr"),
        ("extract --images . --dry-run", "extract: . → a plan"),
        ("train --store s.zarr --out run", "train: s.zarr → run"),
        ("evaluate --store s.zarr --run run --out report", "evaluate: run on s.zarr → report"),
        ("predict . --run run --out masks", "predict: . with run → masks"),
    ],
)
def test_the_first_line_comes_before_slow_imports(command: str, line: str, tmp_path: Path):
    """Importing torch takes seconds, and on a shared disk a minute."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    run = subprocess.run(
        [sys.executable, "-c", AT_FIRST_SLOW_IMPORT, *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    first, *others = run.stderr.splitlines()
    assert first == line
    assert [other for other in others if other.startswith("imports ")] == others[-1:]
    assert run.stdout == ""

"""A disk without room: one message with path and cure, exit status 1, the output before intact, and on with room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.check import verify_store
from tests.conftest import extract_settings, train_settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")

ROOT = Path(__file__).parents[2]


def _limited(program: str, *arguments: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Run a program in which no file can grow beyond `limit` bytes: the system refuses, as a full disk does."""
    preamble = (
        "import resource, signal, sys; from pathlib import Path; from tests.conftest import *\n"
        "from pipeline import console; from stages import extract, train\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "paths = [Path(argument) for argument in sys.argv[1:]]\n"
        "try:\n"
        f"    {program}\n"
        "except Exception as error:\n"
        "    status = console.tell_error(error)\n"
        "    if status is None: raise\n"
        "    sys.exit(status)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", preamble, *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_store_that_does_not_fit(phantoms, memo, tmp_path):
    """The store before stays, the message names it, nothing is left beside it; with room the same command works."""
    from stages.extract import run

    settings = extract_settings(phantoms, tmp_path / "s.zarr", memo)
    run(settings)
    before = _contents(tmp_path)
    finished = _limited("extract.run(extract_settings(*paths))", phantoms, tmp_path / "s.zarr", memo, limit=50_000)
    assert finished.returncode == 1, finished.stderr
    assert finished.stderr.startswith(f"error: {tmp_path}/s.zarr: cannot be written (File too large)")
    assert "Free some space" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert _contents(tmp_path) == before
    run(settings)
    assert verify_store(tmp_path / "s.zarr") == []


def test_a_checkpoint_that_does_not_fit(phantom_store, tmp_path):
    """The run before stays, the message names the checkpoint, and --resume goes on once there is room."""
    from stages.train import run

    run(train_settings(phantom_store, tmp_path / "run", epochs=1))
    before = _contents(tmp_path / "run")
    program = "train.run(train_settings(*paths, epochs=2))"
    finished = _limited(program, phantom_store, tmp_path / "run", limit=20_000)
    assert finished.returncode == 1, finished.stderr
    assert f"{tmp_path}/.run.training/model.safetensors: cannot be written" in finished.stderr
    assert "--resume" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert _contents(tmp_path / "run") == before
    run(train_settings(phantom_store, tmp_path / "run", epochs=2, resume=True))
    assert not list(tmp_path.glob(".*"))

"""`dvc repro` on a clean clone with a tiny configuration: it runs, does nothing twice, and reruns what depends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

TINY = {
    "phantom": {"samples": 24, "image_size": "36x48", "seed": 0},
    "extract": {"image_size": 32, "attention_size": 32, "batch_size": 8},
    "train": {"epochs": 2, "width": 4, "val": 0.25, "test": 0.25},
    "evaluate": {"overlays": 1},
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clean clone of what git tracks, as it is in the working tree, with a small params.yaml."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, and DVC needs one")
    clone = tmp_path / "clone"
    tracked = _run(["git", "ls-files", "-z"], ROOT).split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    params = yaml.safe_load((clone / "params.yaml").read_text())
    for section, changes in TINY.items():
        params[section] |= changes
    (clone / "params.yaml").write_text(yaml.safe_dump(params))
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    _run(["git", "init", "-q"], clone)
    _run(["git", "add", "-A"], clone)
    _run(["git", *identity, "commit", "-qm", "a clean clone"], clone)
    return clone


def _run(command: list[str], cwd: Path) -> str:
    """Standard output of a command that must succeed, with this environment's programs first in the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path, "NO_COLOR": "1"}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _stages_run(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def _change(clone: Path, section: str, **changes: object) -> None:
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params[section] |= changes
    (clone / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.mark.slow
def test_repro_runs_once_and_reruns_what_depends(clone: Path):
    """All stages, then none; other layers rerun all but the phantoms; one changed image reruns the extraction."""
    everything = {"phantom", "extract", "train@dual", "train@image", "evaluate@dual", "evaluate@image"}
    assert _stages_run(_run(["dvc", "repro"], clone)) == everything
    for branches in ("dual", "image"):
        assert (clone / "runs" / branches / "model.safetensors").is_file()
        assert json.loads((clone / "reports" / branches / "metrics.json").read_text())["n"] > 0
    assert _run(["git", "status", "--porcelain"], clone).split() == ["??", "dvc.lock"]
    assert _stages_run(_run(["dvc", "repro"], clone)) == set()
    shown = json.loads(_run(["dvc", "metrics", "show", "--json"], clone))
    assert set(shown[""]["data"]) == {"reports/dual/metrics.json", "reports/image/metrics.json"}

    _change(clone, "extract", layers=[-2])
    assert _stages_run(_run(["dvc", "repro"], clone)) == everything - {"phantom"}
    _change(clone, "extract", layers=[-3, -2, -1])  # back again: nothing runs, the run cache has it
    assert "Running stage" not in _run(["dvc", "repro"], clone)

    images = clone / "mine"  # a user's own folder: one image in it changes
    shutil.copytree(clone / "data" / "phantom", images)
    _change(clone, "extract", images="mine/images", masks="mine/masks")
    _run(["dvc", "repro", "extract"], clone)
    assert _stages_run(_run(["dvc", "repro", "extract"], clone)) == set()
    shutil.copy(images / "images" / "phantom_0001.png", images / "images" / "phantom_0000.png")
    result = _run(["dvc", "repro", "extract"], clone)
    assert _stages_run(result) == {"extract"}

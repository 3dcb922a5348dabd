"""Make folders in which tests run DVC: a copy of this repository, or a user's own project, with tiny settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]

TINY: dict[str, dict[str, Any]] = {
    "phantom": {"samples": 16, "image_size": "36x48", "seed": 0},
    "extract": {"image_size": 32, "attention_size": 32, "batch_size": 8},
    "train": {"steps": 2, "width": 4, "val": 0.25, "test": 0.25},
    "evaluate": {"overlays": 1},
    "compare": {"labels": [4], "seeds": 0, "steps": 2},
}


@dataclass
class Project:
    """Run commands in a folder with `dvc.yaml` and `params.yaml`."""

    folder: Path
    programs: list[Path] = field(default_factory=list)
    """Folders that come first in PATH, such as that of the `pipeline` command."""

    def run(self, *command: str) -> str:
        """Run a command that must succeed; return its standard output."""
        result = self.try_to_run(*command)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def try_to_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command. In PATH, this environment's programs come after the folders in `programs`."""
        path = [*map(str, self.programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {**os.environ, "PATH": os.pathsep.join(path), "NO_COLOR": "1", "DVC_NO_ANALYTICS": "1"}
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, env=environment)

    def start(self) -> None:
        """Make a repository of git and DVC out of the folder, with one commit."""
        self.run("git", "init", "-q")
        if not (self.folder / ".dvc").is_dir():
            self.run("dvc", "init", "-q")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "start")

    def repro(self, *targets: str) -> set[str]:
        """Run `dvc repro`; return the stages whose commands ran. Stages taken from the run cache are not among them."""
        output = self.run("dvc", "repro", *targets)
        return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}

    def change(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Change settings in params.yaml; None deletes one."""
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for section, values in changes.items():
            merged = {**params.get(section, {}), **values}
            params[section] = {key: value for key, value in merged.items() if value is not None}
        file.write_text(yaml.safe_dump(params))

    def params(self) -> dict[str, Any]:
        """Return the content of params.yaml."""
        return dict(yaml.safe_load((self.folder / "params.yaml").read_text()))


def tracked_files() -> list[str]:
    """Return the files of this repository that git knows or would add; skip the test without git."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, and DVC needs one")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def clone(folder: Path, programs: list[Path]) -> Project:
    """Copy the repository's files from the working tree, without the tests; write tiny settings; commit."""
    for name in tracked_files():
        if not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder, programs)
    project.change(TINY)
    project.start()
    return project

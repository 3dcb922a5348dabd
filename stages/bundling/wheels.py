"""Get the wheels of packages with pip, and that of this package from where it was installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from stages.errors import PipelineError
from stages.runtime.installation import DISTRIBUTION
from stages.runtime.progress import Task

__all__ = ["collect_wheels", "own_wheel"]

LAST_LINES = 3
"""Lines of pip's output that an error shows: its first errors, else the last lines."""


def collect_wheels(packages: Mapping[str, str], folder: Path, task: Task) -> None:
    """Download the wheels of packages; one that is published as source code only is built.

    Args:
        packages: Version by name.
        folder: Where the wheels go.
        task: Advanced by one for each package.

    Raises:
        PipelineError: there is no pip, or it failed: no network, a full disk, a version that is not published.
    """
    command = [*_pip(), "wheel", "--no-deps", "--wheel-dir", str(folder)]
    _run([*command, *(f"{name}=={version}" for name, version in packages.items())], "getting the wheels", task)


def own_wheel(origin: Path | str, version: str, folder: Path, task: Task) -> None:
    """Get the wheel of this package from where it was installed.

    Args:
        origin: Folder with the source code, a wheel, or an address as pip takes it.
        version: That is installed here, with the metadata of which the other packages were found.
        folder: Where the wheel goes.
        task: Advanced by one.

    Raises:
        PipelineError: the build or the download failed, or what is there now is another version or package.
    """
    with tempfile.TemporaryDirectory() as made:  # a build leaves other files too
        if isinstance(origin, Path) and origin.suffix == ".whl":
            shutil.copyfile(origin, Path(made) / origin.name)
        else:
            uv = shutil.which("uv") if isinstance(origin, Path) else None
            # From a source distribution: a wheel that is built in the folder itself may hold files of an earlier build.
            command = [uv, "build", "--quiet", "--out-dir", made] if uv else [*_pip(), "wheel", "--no-deps", "-w", made]
            _run([*command, str(origin)], f"building the wheel of {DISTRIBUTION}", None)
        (wheel,) = Path(made).glob("*.whl")
        name, found, *_ = parse_wheel_filename(wheel.name)
        if (name, found) != (DISTRIBUTION, Version(version)):
            raise PipelineError(
                f"{origin}: has version {found} of {name} now; {version} of {DISTRIBUTION} is installed here.\n"
                "  Install it again from where it is now, then make the bundle."
            )
        shutil.copyfile(wheel, folder / wheel.name)
    task.advance(1)


def _pip() -> list[str]:
    """Return the command that runs pip for this Python."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "--python", sys.executable, "--from", "pip", "pip"]
    raise PipelineError("there is neither pip nor uv here to get wheels with.\n  python -m ensurepip")


def _run(command: Sequence[str], what: str, task: Task | None) -> None:
    """Run a program, advance the task for every package that it begins, and raise its last lines if it fails."""
    lines: list[str] = []
    # Constraints are for choosing versions. Here they are those that are installed.
    environment = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_CONSTRAINT": os.devnull,
    }
    with subprocess.Popen(  # noqa: S603 - pip or uv, with names and versions from package metadata
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        for line in process.stdout or []:
            lines.append(line.rstrip())
            if task is not None and line.startswith("Collecting "):
                task.advance(1)
    if process.returncode:
        errors = [line for line in lines if line.startswith("ERROR: ")]
        shown = "\n  ".join(line for line in errors[:LAST_LINES] or lines[-LAST_LINES:] if line)
        raise PipelineError(
            f"{what} failed (exit status {process.returncode}):\n  {shown}\n"
            "  Nothing was written. Check the network and the space on the disk, then run this again."
        )

"""Find out how this package is installed: as an ordinary package, or as editable from a folder with its source code."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

__all__ = ["DISTRIBUTION", "checkout", "missing_in_metadata", "version_of_program"]

DISTRIBUTION = "diamant-pipeline"


def version_of_program() -> str:
    """Return the version of the installed program; "unknown" in a source tree without an installation."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def checkout() -> Path | None:
    """Return the folder of the source code that runs; None for an ordinary package.

    The metadata do not always say it: a build leaves metadata in the folder itself, which hide those of the
    installation.
    """
    folder = Path(__file__).parents[2]
    return folder if (folder / "pyproject.toml").is_file() else None


def missing_in_metadata(source: Path) -> list[str]:
    """Return what the source code needs and the installed metadata do not say.

    The metadata of an editable installation are those of the day on which it was made. Source code that was updated
    since may need more packages.

    Args:
        source: Folder with the `pyproject.toml`.

    Returns:
        Requirements as the file writes them; none for an installation that is up to date.
    """
    from packaging.requirements import Requirement

    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    known = {
        (one.name, str(one.specifier)) for one in map(Requirement, importlib.metadata.requires(DISTRIBUTION) or [])
    }
    return [str(one) for one in wanted if (one.name, str(one.specifier)) not in known]

"""Check a project's `params.yaml` before DVC runs a stage.

`dvc repro` runs a stage again when one of its dependencies has changed. `dvc.yaml` takes the
dependencies on data from the section `inputs` of `params.yaml`. So a file that a setting names, but
`inputs` does not, could change and the stage would not run again. That is an error here.

A project that uses an installed package has no source files for DVC to look at. There `pipeline_version`
of `params.yaml` stands for them: every stage depends on it, and it must be the installed version.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import __version__
from store.errors import UsageError

INPUTS = "inputs"
VERSION_KEY = "pipeline_version"

WATCHED: dict[str, dict[str, str]] = {
    "extract": {
        "images": "images",
        "masks": "masks",
        "csv": "table",
        "classes": "table",
        "weights": "weights",
        "model": "weights",
    },
    "train": {"split_csv": "splits"},
    "evaluate": {"masks": "masks", "csv": "masks"},
    "compare": {"images": "images"},
}
"""Settings that name an input: section → setting → the key of `inputs` that should name the same input.

In `dvc.yaml`, the stage of the section's name depends on these keys of `inputs`. The stage `compare` reads the section
`train` too.
"""


def require_version(content: Any, params: Path) -> None:
    """Make sure that `pipeline_version`, if there is one, is the version of this program.

    Raises:
        UsageError: it is another version.
    """
    wanted = content.get(VERSION_KEY) if isinstance(content, dict) else None
    if wanted is not None and str(wanted) != __version__:
        raise UsageError(
            f"{params}: {VERSION_KEY} is {wanted}, but version {__version__} is installed.\n"
            f"  Set {VERSION_KEY} to {__version__} and every stage runs again, or install version {wanted}."
        )


def require_watched(settings: object, section: str, content: Any, params: Path) -> None:
    """Make sure that DVC notices a change of every file or folder that the settings name.

    Args:
        settings: the checked settings of the command.
        section: the command's name.
        content: all of `params.yaml`. Without a section `inputs` there is nothing to check.
        params: the file, for messages.

    Raises:
        UsageError: an input that a setting names is not in `inputs`, nor inside a folder that is.
    """
    inputs = content.get(INPUTS) if isinstance(content, dict) else None
    keys = WATCHED.get(section, {})
    if not isinstance(inputs, Mapping) or not keys:
        return
    watched = [_absolute(inputs[key]) for key in {*keys.values()} & inputs.keys()]
    for name, key in keys.items():
        path = _input(settings, name)
        if path is None:
            continue
        absolute = _absolute(path)
        if not any(absolute == entry or entry in absolute.parents for entry in watched):
            raise UsageError(
                f"{params}: {section}.{name} is {path}, but {INPUTS} does not name it, so `dvc repro` would not notice "
                f"when it changes.\n  Set {INPUTS}.{key} to {path}, or to a folder that holds it."
            )


def _input(settings: object, name: str) -> Path | None:
    """Return the file or folder that a setting names; None if the command does not read it."""
    value = getattr(settings, name)
    if value is None or (name == "images" and getattr(settings, "csv", None) is not None):
        return None  # with a table the folder of images is not read
    if name == "model" and not Path(value).is_file():
        return None  # a name from `pipeline models`
    if name == "classes" and not isinstance(value, str | Path):
        return None  # classes written out, not a file of them
    return Path(value)


def _absolute(path: object) -> Path:
    """Return the path without `..`. Links are kept: DVC may have replaced files by links into its cache."""
    return Path(os.path.abspath(str(path)))  # noqa: PTH100

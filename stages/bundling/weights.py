"""Copy the weights of transformers into a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.attention.hub import hub_file, weights_without_network
from stages.attention.naming import find_model
from stages.errors import UsageError

__all__ = ["copy_weights", "require_files"]

UNKNOWN = "unknown"


def require_files(models: Sequence[str], files: Sequence[Path]) -> None:
    """Make sure that all models are known, and that the files exist and have different names.

    Raises:
        UnknownModelError: a model is not known.
        UsageError: a file is missing, or two have one name.
    """
    for model in models:
        find_model(model)
    for file in files:
        if not file.is_file():
            raise UsageError(f"--weights {file}: there is no such file.")
    names = [file.name for file in files] + [_file_of(model) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{', '.join(twice)}: two weights files have this name. Rename one, or name it once.")


def copy_weights(
    models: Sequence[str], files: Sequence[Path], folder: Path, *, offline: bool
) -> Iterator[dict[str, str]]:
    """Copy weights, after a download where it is needed.

    Args:
        models: Names as `extract --model` takes them.
        files: Weights files of the user.
        folder: Where they go.
        offline: True to use earlier downloads only.

    Yields:
        For each model or file: `file` (name in the folder, "" if the package has the weights), `model`, `licence`,
        `source`.

    Raises:
        WeightsError: weights cannot be downloaded, or are not on this disk.
    """
    for model in models:
        entry = find_model(model)
        about = {"model": model, "licence": entry.licence, "source": entry.source}
        if not entry.url:  # a file of this package, of the user, or no file at all
            yield {**about, "file": _copied(Path(entry.file), folder) if model == entry.file else ""}
            continue
        found = weights_without_network(model, None) if offline else hub_file(entry)
        assert found is not None  # noqa: S101 - a model with an address has a file, or an error was raised
        name = _file_of(model)
        shutil.copyfile(found, folder / name)
        yield {**about, "file": name}
    for file in files:
        yield {"model": "", "licence": UNKNOWN, "source": "", "file": _copied(file, folder)}


def _file_of(model: str) -> str:
    """Return the name of a model's file in the folder; a model of timm may be named with `timm/` before it."""
    return f"{model.removeprefix('timm/')}.safetensors"


def _copied(file: Path, folder: Path) -> str:
    shutil.copyfile(file, folder / file.name)
    return file.name

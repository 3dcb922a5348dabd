"""Copy the weights of transformers into a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.attention.card import read_card
from stages.attention.folder_files import HUB_FILES, INDEX, files_of
from stages.attention.hub import hub_file, weights_without_network
from stages.attention.hub_folder import CONFIG, PREPROCESSOR, README
from stages.attention.naming import find_model, licence_beside
from stages.errors import UsageError

__all__ = ["copy_weights", "require_files"]

UNKNOWN = "unknown"


def require_files(models: Sequence[str], files: Sequence[Path]) -> None:
    """Make sure that all models are known, and that the files exist and have different names.

    Raises:
        UnknownModelError: a model is not known.
        UsageError: a file is missing, or two have one name.
        WeightsError: a folder has no weights.
    """
    for model in models:
        find_model(model)
    for file in files:
        if not file.exists():
            raise UsageError(f"--weights {file}: there is no such file. Check the path.")
        files_of(file)
    names = [file.name for file in files] + [_file_of(model) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{', '.join(twice)}: two weights files have this name. Rename one, or name it once.")


def copy_weights(
    models: Sequence[str], files: Sequence[Path], folder: Path, *, offline: bool
) -> Iterator[dict[str, str]]:
    """Copy weights, after a download where it is needed.

    Args:
        models: Names as `extract --model` takes them.
        files: Weights files of the user, or folders of the model hub.
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
        about = {"model": model, "licence": entry.licence or UNKNOWN, "source": entry.source}
        if not entry.url:  # a file of this package, of the user, or no file at all
            yield {**about, "file": _copied(Path(entry.file), folder) if model == entry.file else ""}
            continue
        found = weights_without_network(model, None) if offline else hub_file(entry)
        assert found is not None  # noqa: S101 - a model with an address has a file, or an error was raised
        name = _file_of(model)
        shutil.copyfile(found, folder / name)
        yield {**about, "file": name}
    for file in files:
        card = read_card(file)
        licence = licence_beside(file) if card is None else card.licence
        source = "" if card is None else card.source
        yield {"model": "", "licence": licence or UNKNOWN, "source": source, "file": _copied(file, folder)}


def _file_of(model: str) -> str:
    """Return the name of a model's file in the folder; a model of timm may be named with `timm/` before it."""
    return Path(model).name if Path(model).is_dir() else f"{model.removeprefix('timm/')}.safetensors"


def _copied(file: Path, folder: Path) -> str:
    """Copy a weights file, or of a folder of the model hub what is read of it."""
    if not file.is_dir():
        shutil.copyfile(file, folder / file.name)
        return file.name
    (folder / file.name).mkdir()
    indices = (file / name for name in HUB_FILES if name.endswith(INDEX))
    described = (file / name for name in (CONFIG, PREPROCESSOR, README))
    for part in {*files_of(file).paths, *filter(Path.is_file, (*indices, *described))}:
        shutil.copyfile(part, folder / file.name / part.name)
    return file.name

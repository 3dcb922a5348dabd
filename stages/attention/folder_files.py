"""Find the weights files of a folder of the model hub, also if the weights are in several files.

    model.safetensors                                       one file
    model.safetensors.index.json, model-00001-of-00003…     several files, and which tensor is in which
    pytorch_model.bin, or several with an index             the same as pickles

An index may name files of its own folder only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stages.attention.foreign_text import quoted
from stages.attention.sharded import sharded_advice
from stages.errors import WeightsError
from store.disk.regular import MIB, read_limited

__all__ = ["HUB_FILES", "INDEX", "Files", "files_of"]

INDEX = (".safetensors.index.json", ".bin.index.json")
HUB_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names of weights files of the hub, in the order in which they are looked for."""
_LARGEST = 16 * MIB


@dataclass(frozen=True)
class Files:
    """Hold the files of one set of weights."""

    paths: tuple[Path, ...]
    names: frozenset[str] | None = None
    """Names of all tensors by the index; None for one file."""


def files_of(path: Path) -> Files:
    """Return the files that a path stands for: itself, those of an index, or those of a folder.

    Raises:
        WeightsError: a folder has no weights, or an index cannot be used.
    """
    if path.is_dir():
        found = next((path / name for name in HUB_FILES if (path / name).is_file()), None)
        if found is None:
            what = sharded_advice(path) or (
                "is a folder without weights (model.safetensors or pytorch_model.bin). Name the file inside it"
            )
            raise WeightsError(f"{path}: {what}.")
        path = found
    if not path.name.endswith(INDEX):
        return Files((path,))
    try:
        listed = json.loads(read_limited(path, limit=_LARGEST))["weight_map"]
        names = {str(name): str(file) for name, file in dict(listed).items()}
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such weights file. Check the path after `--weights`.") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise WeightsError(f"{path}: is no index of weights files. Download it again.") from None
    files = sorted(set(names.values()))
    for file in files:
        if Path(file).name != file or file in {"", ".", ".."} or file.endswith(INDEX):
            raise WeightsError(f"{path}: names {quoted(file)}, which is no file of its folder. Download it again.")
        if not (path.parent / file).is_file():
            raise WeightsError(f"{path}: names {quoted(file)}, which is not in the folder. Download it too.")
    if not files:
        raise WeightsError(f"{path}: names no files. Download it again.")
    return Files(tuple(path.parent / file for file in files), frozenset(names))

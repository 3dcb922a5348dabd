"""Store the result of every finished run in a file of its own, and find it again.

    results/<identity>.json     scores of every image, and what the run cost
    runs/<name>/                the model, if it is kept: an ordinary run folder

Both lie in the hidden working folder of a comparison and in the finished output. A result is written after its model,
so a run that was killed has no result and is trained again. A result holds a digest of itself and one of the model's
file, so that a damaged one counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stages.comparison.results import RunResult
from stages.outputs.kinds import HISTORY_FILE, MODEL_FILE, RESULTS, RUNS, SPLITS_FILE
from store.disk.publish import replace_file
from store.disk.regular import MIB, disk_fails, open_regular, read_limited

__all__ = [
    "Found",
    "Stored",
    "copy_stored",
    "find_result",
    "model_digest",
    "read_result",
    "result_path",
    "write_result",
]

VERSION = 1
VERSION_KEY = "compared_run"
"""First key of a result file, with its version."""
LARGEST = 1024 * MIB
"""Most bytes of a result: about ten million images."""
SCORES = ("dice", "hd95")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Hold a result that was read from a file."""

    folder: Path
    """The working folder or the output that holds it."""
    identity: str
    result: RunResult
    """With the arm's name at the time of the run."""
    model: str
    """SHA-256 of the model's file; "" if none was kept."""

    @property
    def run_folder(self) -> Path:
        """Return the folder of the kept model."""
        return self.folder / RUNS / f"{self.result.arm}-{self.result.labels}-seed{self.result.seed}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Hold what was found of one run."""

    stored: Stored | None
    """None if the run must be trained."""
    damaged: Sequence[Path] = ()
    """Result files that cannot be used."""


def result_path(folder: Path, identity: str) -> Path:
    """Return the path of a result in a working folder or an output."""
    return folder / RESULTS / f"{identity}.json"


def write_result(folder: Path, identity: str, result: RunResult, *, model: str = "") -> None:
    """Write the result of a finished run. It appears complete or not at all.

    Args:
        folder: the working folder.
        identity: of the run.
        result: its scores; nan is written as null.
        model: SHA-256 of the kept model's file; "" without one.

    Raises:
        PipelineError: the disk is full.
    """
    values = asdict(result)
    for name in SCORES:
        values[name] = {id_: None if math.isnan(score) else score for id_, score in values[name].items()}
    content = {VERSION_KEY: VERSION, "identity": identity, "model": model, **values}
    path = result_path(folder, identity)
    path.parent.mkdir(exist_ok=True)
    replace_file(path, (json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n").encode())


def read_result(folder: Path, identity: str) -> Stored | None:
    """Read the result of a run; None if there is none.

    Raises:
        ValueError: the file is damaged, was changed, or another version wrote it.
        OSError: it cannot be read.
    """
    path = result_path(folder, identity)
    try:
        content = json.loads(read_limited(path, limit=LARGEST))
    except FileNotFoundError:
        return None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(content, dict) or content.get(VERSION_KEY) != VERSION or content.get("identity") != identity:
        raise ValueError("is no result of this run")
    if content.pop("sha256", None) != _digest(content):
        raise ValueError("was changed")
    model = content["model"]
    values = {key: value for key, value in content.items() if key not in {VERSION_KEY, "identity", "model"}}
    try:
        for name in SCORES:
            values[name] = {id_: math.nan if score is None else score for id_, score in values[name].items()}
        result = TypeAdapter(RunResult).validate_python(values)
    except (ValidationError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from None
    return Stored(folder=folder, identity=identity, result=result, model=str(model))


def find_result(folders: Sequence[Path], identity: str, *, with_model: bool) -> Found:
    """Return the result of a run from the first folder that has it.

    Args:
        folders: working folder and output.
        identity: of the run.
        with_model: only a result whose model is there and sound counts.
    """
    damaged: list[Path] = []
    for folder in folders:
        try:
            stored = read_result(folder, identity)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and disk_fails(error):
                raise
            damaged.append(result_path(folder, identity))
            continue
        if stored is None or (with_model and not _has_model(stored)):
            continue
        return Found(stored=stored, damaged=damaged)
    return Found(stored=None, damaged=damaged)


def copy_stored(stored: Stored, folder: Path, *, arm: str, with_model: bool) -> None:
    """Copy a result, and its model if asked for, from an earlier output into the working folder.

    Args:
        stored: what was found.
        folder: the working folder.
        arm: name of the arm in this comparison.
        with_model: copy the model too.
    """
    copied = replace(
        stored, folder=folder, result=replace(stored.result, arm=arm), model=stored.model if with_model else ""
    )
    if with_model:
        copied.run_folder.mkdir(parents=True, exist_ok=True)
        for name in (MODEL_FILE, HISTORY_FILE, SPLITS_FILE):
            replace_file(copied.run_folder / name, (stored.run_folder / name).read_bytes())
    write_result(folder, copied.identity, copied.result, model=copied.model)


def _has_model(stored: Stored) -> bool:
    """Return True if the files of the kept model are there and the weights are those that were scored."""
    others = (stored.run_folder / name for name in (HISTORY_FILE, SPLITS_FILE))
    return bool(stored.model) and model_digest(stored.run_folder) == stored.model and all(map(Path.is_file, others))


def model_digest(run: Path) -> str:
    """Return the SHA-256 of a run's model; "" if there is none that can be read."""
    try:
        with open_regular(run / MODEL_FILE) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        if disk_fails(error):
            raise
        return ""


def _digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the values of a result."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""Check that the weights of the transformer are on this disk or can be reached. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.checking.findings import Finding, ok, problem, warning
from stages.checking.machine import Machine

if TYPE_CHECKING:
    from stages.attention.models import ModelEntry

__all__ = ["check_weights"]

LEAST_BYTES = 1024
"""A file with less than this is no weights file; a page of a failed download may be short."""


def check_weights(machine: Machine) -> Iterator[Finding]:
    """Check the weights of the machine's transformer."""
    if not machine.model:
        return
    from stages.attention.naming import find_model
    from stages.errors import UnknownModelError, WeightsError

    try:
        entry = find_model(machine.model)
    except (UnknownModelError, WeightsError) as error:
        yield problem("weights", str(error), "Give another --model.")
        return
    if machine.weights is not None:
        yield _file(machine.model, machine.weights)
    elif entry.file:
        yield ok("weights", f"{machine.model}: in {entry.file}")
    elif not entry.url:
        yield ok("weights", f"{machine.model}: needs no file")
    else:
        yield _from_hub(entry, offline=machine.offline)


def _from_hub(entry: ModelEntry, *, offline: bool) -> Finding:
    """Return whether published weights were downloaded earlier, or can be."""
    from stages.attention.hub import is_reachable, weights_without_network
    from stages.errors import WeightsError

    try:
        return ok("weights", f"{entry.name}: downloaded to {weights_without_network(entry.name, None)}")
    except WeightsError as error:
        if offline:
            what, _, to_do = str(error).partition("\n")
            return problem("weights", what, to_do.strip())
    if reason := is_reachable(entry):
        found = f"{entry.name}: not on this disk, and the model hub cannot be reached ({reason})"
        return problem("weights", found, f"Download {entry.url} on another machine, and pass it with --weights FILE.")
    found = f"{entry.name}: not on this disk; the model hub answers, so they will be downloaded"
    return warning("weights", found, "Nothing to do, if the machine stays connected.")


def _file(model: str, path: Path) -> Finding:
    """Return whether a weights file is there and can be read."""
    from stages.attention.folder_files import files_of
    from stages.errors import WeightsError

    try:
        size = sum(file.stat().st_size for file in files_of(path).paths)
        with files_of(path).paths[0].open("rb"):
            pass
    except WeightsError as error:
        return problem("weights", str(error), "Give the right file with --weights.")
    except OSError as error:
        return problem("weights", f"{path}: cannot be read ({error.strerror})", "Give the right file with --weights.")
    if size < LEAST_BYTES:
        return problem("weights", f"{path}: has only {size} bytes", "Copy or download the file again.")
    return ok("weights", f"{model}: {path} ({size / 1e6:.0f} MB)")

"""Refuse places where an output would be lost later, or would replace something that is needed.

A command replaces its output as a whole folder. So an output inside another output would be deleted with it, or would
keep that one from being replaced. Every command calls these functions for each of its outputs before any work.

An output lies inside another one if a folder above it

- is a store;
- is a run, a cross-validation, a report or a set of phantoms with nothing else in it. A project that somebody built in
  such a folder has other files there, so the folder is never replaced;
- is a hidden working folder, `.<name>.training` and the like, or has one beside it: that output is in progress.

Links and `..` are resolved first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from stages.errors import UsageError
from stages.outputs.kinds import OUTPUTS, WORK
from stages.outputs.marks import starts_with
from store.disk.contents import Output, foreign_entries, refuse_foreign
from store.disk.publish import refuse_foreign_leftovers
from store.remote.address import Place
from store.root import STORE

__all__ = ["require_outside", "require_own_folder", "resolved_place"]

_HIDDEN = re.compile(rf"\..+\.({'|'.join(WORK)}|partial-.+|partial|lock)", re.DOTALL)
"""Names of working folders, of temporary folders and files, and of locks."""


def require_own_folder(path: Path, ours: Output, *, option: str, others: Mapping[str, Place | None]) -> None:
    """Make sure that an output folder may be made or replaced.

    Args:
        path: Of the folder.
        ours: The kind of output.
        option: The option that names the folder, for messages.
        others: What the command reads, and its other outputs, by option; None for an option that is not used. Addresses
            are no paths of this machine, and are passed over.

    Raises:
        UsageError: it lies inside another output, holds something else than such an output, or is or contains the
            current folder or one of `others`, or one of these is a link that leads to itself.
    """
    require_outside(path, option=option)
    place = resolved_place(path, option)
    with contextlib.suppress(FileNotFoundError):  # somebody may have removed the current folder
        if place in (here := Path.cwd().resolve(), *here.parents):
            raise UsageError(
                f"{option} {path}: is the current folder or contains it, and the whole folder would be replaced.\n"
                "  Choose a folder inside the current one, or change to another folder."
            )
    for name, other in others.items():
        if isinstance(other, Path) and place in (there := resolved_place(other, name), *there.parents):
            raise UsageError(
                f"{option} {path}: {'is also the path of' if place == there else 'contains'} {name} {other}, and the "
                "whole folder would be replaced.\n  Choose another path."
            )
    refuse_foreign(path, ours)
    refuse_foreign_leftovers(place, ours)


def require_outside(path: Path, *, option: str, itself: bool = False) -> None:
    """Make sure that an output does not lie inside another output.

    Args:
        path: Of the output, a file or a folder.
        option: The option that names it, for messages.
        itself: The path is a folder into which files are added, so it must not be another output itself.

    Raises:
        UsageError: it does; the message names the other output.
    """
    place = resolved_place(path, option)
    if _HIDDEN.fullmatch(place.name):
        raise UsageError(
            f"{option} {path}: the name {place.name} is that of a temporary file or folder of this program.\n"
            "  Choose another name."
        )
    below = None if itself else place
    for folder in ([place] if itself else []) + list(place.parents):
        if kind := _kind_of(folder, below):
            raise UsageError(
                f"{option} {path}: {'is' if folder == place else 'lies inside'} {folder}, which is {kind} and is "
                "replaced as a whole folder.\n  Choose a path outside it."
            )
        below = folder


def resolved_place(path: Path, option: str) -> Path:
    """Return the absolute path without links and `..`.

    Raises:
        UsageError: it is a link that leads to itself.
    """
    try:
        return path.resolve()
    except RuntimeError:
        raise UsageError(f"{option} {path}: is a link that leads back to itself.\n  Choose another path.") from None


def _kind_of(folder: Path, below: Path | None) -> str | None:
    """Return in words which output a folder is; None if it is none.

    Args:
        folder: A folder above the new output, or the output itself.
        below: The entry of `folder` in which the new output lies, which may exist. None if it is the folder itself.
    """
    if _HIDDEN.fullmatch(folder.name):
        return "a working folder of this program"
    if _in_progress(folder):
        return "an output that is being written"
    for kind in OUTPUTS:
        if folder.is_dir() and kind.is_marked(folder):
            own = {below.name, f"{below.name}/"} if below else set()
            if kind is STORE or own.issuperset(foreign_entries(folder, kind.contents(folder))):
                return kind.kind
    return None


def _in_progress(folder: Path) -> bool:
    """Return True if a command works on an output at this path, or was interrupted and can be resumed."""
    if not folder.name:  # the root of the file system
        return False
    if any(folder.with_name(f".{folder.name}.{work}").is_dir() for work in WORK):
        return True
    return starts_with(folder.with_name(f".{folder.name}.lock"), "process ")

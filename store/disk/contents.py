"""Describe what this program writes into an output folder, and find everything else in it.

An output is replaced or removed as a whole folder. A file that the user put into it, at any depth, would be lost with
it. So every kind of output describes the names that it writes, folder by folder, and nothing with another name is ever
removed. An entry is foreign if

- its name is not one that the program writes in this folder, also if it is an empty folder;
- it is a folder where a file belongs, or the other way round;
- it is a link to a folder, a FIFO, a device or a socket.

A link with the name of a file is not foreign: DVC puts links into its cache in the place of files, and removing a link
leaves the file behind it. Files that the operating system creates by itself hold no work of the user: `.DS_Store`,
`Thumbs.db`, `desktop.ini`, `._NAME` beside an entry of ours, and the `.nfs…` files of a network disk.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from store.errors import UsageError

__all__ = ["Contents", "Output", "foreign_entries", "is_empty", "name_some", "refuse_foreign", "remove_ours"]

NAMED = 5
"""Number of foreign entries that a message names."""

_SYSTEM = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\.nfs[0-9a-f]{16,32}")
_BESIDE = re.compile(r"\._(?P<name>.+)", re.DOTALL)
_HALF_WRITTEN = re.compile(r"\.(?P<name>.+)\.partial", re.DOTALL)


@dataclass(frozen=True)
class Contents:
    """Describe the entries that the program may have written into a folder.

    A temporary file of an interrupted write, `.NAME.partial`, is accepted wherever the file NAME is.
    """

    files: str = r"(?!)"
    """Regular expression that the names of files match in full; none by default."""
    folders: Mapping[str, Contents] = field(default_factory=dict)
    """Contents of the folders inside, by a regular expression that the folder's name matches in full."""
    accepts: Callable[[str], bool] = lambda _: False
    """Returns True for further names of files, which no expression describes."""

    def has_file(self, name: str) -> bool:
        """Return True if the program, or the operating system by itself, may have written a file of this name."""
        return bool(
            _SYSTEM.fullmatch(name)
            or self._names(name)
            or ((half := _HALF_WRITTEN.fullmatch(name)) and self._names(half["name"]))
            or ((beside := _BESIDE.fullmatch(name)) and (self._names(beside["name"]) or self.folder(beside["name"])))
        )

    def folder(self, name: str) -> Contents | None:
        """Return the contents of a folder inside; None if the program writes no folder of this name."""
        return next((inner for names, inner in self.folders.items() if re.fullmatch(names, name)), None)

    def _names(self, name: str) -> bool:
        return bool(re.fullmatch(self.files, name)) or self.accepts(name)


@dataclass(frozen=True)
class Output:
    """Describe one kind of folder that a command writes, and replaces as a whole."""

    kind: str
    """The kind in words, with an article: "a store"."""
    is_marked: Callable[[Path], bool]
    """Returns True if something in a folder shows that this program wrote it."""
    contents: Callable[[Path], Contents]
    """Returns what an output of this kind at this path may hold, finished or not."""

    def __call__(self, folder: Path) -> bool:
        """Return True if a folder holds an output of this kind and nothing else, so that it may be replaced."""
        return self.is_marked(folder) and next(foreign_entries(folder, self.contents(folder)), None) is None


def foreign_entries(folder: Path, contents: Contents) -> Iterator[str]:
    """Yield what the program did not write: paths relative to `folder`, with `/`, sorted within each folder.

    A foreign folder is yielded as `name/` and not entered. No file is opened.

    Raises:
        OSError: a folder cannot be listed.
    """
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except FileNotFoundError:  # the process that works in it has removed it by now
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            inner = contents.folder(entry.name)
            if inner is None:
                yield f"{entry.name}/"
            else:
                yield from (f"{entry.name}/{name}" for name in foreign_entries(Path(entry.path), inner))
        elif not _is_our_file(entry, contents):
            yield entry.name


def is_empty(folder: Path) -> bool:
    """Return True if a folder holds nothing, or only files that the operating system created by itself."""
    return next(foreign_entries(folder, Contents()), None) is None


def refuse_foreign(path: Path, ours: Output) -> None:
    """Make sure that replacing the output at `path` removes nothing but this program's own output.

    Raises:
        UsageError: it is a file, or a folder with something that is not of this kind of output; the message names it.
        OSError: a folder in it cannot be listed.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file, and a folder is to be written there.\n  Choose another path.")
    if not path.exists() or is_empty(path):
        return
    if not ours.is_marked(path):
        raise UsageError(
            f"{path}: holds something that this command did not write, and would be replaced.\n"
            "  Choose another path, or move it away."
        )
    refuse_entries(path, ours.contents(path))


def refuse_entries(folder: Path, contents: Contents) -> None:
    """Make sure that a folder that is to be removed holds nothing but what the program wrote.

    Raises:
        UsageError: it does; the message names what is foreign.
        OSError: a folder in it cannot be listed.
    """
    foreign = list(foreign_entries(folder, contents))
    if foreign:
        raise UsageError(
            f"{folder}: holds {name_some(foreign)}, which this command did not write and would delete.\n"
            "  Move it to a place outside this folder, or choose another path for the output."
        )


def name_some(names: list[str]) -> str:
    """Return the first names as a phrase, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def remove_ours(folder: Path, contents: Contents, *, itself: bool = True) -> None:
    """Remove what the program wrote in a folder, as far as the system allows. Everything foreign stays.

    Write protection of the folders is taken off first. Links are removed and not followed. A missing folder is no
    error.

    Args:
        folder: A folder of this program.
        contents: What it may hold.
        itself: Remove the folder too, if it is empty then.
    """
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
        with os.scandir(folder) as scanned:
            entries = list(scanned)
        for entry in entries:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    if _is_our_file(entry, contents):
                        Path(entry.path).unlink()
                elif (inner := contents.folder(entry.name)) is not None:
                    remove_ours(Path(entry.path), inner)
        if itself:
            folder.rmdir()


def _is_our_file(entry: os.DirEntry[str], contents: Contents) -> bool:
    """Return True for a file, or a link to one, that has a name of ours. A link to a missing file counts as well."""
    if not contents.has_file(entry.name):
        return False
    if entry.is_symlink():
        return not Path(entry.path).is_dir() and not _SYSTEM.fullmatch(entry.name)
    return entry.is_file(follow_symlinks=False)

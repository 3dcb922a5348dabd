"""List all files in a folder and all folders below it, each with its kind by extension.

A link to a file counts as a file. A link to a folder is followed, but every real folder is entered only once, so a link
to a parent folder does not loop. A hidden folder (`.cache/`) is listed as one entry and not entered. Folders that
cannot be listed and links to missing files are reported as problems. Plain files need no system
call each, so 20,000 files take a fraction of a second. Only files of unknown kind are opened, to recognise DICOM.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.dicom.recognition import ENDING, DicomPath, is_dicom
from stages.imaging.samples import normal_id, printable
from stages.imaging.volumes.readers import VOLUME_EXTENSIONS
from store.disk.regular import disk_fails

__all__ = [
    "EXTENSIONS",
    "Listing",
    "SourceFile",
    "explain_no_picture",
    "is_kind",
    "list_file",
    "list_folder",
    "unreadable_format",
]

EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".webp",
    ".jp2",
    ".j2k",
    ".j2c",
    ".jpx",
    ".jpf",
    ".avif",
    ".heic",
    ".heif",
)
"""Extensions of pictures, in lower case."""
ARRAYS = (".npz",)
"""Extensions of files with an image and its labels as NumPy arrays."""
ANNOTATIONS = (".json", ".geojson", ".xml")
"""Extensions of files that may hold outlines of objects."""
UNREADABLE = {
    "MetaImage or NRRD": (".mha", ".mhd", ".nrrd"),
    "whole-slide": (".vms", ".czi", ".lif", ".nd2"),
    "HDF5": (".h5", ".hdf5"),
    "MATLAB": (".mat",),
    "archive": (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"),
    "video": (".mp4", ".avi", ".mov", ".mkv"),
    "other picture": (".ppm", ".pgm", ".pbm", ".jxl", ".svg", ".psd", ".raw", ".cr2", ".nef", ".dng", ".exr"),
}
"""Formats that may hold images but cannot be read, with their extensions."""

FileKind = Literal["picture", "array", "annotation", "unreadable", "other", "hidden"]

_KIND_OF_ENDING: dict[str, FileKind] = {
    **dict.fromkeys(ANNOTATIONS, "annotation"),
    **dict.fromkeys(ARRAYS, "array"),
    **dict.fromkeys((*EXTENSIONS, *VOLUME_EXTENSIONS), "picture"),
}
KNOWN = {"picture", "array", "annotation"}
"""Kinds of files that are not opened to recognise them."""
_NAME, _IS_LINK = operator.attrgetter("name"), operator.methodcaller("is_symlink")


class SourceFile(NamedTuple):
    """Describe one file found in a folder. A tuple is made in a third of the time of a frozen dataclass."""

    place: str | Path
    """Path of the file: the folder in the user's spelling, and the path below it. It is a text for an ordinary file,
    because making a path takes longer than finding the file, and a path where a text could not name the image."""
    relative: str
    """Path relative to that folder, with `/` between its parts, in Unicode normal form C."""
    kind: FileKind
    """Kind by the extension; the content may differ. A DICOM file without an extension is recognised by its content."""
    inside: str = ""
    """For an image that consists of several files: the path of one of them, relative to the folder."""

    @property
    def path(self) -> Path:
        """The path of the file, made each time that it is asked for."""
        return Path(self.place) if isinstance(self.place, str) else self.place


@dataclass
class Listing:
    """Hold all files of one folder."""

    root: Path
    """The folder in the user's spelling."""
    files: list[SourceFile] = field(default_factory=list)
    """All files below it, sorted by path."""
    problems: list[Problem] = field(default_factory=list)
    """Folders that cannot be listed, and links to missing files."""
    single: bool = False
    """The user gave this one file, not a folder."""
    links: bool = False
    """There is a link in the folder or below it, so files may also be in other folders."""

    @property
    def pictures(self) -> list[SourceFile]:
        """Return the files that are pictures by their extension."""
        return [file for file in self.files if file.kind == "picture"]


def list_folder(folder: Path, *, below: bool = True) -> Listing:
    """List all files in a folder and all folders below it.

    Args:
        folder: The folder to start in; it may be hidden or a link.
        below: False for the files of this folder only.

    Raises:
        UsageError: the folder does not exist, is not a folder, or is in a folder that may not be entered.
        InputProblemsError: the folder itself cannot be listed.
        OSError: the disk fails.
    """
    if not is_kind(folder.is_dir):
        raise UsageError(f"{printable(folder)}: there is no such folder, or it may not be entered. Check the path.")
    listing = Listing(folder)
    listing.links = _walk(folder, "", listing, visited=set(), below=below)
    if not listing.files and listing.problems:
        raise InputProblemsError(listing.problems)
    if listing.links:  # else the files were found in this order
        listing.files.sort(key=lambda file: file.path)
    return listing


def list_file(file: Path) -> Listing:
    """Return a listing of the file's folder that holds only this file. A file named by the user counts as a picture."""
    found = _file(SourceFile(str(file), normal_id(file.name), kind_of(file.name)))
    return Listing(file.parent, [found._replace(kind="picture") if found.kind == "other" else found], single=True)


def kind_of(name: str) -> FileKind:
    """Return the kind of a file by its name."""
    if name.startswith("."):
        return "hidden"
    kind = _KIND_OF_ENDING.get(name[name.rfind(".") :].lower())
    if kind is not None:
        return kind
    if name.lower().endswith(VOLUME_EXTENSIONS):
        return "picture"
    return "other" if unreadable_format(name) is None else "unreadable"


def unreadable_format(name: str) -> str | None:
    """Return the format of a file that may hold an image and is not read; None for all other files."""
    lower = name.lower()
    if lower.endswith(VOLUME_EXTENSIONS):
        return None
    return next((name for name, endings in UNREADABLE.items() if lower.endswith(endings)), None)


def _walk(folder: Path, prefix: str, listing: Listing, visited: set[tuple[int, int]], *, below: bool = True) -> bool:
    """Add the files in the folder, and below it, to the listing; `prefix` is the folder relative to the root.

    Returns:
        True if there is a link, so that the files may not be sorted by their paths.
    """
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return False
        visited.add((status.st_dev, status.st_ino))
        found = _entries(folder, below=below)
    except OSError as error:
        what = f"the folder cannot be listed ({error.strerror}); allow reading it"
        listing.problems.append(Problem(printable(folder), what))
        return False
    links = False
    before = str(folder / "_")[:-1]  # as a path writes it: `a/` for the folder `./a`
    kind: FileKind | None
    for entry in found:
        name = entry.name
        kind = _KIND_OF_ENDING.get(name[name.rfind(".") :])
        if kind is None or name[0] == ".":
            kind = kind_of(name)
        file = SourceFile(before + name, prefix + (name if name.isascii() else normal_id(name)), kind)
        if kind in KNOWN and _is_plain(entry):
            listing.files.append(file)
            continue
        links = links or entry.is_symlink()
        if _add(entry, file, listing):
            links = _walk(file.path, f"{file.relative}/", listing, visited) or links
    return links


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """Return True for a file that is no link; False also if the disk fails, which `_add` reports."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _add(entry: os.DirEntry[str], file: SourceFile, listing: Listing) -> bool:
    """Add one entry of a folder to the files or the problems. Return True if it is a folder to enter."""
    try:
        is_folder = file.kind != "hidden" and is_kind(entry.is_dir)
        is_file = not is_folder and is_kind(entry.is_file)
    except OSError as error:  # it could be a folder with many images
        what = f"cannot be looked at ({error.strerror}); check the disk"
        listing.problems.append(Problem(printable(file.path), what))
        return False
    if is_folder:
        return True
    if file.kind == "hidden":
        listing.files.append(file)
    elif is_file:
        listing.files.append(_file(file))
    elif file.kind in {"other", "unreadable"}:
        listing.files.append(file)
    elif entry.is_symlink() and not is_kind(file.path.exists):
        what = "the link points to no file; restore the file (`dvc pull`?)"
        listing.problems.append(Problem(printable(file.path), what))
    else:  # opening a pipe would block
        listing.problems.append(Problem(printable(file.path), "is not a file but a pipe or a device; remove it"))
    return False


def _entries(folder: Path, *, below: bool) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name; without `below` no folders.

    Raises:
        OSError: it cannot be listed.
    """
    with os.scandir(folder) as entries:
        found = sorted(entries, key=_NAME)
    found.sort(key=_IS_LINK)  # links last: a folder reached in both ways is listed under its real path
    return found if below else [entry for entry in found if not entry.is_dir()]


def _file(file: SourceFile) -> SourceFile:
    """Return the entry of a regular file.

    A DICOM file without its extension gets it in `relative`, so that its id is the whole name: `1.2.840.7` has no
    extension.
    """
    if file.kind == "other" and is_dicom(file.path):
        return SourceFile(DicomPath(file.path), file.relative + ENDING, "picture")
    return file


def is_kind(question: Callable[[], bool]) -> bool:
    """Return the answer of `is_dir` or `is_file`; False if the path, or the target of a link, may not be looked at.

    Raises:
        OSError: the disk fails, so there is no answer.
    """
    try:
        return question()
    except OSError as error:
        if disk_fails(error):
            raise
        return False


def explain_no_picture(listing: Listing) -> str:
    """Return the problem of a folder without pictures, with names of what it holds, and the remedy."""
    names = [file.relative for file in listing.files]
    found = (
        f"it holds {', '.join(map(ascii, names[:3]))}{' …' * (len(names) > len(names[:3]))}" if names else "it is empty"
    )
    formats = list(dict.fromkeys(filter(None, map(unreadable_format, names))))
    remedy = "Give the folder that holds the pictures"
    if formats:
        remedy = f"Convert scans to NIfTI and pictures to PNG: {', '.join(formats)} and other formats are not read"
    elif any(file.kind == "array" for file in listing.files):
        remedy = "NumPy files (.npz) with the arrays `image` and `label` are read with --layout slices"
    return f"no picture in this folder or below it ({' '.join(EXTENSIONS)}); {found}. {remedy}"

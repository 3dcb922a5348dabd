"""List the picture files in a folder and all folders below it.

Pictures are recognised by their extension, in upper or lower case. Hidden files and folders (`.DS_Store`,
`._photo.jpg`, `.cache/`) are skipped. A link to a file is a picture. A link to a folder is followed, but every real
folder is entered only once, so a link to a parent folder does not loop. Folders that cannot be listed and links to
missing files are reported as problems. No file is opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.samples import printable

__all__ = ["EXTENSIONS", "list_pictures"]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
OTHER_PICTURES = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".heic", ".webp", ".gif", ".npy", ".svs")
"""Extensions of pictures in formats that are not read."""
REMEDY = "Give the folder that holds the pictures"


def list_pictures(folder: Path) -> tuple[list[Path], list[Problem]]:
    """List the picture files in a folder and all folders below it.

    Args:
        folder: The folder to start in; it may be hidden or a link.

    Returns:
        The files, sorted by path, and the problems met below `folder`.

    Raises:
        UsageError: the folder does not exist, is not a folder, or is in a folder that may not be entered.
        InputProblemsError: the folder cannot be listed, or there is no picture in it.
    """
    # Not Path.is_dir: it raises if a parent folder may not be entered.
    if not os.path.isdir(folder):  # noqa: PTH112
        raise UsageError(f"{printable(folder)}: there is no such folder, or it may not be entered. Check the path.")
    pictures: list[Path] = []
    problems: list[Problem] = []
    _walk(folder, pictures, problems, visited=set())
    if not pictures:
        raise InputProblemsError(problems or [Problem(printable(folder), _explain_no_picture(folder))])
    return sorted(pictures), problems


def _walk(folder: Path, pictures: list[Path], problems: list[Problem], visited: set[tuple[int, int]]) -> None:
    """Add the pictures in the folder and below it to `pictures`, and the problems to `problems`."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            # Links last: a folder that is reached in both ways is listed under its real path.
            entries = sorted(listing, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        problems.append(Problem(printable(folder), f"the folder cannot be listed ({error.strerror}); allow reading it"))
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if os.path.isdir(path):  # noqa: PTH112 - as above
            _walk(path, pictures, problems, visited)
        elif path.suffix.lower() in EXTENSIONS:
            if os.path.isfile(path):  # noqa: PTH113
                pictures.append(path)
            elif entry.is_symlink():
                problems.append(Problem(printable(path), "the link points to no file; restore the file (`dvc pull`?)"))
            else:  # opening a pipe would block
                problems.append(Problem(printable(path), "is not a file but a pipe or a device; remove it"))


def _explain_no_picture(folder: Path) -> str:
    """Return the problem of a folder without pictures, with names of what it holds, and the remedy."""
    names = sorted(entry.name for entry in folder.iterdir())
    found = f"it holds {', '.join(map(ascii, names[:3]))}" if names else "it is empty"
    other = any(name.lower().endswith(OTHER_PICTURES) for name in names)
    remedy = "Convert them to PNG first: DICOM, NIfTI and other formats are not read" if other else REMEDY
    return f"no picture in this folder or below it ({' '.join(EXTENSIONS)}); {found}. {remedy}"

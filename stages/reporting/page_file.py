"""Write a page as a file that is recognised again, so that only such a file is ever replaced."""

from __future__ import annotations

from pathlib import Path

from stages.errors import UsageError
from stages.outputs.marks import starts_with
from stages.outputs.places import require_outside
from stages.reporting.content import Page
from store.disk.publish import replace_file

__all__ = ["ENDINGS", "is_page", "require_page_place", "write_page"]

DOCTYPE = "<!DOCTYPE html>\n"
MARK = f"{DOCTYPE}<!-- diamant-pipeline report -->\n"
"""Beginning of every page: the mark is a comment behind the document type, which must come first."""
ENDINGS = (".html", ".htm")


def is_page(path: Path) -> bool:
    """Return True if a file is a page that this program wrote. Only its beginning is read.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    return starts_with(path, MARK)


def require_page_place(path: Path, *, option: str) -> None:
    """Make sure that a page may be written to a path.

    Args:
        path: Of the page.
        option: The option that names it, for messages.

    Raises:
        UsageError: its name has another ending, it is a folder, it lies inside another output, or there is a file that
            this program did not write.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder.\n  Give a file, such as {path / 'report.html'}.")
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{option} {path}: a page needs a name that ends in .html, so that browsers open it.")
    require_outside(path, option=option)
    if above := next((folder for folder in path.parents if folder.exists() and not folder.is_dir()), None):
        raise UsageError(f"{option} {path}: {above} is a file, and no folder can be made there. Choose another path.")
    if (path.exists() or path.is_symlink()) and not is_page(path):
        raise UsageError(
            f"{option} {path}: `report` did not write this file, and it would be replaced.\n"
            "  Choose another name, or move the file away."
        )


def write_page(path: Path, page: Page) -> None:
    """Render a page and write it atomically. Folders above it are made.

    Raises:
        PipelineError: the disk is full.
    """
    from stages.reporting.page import render

    html = render(page).lstrip()
    content = MARK + html.removeprefix(DOCTYPE.strip()).lstrip("\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content.encode("utf-8", "backslashreplace"))

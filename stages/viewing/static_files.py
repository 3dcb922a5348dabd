"""List the files of the page: its HTML, script and style. Nothing else on the disk is ever served as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OWN = Path(__file__).with_name("assets")
HTML, SCRIPT, STYLE = (f"text/{kind}; charset=utf-8" for kind in ("html", "javascript", "css"))


@dataclass(frozen=True)
class StaticFile:
    """Hold one address: its content type, and the files whose contents follow each other."""

    kind: str
    files: tuple[Path, ...]

    def content(self) -> bytes:
        """Return the bytes to send."""
        return b"\n".join(file.read_bytes() for file in self.files)


STATIC_FILES = {
    "": StaticFile(HTML, (OWN / "viewer.html",)),
    "viewer.js": StaticFile(SCRIPT, (OWN / "viewer.js",)),
    "viewer.css": StaticFile(STYLE, (OWN / "viewer.css",)),
}
"""Addresses behind the token."""

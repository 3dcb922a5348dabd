"""List the files of the page: its HTML, script and style. Nothing else on the disk is ever served as a file.

The script draws a sample with the same components as the report draws a case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stages.reporting import bundle

OWN = Path(__file__).with_name("assets")
HTML, SCRIPT, STYLE = (f"text/{kind}; charset=utf-8" for kind in ("html", "javascript", "css"))
SCRIPTS = ("api.js", "search.js", "steps.js", "head_bars.js", "viewer.js")
"""The viewer's own scripts, in the order of their use."""
STYLES = (*bundle.CASE_STYLES, "page.css")
"""Style sheets of the report that the viewer uses."""


@dataclass(frozen=True)
class StaticFile:
    """Hold one address: its content type, and the function that returns its text."""

    kind: str
    text: Callable[[], str]

    def content(self) -> bytes:
        """Return the bytes to send."""
        return self.text().encode()


@cache
def _own(name: str) -> str:
    return (OWN / name).read_text(encoding="utf-8")


STATIC_FILES = {
    "": StaticFile(HTML, lambda: _own("viewer.html")),
    "viewer.js": StaticFile(
        SCRIPT, lambda: bundle.script(*bundle.CASE_SCRIPTS, extra=[_own(name) for name in SCRIPTS])
    ),
    "viewer.css": StaticFile(STYLE, lambda: f"{bundle.stylesheet(*STYLES)}\n{_own('viewer.css')}"),
}
"""Addresses behind the token."""

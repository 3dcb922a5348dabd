"""Read the page's script and style sheets, and make the content-security policy that allows only them.

The assets are plain files in `assets/`. Scripts are concatenated inside one function, so that they share their names
with each other and with nobody else. `pipeline view` serves the same files with a script of its own:

    bundle.script(*bundle.CASE_SCRIPTS, extra=[text_of_view_js])
    bundle.stylesheet(*bundle.CASE_STYLES)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CASE_SCRIPTS", "CASE_STYLES", "PAGE_SCRIPTS", "PAGE_STYLES", "asset", "policy", "script", "stylesheet"]

ASSETS = Path(__file__).parent / "assets"

CASE_SCRIPTS = (
    "dom.js",
    "colours.js",
    "theme.js",
    "layers.js",
    "zoom.js",
    "heads.js",
    "case_controls.js",
    "case.js",
)
"""Scripts that draw one case: `createCaseView` in `case.js` is the entry."""
PAGE_SCRIPTS = (*CASE_SCRIPTS, "order.js", "cards.js", "grid.js", "dialog.js", "page.js")
"""Scripts of the report, in order."""
CASE_STYLES = ("base.css", "case.css")
"""Style sheets for one case: colours, type, controls, layers."""
PAGE_STYLES = (*CASE_STYLES, "page.css", "cases.css", "print.css")
"""Style sheets of the report, in order."""


def asset(name: str) -> str:
    """Return the text of one file in `assets/`."""
    return (ASSETS / name).read_text(encoding="utf-8")


def script(*names: str, extra: Sequence[str] = ()) -> str:
    """Return the scripts `names` and the texts `extra` in this order, inside one strict function."""
    body = "\n".join([*(asset(name) for name in names), *extra])
    return f'(() => {{\n"use strict";\n{body}\n}})();\n'


def stylesheet(*names: str) -> str:
    """Return the style sheets `names`, one after another."""
    return "\n".join(asset(name) for name in names)


def policy(style: str, code: str) -> str:
    """Return the content-security policy of a page whose only style sheet is `style` and only script is `code`.

    Nothing is loaded from anywhere: images are data: or blob: URIs. Style attributes and inline handlers are refused.
    """
    return (
        f"default-src 'none'; img-src data: blob:; style-src '{_digest(style)}'; script-src '{_digest(code)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"

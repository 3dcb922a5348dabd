"""Take the screenshots of the documentation with Chromium."""

from __future__ import annotations

from pathlib import Path

from tests.docs.demonstration import Demonstration


def draw_screenshots(made: Demonstration, pictures: Path) -> None:
    """Take the screenshots."""

"""Show text from a file of unknown origin in a message."""

from __future__ import annotations

__all__ = ["quoted"]

_LONGEST = 80


def quoted(text: str) -> str:
    """Return a name or value from a file for a message, shortened if it is long.

    Control characters are written out when the message is printed; see `pipeline.console`.
    """
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

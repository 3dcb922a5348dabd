"""Show text from a file of unknown origin in a message."""

from __future__ import annotations

__all__ = ["quoted"]

_LONGEST = 80


def quoted(text: str, *, longest: int = _LONGEST) -> str:
    """Return a name or value from a file for a message, shortened if it has more characters than `longest`.

    Control characters are written out when the message is printed; see `pipeline.console`.
    """
    return text if len(text) <= longest else f"{text[:longest]}…"

"""Write the licence of the transformer's weights beside predictions, where it has conditions or is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.outputs.marks import starts_with
from stages.runs.licences import is_unknown, licence_of_run, needs_notice

__all__ = ["LICENCE_FILE", "is_our_notice", "notice"]

LICENCE_FILE = "weights-licence.txt"
_FIRST = "These predictions were made with the attention of a transformer whose weights have a licence of their own.\n"
_FIRST_UNKNOWN = (
    "These predictions were made with the attention of a transformer whose weights have no known licence.\n"
)


def notice(recipe: Mapping[str, Any], recorded: str, *, branches: str) -> bytes:
    """Return the content of the file; empty if the licence needs no notice.

    Args:
        recipe: Recipe of the run.
        recorded: What the run records of the licence.
        branches: Branches of its network; one of `image` alone needs no transformer.
    """
    licence = licence_of_run(recipe, recorded, branches=branches)
    if not needs_notice(licence):
        return b""
    digest = str(recipe.get("weights_sha256", "unknown"))
    first = _FIRST_UNKNOWN if is_unknown(licence) else _FIRST
    return f"{first}model: {recipe.get('model')}\nlicence: {licence}\nSHA-256 of the weights: {digest}\n".encode()


def is_our_notice(path: Path) -> bool:
    """Return True if a file is such a notice.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    return any(starts_with(path, first) for first in (_FIRST, _FIRST_UNKNOWN))

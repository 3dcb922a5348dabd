"""Record in a part of a store which version of the program made it, for the messages of `pipeline merge`.

Versions are named, not compared: parts of several versions are joined if they agree in everything that `merge` looks
at. A part that cannot be read, or that differs, often comes from another version. Versions that did not record their
number made parts without this key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stages.runtime.installation import version_of_program

__all__ = ["KEY", "made_by", "unreadable", "versions_of"]

KEY = "program_version"
"""Key of the description of a part."""
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,64}")
ADVICE = "Make all parts of a store with one version: repeat the task of this part with this version"


def made_by(part: Mapping[str, Any]) -> str:
    """Return which version of this program made a part, in words.

    Args:
        part: Its description, from `extract --shard`.
    """
    found = part.get(KEY)
    if isinstance(found, str) and _VERSION.fullmatch(found):
        return f"version {found} of this program"
    return "an older version of this program, which did not record its number,"


def unreadable(part: Mapping[str, Any], why: str) -> str:
    """Return the message about a part whose description cannot be read.

    Args:
        part: Its description.
        why: What is wrong, such as "it lacks `expected`".
    """
    here = version_of_program()
    if part.get(KEY) == here:
        return f"its description of the part is damaged ({why}). Repeat its task"
    return (
        f"{made_by(part)} made it, and this is version {here}, which cannot read its description of the part ({why}). "
        f"{ADVICE}, or run merge with the version that made it"
    )


def versions_of(part: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the end of a message about two parts that differ: which versions made them; "" if one version did."""
    if part.get(KEY) == other.get(KEY):
        return ""
    return f"; {made_by(part)} made it, and {made_by(other)} the other one. {ADVICE} ({version_of_program()})"

"""Tell which settings the environment switches on, such as `PIPELINE_OFFLINE=1`."""

from __future__ import annotations

import os
from collections.abc import Iterable

__all__ = ["OFF", "is_switched_on"]

OFF = frozenset({"", "0", "false", "no", "off"})
"""Values of an environment variable that do not switch a setting on."""


def is_switched_on(names: Iterable[str]) -> bool:
    """Return True if one of the environment variables has a value that is not in `OFF`."""
    return any(os.environ.get(name, "").strip().lower() not in OFF for name in names)

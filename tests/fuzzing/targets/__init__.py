"""List the targets. Each module defines `TARGET`; it is imported only when it is used, because some import torch."""

from __future__ import annotations

from importlib import import_module

from tests.fuzzing.target import Target

__all__ = ["NAMES", "find_target"]

NAMES = ("weights", "runs", "stores", "memo", "params", "tables", "annotations", "arrays")
"""The targets. To add one, write a module with `TARGET` and add its name."""


def find_target(name: str) -> Target:
    """Return the target of a name.

    Raises:
        ModuleNotFoundError: there is no such target.
    """
    target: Target = import_module(f"{__name__}.{name}").TARGET
    return target

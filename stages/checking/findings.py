"""Describe what a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Finding", "State", "ok", "problem", "warning"]

State = Literal["ok", "warning", "problem"]
"""`problem`: work will fail. `warning`: work may be slow, or may fail later. `ok`: nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Hold one result of a check."""

    state: State
    about: str
    """Subject in one or two words, such as `memory`."""
    found: str
    """Result, with figures."""
    to_do: str = ""
    """Advice; "" if there is nothing to do."""

    def to_dict(self) -> dict[str, str]:
        """Return the finding for a program: `state`, `about`, `found`, `to_do`."""
        return asdict(self)


def ok(about: str, found: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(state="ok", about=about, found=found)


def warning(about: str, found: str, to_do: str) -> Finding:
    """Return a finding with which the program works, but slowly or not for long."""
    return Finding(state="warning", about=about, found=found, to_do=to_do)


def problem(about: str, found: str, to_do: str) -> Finding:
    """Return a finding with which the program fails."""
    return Finding(state="problem", about=about, found=found, to_do=to_do)

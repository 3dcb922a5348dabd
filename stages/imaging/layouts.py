"""Layouts in which data sets are distributed."""

from __future__ import annotations

LAYOUTS: dict[str, None] = {"names": None}

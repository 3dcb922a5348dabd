"""Describe one store of the conformance set, and write it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.store.conformance.changes import Change
from tests.store.conformance.draft import Draft

SOURCE = Path(__file__).parents[2] / "golden" / "v2" / "store.zarr"

Verdict = Literal["valid", "values", "not_a_store", "version", "incomplete", "corrupt"]
"""The verdicts of `store/FORMAT.md`."""


@dataclass(frozen=True)
class Case:
    """Describe one store of the set."""

    name: str
    verdict: Verdict
    what: str
    """The change, in words."""
    change: Change
    sealed: bool = False
    """True if all digests are recomputed after the change."""
    codecs: tuple[str, ...] = ()
    """Codecs of Zarr v3 that a reader needs besides `bytes`, `vlen-utf8`, `crc32c` and `blosc` with LZ4."""


def write_case(case: Case, path: Path) -> Path:
    """Write the store of a case at `path`."""
    shutil.copytree(SOURCE, path)
    draft = Draft(path)
    case.change(draft)
    if case.sealed:
        draft.seal()
    return path

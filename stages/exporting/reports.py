"""Report an exported network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.exporting.checking import Check
from stages.exporting.description import describe
from stages.exporting.formats import Exported
from stages.exporting.loading import Loaded
from store.disk.regular import MIB

__all__ = ["exported"]


def exported(loaded: Loaded, out: Path, size: int, check: Check, facts: dict[str, Any]) -> Exported:
    """Return the report of a network that was written.

    Args:
        loaded: the network.
        out: where it was written.
        size: bytes.
        check: its comparison with PyTorch.
        facts: further entries of the report for programs.
    """
    described = describe(loaded)
    lines = [f"{loaded.settings.part}, {size / MIB:.1f} MiB; {check}"]
    for kind in ("inputs", "outputs"):
        for name, one in described[kind].items():
            shape = ", ".join(map(str, one["shape"]))
            lines.append(f"  {kind[:-1]} {name}: {one['type']} ({shape}), {one['meaning']}")
    return Exported(
        out=out,
        format=loaded.settings.format,
        summary="\n".join(lines),
        notes=loaded.notes,
        facts={
            "part": loaded.settings.part,
            "bytes": size,
            **facts,
            "check": {
                "images": check.images,
                "real": check.real,
                "difference": check.difference,
                "undecided_pixels": check.undecided,
            },
            **{key: described[key] for key in ("inputs", "outputs", "classes", "multilabel", "transformer")},
        },
    )

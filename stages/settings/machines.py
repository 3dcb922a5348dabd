"""Settings of the commands about a machine: `doctor` and `bundle`. They are options only, without `params.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["BundleSettings", "DoctorSettings"]


@dataclass(frozen=True, kw_only=True)
class DoctorSettings:
    """Say what the work will use. The rest is taken from the settings of `extract`."""

    runs: Path = Path("runs")
    """Folder for runs and reports."""
    images: Path | None = None
    """Folder of images, for an estimate of the space that the store needs; None for no estimate."""


@dataclass(frozen=True, kw_only=True)
class BundleSettings:
    """Say what a bundle for a machine without a network holds."""

    out: Path
    """Folder to write."""
    models: tuple[str, ...] = ()
    """Transformers whose weights are put in, by the names of `pipeline models`."""
    weights: tuple[Path, ...] = ()
    """Further weights files."""
    extras: tuple[str, ...] = ("dvc",)
    """Extras of the package, such as `dvc` and `dicom`."""
    offline: bool = False
    """True to take weights from earlier downloads only."""

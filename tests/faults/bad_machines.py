"""List the kinds of bad requests to `bundle` and `doctor`: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kinds import Kind


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _page(room: Path) -> None:
    """Write a weights file that is the page of a failed download."""
    (room / "page.pth").write_text("<html>not found</html>")


KINDS = [
    Kind("bundle_extra", "a bundle with an extra that does not exist", _nothing, "bundle --out b --extras toast", 2, ("--extras toast", "Choose from")),
    Kind("bundle_model", "a bundle with a model that does not exist", _nothing, "bundle --out b --model dino_vits9", 2, ("dino_vits9", "Did you mean")),
    Kind("bundle_weights", "a bundle with a weights file that does not exist", _nothing, "bundle --out b --weights absent.pth", 2, ("absent.pth", "no such file")),
    Kind("bundle_over_images", "a bundle at the place of images", _nothing, "bundle --out images", 2, ("images",)),
    Kind("bundle_over_store", "a bundle at the place of a store", _nothing, "bundle --out s.zarr", 2, ("s.zarr",)),
    Kind("bundle_no_weights", "a bundle with weights that are not on this disk, offline", _nothing, "bundle --out b --model dino_vitb8 --offline", 1, ("dino_vitb8", "not on this disk")),
    Kind("doctor_images", "a check for images that do not exist", _nothing, "doctor --images absent", 2, ("absent", "no such folder")),
    Kind("doctor_weights", "a check of a weights file that is a page of a failed download", _page, "doctor --model dino_vits8 --weights page.pth", 1, ("page.pth: has only", "cannot be used yet")),
    Kind("doctor_params", "a check with a params.yaml that is wrong", lambda room: (room / "params.yaml").write_text("extract: {imagez: 3}\n"), "doctor", 2, ("params.yaml", "imagez")),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""

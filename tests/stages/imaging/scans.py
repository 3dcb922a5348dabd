"""Write small NIfTI files for tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform

SPACING = (0.5, 0.75, 3.0)
"""Millimetres between voxels along the three axes of the files."""


def write_scan(
    path: Path, values: np.ndarray, *, codes: str = "RAS", spacing: tuple[float, ...] = SPACING, rotated: float = 0.0
) -> Path:
    """Write an array whose axes point to the right, the front and the head, in a file whose axes point elsewhere.

    Args:
        path: of the file.
        values: (right, front, head[, ...]).
        codes: Directions of the file's axes, such as `LPS`.
        spacing: Millimetres along `values`' axes.
        rotated: Degrees by which the scan is turned in the axial plane.
    """
    turn = np.radians(rotated)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(spacing)
    affine[:3, 3] = (-20, 10, 5)
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    turned = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(turned, path)
    return path


def write_set(folder: Path, scans: int = 3, *, planes: int = 4, codes: str = "LPS") -> Path:
    """Write `images/` and `labels/`: synthetic CT scans of a bright ball in an ellipse, in Hounsfield units.

    The labels have the value 2 for the ball and 0 elsewhere; their axes point to the right, the front and the head.
    """
    for number in range(scans):
        values, ball = synthetic_scan(number, planes)
        write_scan(folder / "images" / f"case_{number}.nii.gz", values, codes=codes)
        write_scan(folder / "labels" / f"case_{number}.nii.gz", ball.astype(np.uint8) * np.uint8(2))
    return folder


def synthetic_scan(number: int, planes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return (right, front, head) int16 Hounsfield units, and bool where the ball is."""
    random = np.random.default_rng(number)
    right, front, head = np.indices((20, 16, planes))
    body = np.hypot((right - 10) / 9, (front - 8) / 7) < 1
    place = random.integers(6, 11, 2)
    ball = np.hypot(np.hypot(right - place[0], front - place[1]), 2.0 * (head - planes / 2)) < 5
    values = np.where(body, 40, -1000) + np.where(ball, 160, 0) + random.normal(0, 10, body.shape)
    return values.astype(np.int16), ball

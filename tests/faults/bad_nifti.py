"""List the kinds of bad and unusual NIfTI files: `KINDS`."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.faults.kinds import Kind, mask
from tests.stages.imaging.scans import synthetic_scan, write_scan

SCAN, LABEL = Path("ct/case_0.nii.gz"), Path("ct_labels/case_0.nii.gz")
EXTRACT = "extract --images ct --masks ct_labels"
GOOD = ("8 samples, 8 with a mask",)


def _room(change: Callable[[Path], object] = lambda _: None) -> Callable[[Path], object]:
    """Return a function that writes two scans and their labels, and then puts the fault in."""

    def make(room: Path) -> None:
        for number in range(2):
            values, ball = synthetic_scan(number)
            write_scan(room / "ct" / f"case_{number}.nii.gz", values, codes="LPS")
            write_scan(room / "ct_labels" / f"case_{number}.nii.gz", ball.astype(np.uint8))
        change(room)

    return make


def _content(which: Path, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Return a function that changes the bytes of a compressed file."""
    return _room(lambda room: (room / which).write_bytes(change((room / which).read_bytes())))


def _header(which: Path, **fields: Any) -> Callable[[Path], object]:
    """Return a function that changes fields of a header."""

    def change(packed: bytes) -> bytes:
        content = gzip.decompress(packed)
        header = nib.Nifti1Header(content[:348], check=False)
        for name, value in fields.items():
            header[name] = value
        return gzip.compress(header.binaryblock + content[348:])

    return _content(which, change)


def _saved(which: Path, values: Callable[[np.ndarray], np.ndarray], **how: Any) -> Callable[[Path], object]:
    """Return a function that writes other values, made from the Hounsfield units or the labels."""

    def change(room: Path) -> None:
        image, ball = synthetic_scan(0)
        write_scan(room / which, values(image if which == SCAN else ball.astype(np.uint8)), **how)

    return _room(change)


def _not_a_number(values: np.ndarray) -> np.ndarray:
    changed = values.astype(np.float32)
    changed[3, 3, 1] = np.nan
    return changed


def _with_picture(room: Path) -> None:
    (room / LABEL).unlink()
    mask(0).save(room / LABEL.parent / "case_0.png")


def _pair(room: Path) -> None:
    _room()(room)
    nib.save(nib.Nifti1Pair(synthetic_scan(0)[0], np.eye(4)), room / "ct" / "case_0.img")


NAME, LABEL_NAME = str(SCAN), str(LABEL)

# fmt: off
KINDS: list[Kind] = [
    Kind("nifti_other_axes", "labels whose axes are in another order than those of the scans", _saved(LABEL, lambda values: values, codes="SAR"), EXTRACT, 0, GOOD),
    Kind("nifti_cut_off", "a compressed NIfTI file cut in half", _content(SCAN, lambda packed: packed[: len(packed) // 2]), EXTRACT, 1, (NAME, "cut off")),
    Kind("nifti_label_cut_off", "a compressed NIfTI file of labels cut in half", _content(LABEL, lambda packed: packed[: len(packed) // 2]), EXTRACT, 1, (LABEL_NAME, "cut off")),
    Kind("nifti_empty", "a NIfTI file of 0 bytes", _content(SCAN, lambda _: b""), EXTRACT, 1, (NAME, "empty")),
    Kind("nifti_not_packed", "a NIfTI file that is not compressed and named .nii.gz", _content(SCAN, gzip.decompress), EXTRACT, 1, (NAME, "not compressed with gzip")),
    Kind("nifti_text", "a text named .nii.gz", _content(SCAN, lambda _: gzip.compress(b"id,image\n" * 99)), EXTRACT, 1, (NAME, "no NIfTI file")),
    Kind("nifti_pair_header", "the header of a pair (.hdr, .img) named .nii.gz", _header(SCAN, magic=b"ni1"), EXTRACT, 1, (NAME, "in one part")),
    Kind("nifti_pair", "a pair of .hdr and .img beside scans", _pair, EXTRACT, 0, GOOD),
    Kind("nifti_no_planes", "a NIfTI header with a side of 0", _header(SCAN, dim=[3, 20, 16, 0, 1, 1, 1, 1]), EXTRACT, 1, (NAME, "20 x 16 x 0", "no scan")),
    Kind("nifti_smaller", "a NIfTI header with fewer planes than the file holds", _header(SCAN, dim=[3, 20, 16, 3, 1, 1, 1, 1]), EXTRACT, 1, ("planes",)),
    Kind("nifti_larger", "a NIfTI header that promises more than the file holds", _header(SCAN, dim=[3, 20, 16, 4, 1, 1, 1, 1], datatype=16), EXTRACT, 1, (NAME, "promises 5,120 bytes")),
    Kind("nifti_bomb", "a NIfTI file of a few kilobytes that promises 43 GB", _header(SCAN, dim=[3, 30000, 30000, 24, 1, 1, 1, 1]), EXTRACT, 1, (NAME, "would unpack to", "uncompressed")),
    Kind("nifti_times", "a NIfTI file with two times", _saved(SCAN, lambda values: np.stack([values, values], -1)), EXTRACT, 1, (NAME, "holds 2 volumes", "a file of its own")),
    Kind("nifti_one_time", "a NIfTI file with a fourth axis of length 1", _saved(SCAN, lambda values: values[..., None]), EXTRACT, 0, GOOD),
    Kind("nifti_nan", "a NIfTI file with a NaN", _saved(SCAN, _not_a_number), EXTRACT, 1, (NAME, "plane 1", "NaN")),
    Kind("nifti_complex", "a NIfTI file of complex numbers", _saved(SCAN, lambda values: values.astype(np.complex64)), EXTRACT, 1, (NAME, "complex64")),
    Kind("nifti_shear", "an affine with shear", _header(SCAN, srow_x=[-0.5, 0.2, 0, 0]), EXTRACT, 1, (NAME, "shear", "resample")),
    Kind("nifti_no_size", "an affine of zeros", _header(SCAN, srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4), EXTRACT, 1, (NAME, "no size")),
    Kind("nifti_nan_affine", "an affine with a NaN", _header(SCAN, srow_x=[np.nan, 0, 0, 0]), EXTRACT, 1, (NAME, "not finite")),
    Kind("nifti_elsewhere", "labels with another affine than the scan", _header(LABEL, srow_x=[0.5, 0, 0, 100]), EXTRACT, 1, (LABEL_NAME, "voxels away from its image", "affine of the image")),
    Kind("nifti_label_planes", "labels with a plane less than the scan", _saved(LABEL, lambda values: values[..., 1:]), EXTRACT, 1, (LABEL_NAME, "has 3 planes and its image case_0.nii.gz 4")),
    Kind("nifti_label_fractions", "labels that are fractions", _saved(LABEL, lambda values: values * np.float32(0.5)), EXTRACT, 1, (LABEL_NAME, "fractions")),
    Kind("nifti_label_negative", "labels below 0", _saved(LABEL, lambda values: -values.astype(np.int16)), EXTRACT, 1, (LABEL_NAME, "negative")),
    Kind("nifti_label_nan", "labels with a NaN", _saved(LABEL, _not_a_number), EXTRACT, 1, (LABEL_NAME, "whole numbers")),
    Kind("nifti_label_picture", "one picture as the mask of a whole scan", _room(_with_picture), EXTRACT, 1, ("case_0.png", "has 1 planes", "with all planes")),
    Kind("nifti_axis", "an axis that does not exist", _room(), f"{EXTRACT} --axis oblique", 2, ("--axis", "sagittal")),
]

"""Digests of a sample's source files: they tell whether a file has changed since it was extracted."""

from __future__ import annotations

import hashlib

from stages.imaging.samples import LabelFile, SourceSample
from stages.imaging.volumes.opened import file_digest, hash_file

__all__ = ["mask_digest"]


def mask_digest(source: SourceSample) -> str:
    """Return the digest of the files with a sample's labels, as store/FORMAT.md defines it; "" without labels.

    Raises:
        InputProblemsError: a file cannot be read.
    """
    if not source.masks:
        return ""
    lines = sorted(f"{_digest(mask)} {mask.label} {mask.entry}\n" for mask in source.masks)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(mask: LabelFile) -> str:
    """Return the digest of a label file. A file that annotates all images is read once, and not for each of them."""
    return file_digest(mask.path) if mask.entry else hash_file(mask.path)

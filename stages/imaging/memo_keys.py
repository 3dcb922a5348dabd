"""Name the attention of an image in the memo: by the image's digest, and by the rule that converted its values."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from stages.imaging.arrays import array_header, is_array_file, is_deep_array
from stages.imaging.deep_colour import byte_modes
from stages.imaging.deep_values import is_deep
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.opening import open_header

__all__ = ["memo_key"]


def memo_key(path: Path, data: bytes, digest: str, rule: IntensityRule = MINMAX) -> str:
    """Return the memo's key for the attention of a picture or an array.

    It is the image's digest, with two exceptions. An image of more than 8 bits that is not scaled from its lowest to
    its highest value has a key for every rule. And the maps of a picture of 16-bit colour were computed from its high
    bytes up to version 0.2.0. They have another key now, so that old maps are not used for the new pixels.

    Args:
        path: Names the file in messages; a picture is not read from it.
        data: The file's bytes.
        digest: Their SHA-256.
        rule: How values of more than 8 bits are shown.

    Raises:
        InputProblemsError: the file is no picture and no array.
    """
    if is_array_file(path):
        return digest if rule == MINMAX or not is_deep_array(array_header(path)[1]) else rule.key_of_maps(digest)
    image = open_header(path, io.BytesIO(data))
    if rule != MINMAX and is_deep(image):
        return rule.key_of_maps(digest)
    return digest if byte_modes(image) is None else hashlib.sha256(f"{digest} 16-bit colour".encode()).hexdigest()

"""Read slices from array files: `.npz` with the arrays `image` and `label`, as TransUNet distributes Synapse.

Nothing in an array file is executed: arrays of objects are refused.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.imaging.opening import read_file, refuse
from stages.settings import Size

__all__ = ["IMAGE", "LABEL", "array_size", "is_array_file", "read_array", "read_image_array", "read_label_array"]

IMAGE, LABEL = "image", "label"
MOST_BYTES = 2**30
"""Largest array in an array file; a small file can unpack to much more."""


def is_array_file(path: Path) -> bool:
    """Return True if the name says that the file holds arrays."""
    return path.suffix.lower() == ".npz"


def array_size(path: Path) -> Size:
    """Return the (height, width) of the image from the header of an array file, without reading the values.

    Raises:
        InputProblemsError: the file cannot be read, or has no such array of two dimensions.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{IMAGE}.npy") as entry:
            version = np.lib.format.read_magic(entry)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, _ = read(entry)
    except KeyError:
        refuse(path, f"has no array `{IMAGE}`; a slice has the arrays `{IMAGE}` and `{LABEL}`")
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system
            refuse(path, f"cannot be read ({error.strerror}); restore the file or allow reading it")
        refuse(path, f"is damaged or holds no plain arrays ({error}); restore it from its source")
    if len(shape) != 2 or not all(shape):  # noqa: PLR2004 - rows and columns
        refuse(path, f"its array `{IMAGE}` has the shape {shape}; one slice is needed")
    return int(shape[0]), int(shape[1])


def read_image_array(path: Path) -> tuple[NDArray[Any], str]:
    """Return the image of a slice, (height, width), and the SHA-256 of the file.

    Raises:
        InputProblemsError: the file cannot be read, or has no such array of two dimensions.
    """
    data = read_file(path)
    return read_array(path, data, IMAGE), hashlib.sha256(data).hexdigest()


def read_label_array(path: Path, expected_size: Size) -> NDArray[np.int64]:
    """Return the label of a slice, (height, width) of whole numbers.

    Raises:
        InputProblemsError: the file cannot be read, its label has another size, or holds fractions.
    """
    values = read_array(path, read_file(path), LABEL)
    if values.shape != tuple(expected_size):
        refuse(path, f"the label is {values.shape} and its image {tuple(expected_size)}; both must be of one size")
    whole = np.rint(values.astype(np.float64))
    if (whole != values).any() or whole.min(initial=0) < 0:
        refuse(path, "the label holds fractions or negative values; labels are whole numbers from 0")
    return whole.astype(np.int64)


def read_array(path: Path, data: bytes, name: str) -> NDArray[Any]:
    """Return one array of two dimensions from the bytes of an array file.

    Raises:
        InputProblemsError: there is no such array, it is too large, or the file is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo(f"{name}.npy")
            if entry.file_size > MOST_BYTES:
                refuse(path, f"its array `{name}` has {entry.file_size:,} bytes, more than {MOST_BYTES:,}; cut it")
            values = np.lib.format.read_array(io.BytesIO(archive.read(entry)), allow_pickle=False)
    except KeyError:
        refuse(path, f"has no array `{name}`; a slice has the arrays `{IMAGE}` and `{LABEL}`")
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        refuse(path, f"is damaged or holds no plain arrays ({error}); restore it from its source")
    if values.ndim != 2 or values.dtype.kind not in "buif" or not values.size:  # noqa: PLR2004 - rows and columns
        refuse(
            path, f"its array `{name}` has the shape {values.shape} and the type {values.dtype}; one slice is needed"
        )
    return np.asarray(values)

"""Read slices from array files: `.npz` with the arrays `image` and `label`, as TransUNet distributes Synapse.

An array that is the only one of its file may have any name. Stacks of slices are read as volumes, see
`stages.imaging.volumes.archive_files`.

Nothing in an array file is executed: arrays of objects are refused.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputProblemsError
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import read_file, refuse
from stages.settings import Size
from store.disk.regular import open_regular

__all__ = [
    "IMAGE",
    "LABEL",
    "array_header",
    "array_size",
    "is_array_file",
    "is_deep_array",
    "read_array",
    "read_image_array",
    "read_label_array",
    "read_stack",
    "stack_header",
    "whole_values",
]

IMAGE, LABEL = "image", "label"
MOST_BYTES = 2**30
"""Largest array in an array file, when unpacked."""
SLICES, STACKS = (2,), (2, 3, 4)
"""Numbers of dimensions of a slice, and of a slice or a stack."""


def is_array_file(path: Path) -> bool:
    """Return True if the name says that the file holds arrays."""
    return path.suffix.lower() == ".npz"


def array_size(path: Path, name: str = IMAGE) -> Size:
    """Return the (height, width) of an array from the headers of an array file, without reading the values.

    Raises:
        InputProblemsError: the file cannot be read, or has no such array of two dimensions, or it is too large.
    """
    return array_header(path, name)[0]


def array_header(path: Path, name: str = IMAGE) -> tuple[Size, np.dtype[Any]]:
    """Return the (height, width) and the type of an array from the headers of an array file.

    Raises:
        InputProblemsError: as in `array_size`.
    """
    try:
        with open_regular(path) as file, _opened(path, file, name) as entry:
            return entry.size, entry.dtype
    except OSError as error:
        refuse(path, explain_unreadable(error))


def is_deep_array(dtype: np.dtype[Any]) -> bool:
    """Return True for values that a rule of intensities converts: all but 8-bit ones without a sign, and booleans.

    Those are scaled from their lowest to their highest value.
    """
    return dtype.kind != "b" and dtype != np.uint8


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
    return whole_values(path, read_array(path, read_file(path), LABEL), expected_size)


def whole_values(path: Path, values: NDArray[Any], expected_size: Size) -> NDArray[np.int64]:
    """Return labels as whole numbers.

    Args:
        path: Names the file in messages.
        values: (height, width).
        expected_size: (height, width) of the image.

    Raises:
        InputProblemsError: the labels have another size, or hold fractions or negative values.
    """
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
    with _opened(path, io.BytesIO(data), name) as entry:
        values = np.frombuffer(entry.stream.read(), entry.dtype)
    rows, columns = entry.size
    return values.reshape(columns, rows).T if entry.by_columns else values.reshape(rows, columns)


def stack_header(path: Path, name: str = IMAGE) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the type of an array of two to four dimensions, without reading the values.

    Raises:
        InputProblemsError: the file cannot be read, or has no such array, or it is too large.
    """
    try:
        with open_regular(path) as file, _opened(path, file, name, STACKS) as entry:
            return entry.shape, entry.dtype
    except OSError as error:
        refuse(path, explain_unreadable(error))


def read_stack(path: Path, name: str) -> NDArray[Any]:
    """Return an array of two to four dimensions.

    Raises:
        InputProblemsError: as in `read_array`.
    """
    with _opened(path, io.BytesIO(read_file(path)), name, STACKS) as entry:
        values = np.frombuffer(entry.stream.read(), entry.dtype)
    return values.reshape(entry.shape[::-1]).T if entry.by_columns else values.reshape(entry.shape)


@dataclass(frozen=True)
class _Entry:
    """Hold an array of an array file whose header was read and is sound."""

    stream: IO[bytes]
    """At the first value; it unpacks to exactly the bytes of the values."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @property
    def size(self) -> Size:
        """(height, width) of a slice."""
        return self.shape[0], self.shape[1]


@contextmanager
def _opened(path: Path, file: IO[bytes], name: str, dimensions: Container[int] = SLICES) -> Iterator[_Entry]:
    """Open one array of an array file. Its values are unpacked only if all sizes agree and are within the limits.

    A small file can promise, and unpack to, any size. Three sizes are known before: that in the archive's directory,
    that in the array's header, and the limit. The archive never unpacks more than its directory says.

    Raises:
        InputProblemsError: as in `read_array`; also for errors in the block.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            info = _find(archive, name)
            if info.file_size > MOST_BYTES:
                refuse(path, f"its array `{name}` has {info.file_size:,} bytes, more than {MOST_BYTES:,}; cut it")
            with archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                one = version == (1, 0)
                read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
                shape, by_columns, dtype = read(stream)
                if dtype.hasobject:
                    raise ValueError(f"`{name}` holds objects")  # noqa: TRY301 - as a damaged header
                if len(shape) not in dimensions or dtype.kind not in "buif" or not all(side > 0 for side in shape):
                    what = f"its array `{name}` has the shape {shape} and the type {dtype}; one slice is needed"
                    refuse(path, what)
                promised, held = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
                if promised != held:
                    refuse(path, f"is damaged (`{name}` has {held:,} bytes, not {promised:,}); restore it")
                yield _Entry(stream, tuple(map(int, shape)), dtype, by_columns)
    except InputProblemsError:
        raise
    except KeyError:
        refuse(path, f"has no array `{name}`; a slice has the arrays `{IMAGE}` and `{LABEL}`")
    except Exception as error:  # noqa: BLE001 - zipfile and zlib raise nearly any class on damaged bytes
        reason = str(error) or type(error).__name__
        refuse(path, f"is damaged or holds no plain arrays ({reason}); restore it from its source")


def _find(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return the array of a name; without it the only array of the file, unless its name says that it is the other.

    Raises:
        KeyError: there is no such array.
    """
    entries = archive.infolist()
    other = LABEL if name == IMAGE else IMAGE
    if len(entries) == 1 and entries[0].filename.endswith(".npy") and entries[0].filename != f"{other}.npy":
        return entries[0]
    return archive.getinfo(f"{name}.npy")

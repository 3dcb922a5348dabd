"""Read the header of a NIfTI file (`.nii`, `.nii.gz`), versions 1 and 2, and check that it can be true.

Only the first 540 bytes are read and unpacked, so a damaged or hostile header costs nothing. nibabel explains the
fields. Units of metres and micrometres become millimetres; a unit that is not given counts as millimetres, as in all
common programs.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.volumes.geometry import Geometry
from store.disk.regular import open_regular

__all__ = ["COLOURS", "NiftiHeader", "is_compressed", "raw_header", "read_header", "unpacked"]

SIZES = {348: 1, 540: 2}
"""Bytes of a header by the version."""
MAGIC = (b"n+1", b"n+2")
"""Beginning of the mark in files that hold header and values."""
MOST_BYTES = 2**32
"""Largest array in a compressed file, when unpacked."""
MOST_BEFORE = 2**24
"""Most bytes before the values of a compressed file."""
TO_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres in the units of length: not given, metre, millimetre, micrometre."""
COLOURS = ("R", "G", "B")
SPACES = 3
"""Dimensions in space."""


@dataclass(frozen=True, kw_only=True)
class NiftiHeader:
    """Hold what a sound header says."""

    geometry: Geometry
    """Shape of the array, with 1 for a missing third axis, and its place in the patient."""
    dtype: np.dtype[Any]
    """Type of the stored values; for colours three fields of 8 bits."""
    slope: float
    """Value = stored value × slope + intercept."""
    intercept: float
    start: int
    """Position of the first stored value, in bytes."""
    placed: bool
    """The file says where its voxels lie, or in which unit their size is."""

    @property
    def scaled(self) -> bool:
        """Return True if stored values are not the values themselves."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def size(self) -> int:
        """Return the bytes of all stored values."""
        return self.dtype.itemsize * int(np.prod([int(side) for side in self.geometry.shape], dtype=object))


def is_compressed(path: Path) -> bool:
    """Return True if the name says that the file is compressed with gzip."""
    return path.name.lower().endswith(".gz")


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, through gzip if it is compressed.

    Raises:
        InputProblemsError: it cannot be read, or what is read in the block is cut off or damaged.
    """
    try:
        with open_regular(path) as file:
            if is_compressed(path):
                with gzip.GzipFile(fileobj=file) as stream:
                    yield io.BufferedReader(stream)
            else:
                yield file
    except gzip.BadGzipFile as error:
        refuse(path, f"is damaged or not compressed with gzip ({error}); restore it from its source")
    except (EOFError, zlib.error) as error:
        refuse(path, f"is cut off or damaged ({error}); restore it from its source")
    except OSError as error:
        refuse(path, explain_unreadable(error))


def read_header(path: Path) -> NiftiHeader:
    """Read and check the header of a file.

    Raises:
        InputProblemsError: the file cannot be read, is no NIfTI file, is damaged, or holds no single scan of numbers.
    """
    from nibabel.spatialimages import HeaderDataError

    header = raw_header(path)
    try:
        shape = tuple(int(side) for side in header.get_data_shape())
        geometry = Geometry(_space(path, shape), _affine(header, shape))
        slope, intercept = header.get_slope_inter()
        dtype = header.get_data_dtype()
        start = int(header.get_data_offset())
    except KeyError as error:
        refuse(
            path, f"has a header that cannot be true (there is no type of values {error}); restore it from its source"
        )
    except (HeaderDataError, ValueError, OverflowError) as error:
        refuse(path, f"has a header that cannot be true ({_one_line(error)}); restore it from its source")
    if (fault := geometry.fault()) is not None:
        refuse(path, fault)
    coloured = dtype.names == COLOURS
    if not coloured and dtype.kind not in "iuf":
        refuse(path, f"holds values of the type {_type_name(dtype)}; save whole numbers, fractions or RGB")
    found = NiftiHeader(
        geometry=geometry,
        dtype=dtype,
        slope=1.0 if slope is None or coloured else float(slope),
        intercept=0.0 if intercept is None or coloured else float(intercept),
        start=start,
        placed=bool(int(header["sform_code"]) or int(header["qform_code"]) or _unit(header)),
    )
    _require_size(path, found)
    return found


def raw_header(path: Path) -> Any:
    """Return nibabel's header, which has no types, of the version that the file has. Its fields are not checked.

    Raises:
        InputProblemsError: the file cannot be read, is no NIfTI file, or is shorter than its header.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    with unpacked(path) as file:
        block = file.read(max(SIZES))
    if not block:
        refuse(path, "is empty (0 bytes); restore it from its source")
    lengths = {letter: struct.unpack(f"{letter}i", block[:4].ljust(4, b"\0"))[0] for letter in "<>"}
    order = next((letter for letter, length in lengths.items() if length in SIZES), None)
    if order is None:
        refuse(path, "is damaged or no NIfTI file, whatever its name says; restore it from its source")
    length = lengths[order]
    if len(block) < length:
        refuse(path, f"is cut off: its header has {len(block)} of {length} bytes; restore it from its source")
    kind: Any = Nifti1Header if SIZES[length] == 1 else Nifti2Header
    header = kind(binaryblock=block[:length], endianness=order, check=False)
    if bytes(header["magic"].item())[:3] not in MAGIC:
        refuse(path, "is no NIfTI file in one part (.nii); convert it, with nibabel or dcm2niix for example")
    return header


def _space(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the sides of the scan: two or three, and all further ones are 1.

    Raises:
        InputProblemsError: it has another number of dimensions.
    """
    shown = " x ".join(map(str, shape))
    if any(side < 1 for side in shape) or len(shape) < SPACES - 1:
        refuse(path, f"has the dimensions {shown or 'none'}, which is no scan; restore it from its source")
    if any(side > 1 for side in shape[SPACES:]):
        times = int(np.prod(shape[SPACES:], dtype=object))
        refuse(path, f"holds {times} volumes ({shown}), as of several times; save each as a file of its own")
    rows, columns, planes = (*shape, 1)[:SPACES]
    return rows, columns, planes


def _affine(header: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return the affine in millimetres. A missing third axis stands at right angles to the other two."""
    affine = np.array(header.get_best_affine(), np.float64)
    affine[:3] *= TO_MM.get(_unit(header), 1.0)
    if (*shape, 1)[SPACES - 1] == 1 and not affine[:3, 2].any():
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    return affine


def _unit(header: Any) -> int:
    """Return the code of the unit of length; 0 if none is given."""
    return int(header["xyzt_units"]) & 0b111


def _require_size(path: Path, header: NiftiHeader) -> None:
    """Make sure that the file can hold the values that its header promises.

    Raises:
        InputProblemsError: it cannot, or the values of a compressed file would fill the memory.
    """
    end = header.start + header.size
    if header.start < min(SIZES):
        refuse(path, f"is damaged: its values would begin in its header, at byte {header.start}; restore it")
    if not is_compressed(path):
        size = path.stat().st_size
        if size != end:
            refuse(path, f"is damaged ({size:,} bytes and not {end:,}); restore it from its source")
    elif header.size > MOST_BYTES or header.start > MOST_BEFORE:
        what = (
            f"would unpack to {end:,} bytes, and at most {MOST_BYTES:,} are read, because small files can fill memory"
        )
        refuse(path, f"{what}; save it uncompressed (.nii)")


def _type_name(dtype: np.dtype[Any]) -> str:
    return "RGBA" if dtype.names else str(dtype)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Check the metadata of a store's arrays against its description and against the format.

An array that every store has must be exactly as the format says, and so must an optional part with a fixed meaning, if
its encoding is known. Any other array must have the common layout, so that its checksums can be checked. The meaning of
its values is not checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from store.column_chunks import is_decodable
from store.description import Description
from store.disk.regular import MIB
from store.errors import StoreCorruptError, StoreVersionError
from store.files import Place, StoreFiles
from store.format import (
    COLUMNS,
    DIMENSIONS,
    LABEL_BITS,
    MOST_CHUNK_BYTES,
    MOST_LABELS,
    OPTIONAL_COLUMNS,
    OPTIONAL_DIMENSIONS,
    OPTIONAL_SHARDED,
    RESTORE,
    SHARDED,
    metadata_sha256,
    read_file,
)
from store.metadata import (
    CHUNK_KEYS,
    INDEX_CODECS,
    TYPES,
    ArrayMetadata,
    as_attribute,
    dimensions_of,
    encoding_of,
    extents,
)
from store.packing import CHAINS, Packing

Arrays = Mapping[str, ArrayMetadata]

MOST_BYTES = MIB
"""Largest size of an array's `zarr.json`. They have about 2 kB."""

LEAST_FACTOR = 2.0**-53
"""Smallest `scale_factor`: one over the largest number of keys that a 64-bit float counts exactly."""

LONGEST = 80
"""Characters of an unknown encoding that a message shows."""

DATA_TYPES = {
    name: TYPES.get(dtype, dtype)
    for name, dtype in {
        **SHARDED,
        **COLUMNS,
        **OPTIONAL_SHARDED,
        **OPTIONAL_COLUMNS,
        "checksum": "uint32",
        "head": "str",
    }.items()
}
"""Zarr's name of the type of every array with a fixed meaning."""

OTHER_DATA_TYPES = {"instances": "uint32"}
"""A second type that an array may have."""


def read_arrays(files: StoreFiles, description: Description) -> dict[str, ArrayMetadata]:
    """Read and check the metadata of all arrays that the description lists.

    Raises:
        StoreIncompleteError: an array's metadata is missing.
        StoreVersionError: an array that every store has is in an encoding that this program does not know.
        StoreCorruptError: the metadata is not what was written, or contradicts the description.
    """
    root, documents = files.place, {name: files.folder / name / "zarr.json" for name in description.arrays}
    files.fetch(*documents.values())
    contents = {name: read_file(files, file, limit=MOST_BYTES) for name, file in documents.items()}
    if metadata_sha256(contents) != description.metadata_sha256:
        raise StoreCorruptError(f"{root}: an array's metadata was changed after the store was written.\n  {RESTORE}")
    arrays = {name: _parsed(root, name, content) for name, content in contents.items()}
    if description.version > 1:
        _require_known_encodings(root, arrays, description)
    for name, array in arrays.items():
        try:
            _require_common_layout(name, array, description)
        except ValueError as error:
            raise _contradiction(root, name, str(error)) from None
    for name, array in arrays.items():
        if name in DIMENSIONS or has_known_encoding(name, array):
            _require_layout(root, name, array, description)
    _require_agreement(root, arrays, description)
    _require_sizes(root, arrays)
    for name in OPTIONAL_DIMENSIONS:
        if name in description.required and not is_known_part(name, arrays[name]):
            raise StoreVersionError(
                f"{root}: `{name}` is stored in a way that this program does not know.\n  Update this program."
            )
    return arrays


def has_known_encoding(name: str, array: ArrayMetadata) -> bool:
    """Return True if an array is an optional part with a fixed meaning, in the encoding that this program knows."""
    return name in OPTIONAL_DIMENSIONS and array.encoding == encoding_of(name)


def is_known_part(name: str, array: ArrayMetadata) -> bool:
    """Return True if an array is an optional part whose values this program can read and knows the meaning of."""
    return has_known_encoding(name, array) and (name not in OPTIONAL_SHARDED or packing_of(array) is not None)


def is_multilabel(arrays: Arrays) -> bool:
    """Return True if the mask holds one bit for each label, and labels may overlap."""
    return arrays["mask"].encoding == as_attribute(LABEL_BITS)


def packing_of(metadata: ArrayMetadata) -> Packing | None:
    """Return the packing of a sharded array's chunks; None for codecs that this program does not know."""
    inner = metadata.sharding["codecs"]
    if not metadata.is_little_endian(inner[0]):
        return None
    return CHAINS.get(tuple(codec["name"] for codec in inner))


def _parsed(root: Place, name: str, content: bytes) -> ArrayMetadata:
    try:
        return ArrayMetadata.from_bytes(content)
    except ValueError as error:
        raise _contradiction(root, name, f"has no sound zarr.json ({str(error).partition(':')[0]})") from None


def _require_known_encodings(root: Place, arrays: Arrays, description: Description) -> None:
    """Make sure that this program knows the encodings of the arrays that every store has, and of the required ones."""
    for name in [*DIMENSIONS, *(name for name in OPTIONAL_DIMENSIONS if name in description.required)]:
        if name not in arrays:
            raise _contradiction(root, name, "is required, but the store does not have it")
        if arrays[name].encoding != encoding_of(name) and not (name == "mask" and is_multilabel(arrays)):
            found = json.dumps(arrays[name].encoding)[:LONGEST]
            raise StoreVersionError(
                f"{root}: `{name}` has an encoding that this program does not know ({found}).\n  Update this program."
            )


def _require_common_layout(name: str, array: ArrayMetadata, description: Description) -> None:
    """Make sure that an array has the layout that is common to all listed arrays.

    Raises:
        ValueError: it has another layout; the message says what differs.
    """
    if not len(array.shape) == len(array.chunk_shape) == len(array.dimension_names) > 0:
        raise ValueError("has a shape, chunks and dimension names that differ in number")
    if array.chunk_key_encoding != CHUNK_KEYS:
        raise ValueError("has other names for its chunks than `c.0`")
    if array.dimension_names[0] == "sample" and array.shape[0] != description.samples:
        raise ValueError(f"holds {array.shape[0]} samples, the description says {description.samples}")
    if name in description.sharded:
        _require_shards(array, description)
        return
    if array.chunk_shape[0] < 1 or array.chunk_shape[1:] != array.shape[1:]:
        raise ValueError(f"is cut into chunks of {array.chunk_shape}")
    chunks = -(-array.shape[0] // array.chunk_shape[0])
    if chunks != len(description.columns_sha256[name]):
        raise ValueError(f"has {chunks} chunks, the description says {len(description.columns_sha256[name])}")


def _require_shards(array: ArrayMetadata, description: Description) -> None:
    """Make sure that an array has one checksummed chunk per sample, in shards of the common number of samples."""
    location = "start" if description.version == 1 else "end"
    try:
        sharding = array.sharding
        inner = [codec["name"] for codec in sharding["codecs"]]
        index = [codec["name"] for codec in sharding["index_codecs"]]
        endian = sharding["index_codecs"][0]["configuration"]["endian"]
        chunk = extents(sharding["chunk_shape"])
        found = sharding.get("index_location", "end")
        ",".join(inner)  # raises a TypeError if a name is not a text
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise ValueError("is not sharded as the format says") from None
    if array.dimension_names[0] != "sample" or chunk != (1, *array.shape[1:]):
        raise ValueError(f"has chunks of {chunk} in place of one per sample")
    if array.chunk_shape != (description.samples_per_shard, *array.shape[1:]):
        raise ValueError(f"has shards of {array.chunk_shape[0]} samples, the description says otherwise")
    if (index, endian, found) != (INDEX_CODECS, "little", location) or inner[-1:] != ["crc32c"]:
        raise ValueError(f"is sharded in another way than version {description.version} says (codecs {inner})")


def _require_layout(root: Place, name: str, array: ArrayMetadata, description: Description) -> None:
    """Make sure that an array with a fixed meaning is as the format says."""
    if (name in description.sharded) != (name in SHARDED or name in OPTIONAL_SHARDED):
        raise _contradiction(root, name, "is sharded" if name in description.sharded else "is not sharded")
    if array.dimension_names != dimensions_of(name):
        raise _contradiction(root, name, f"has the dimensions {', '.join(array.dimension_names)}")
    if array.data_type not in (DATA_TYPES[name], OTHER_DATA_TYPES.get(name)):
        raise _contradiction(root, name, f"is {array.data_type}, not {DATA_TYPES[name]}")
    if name in SHARDED and packing_of(array) is None:
        codecs = [codec["name"] for codec in array.sharding["codecs"]]
        raise _contradiction(root, name, f"is packed in a way that the format does not have (codecs {codecs})")
    if name not in description.sharded and not is_decodable(array):
        codecs = [codec["name"] for codec in array.codecs]
        raise _contradiction(root, name, f"is packed in a way that the format does not have (codecs {codecs})")


def _require_agreement(root: Place, arrays: Arrays, description: Description) -> None:
    """Make sure that the shapes of the arrays that every store has fit each other."""
    _, rows, columns, channels = arrays["image"].shape
    expected: dict[str, tuple[Any, ...]] = {
        "image": (rows, columns, 3),
        "mask": (rows, columns),
        "attention": (arrays["head"].shape[0], *arrays["attention"].shape[2:]),
        "checksum": (len(description.sharded),),
    }
    for name, shape in expected.items():
        if arrays[name].shape[1:] != shape:
            what = f"{channels} channels" if name == "image" else f"the shape {arrays[name].shape[1:]}, not {shape}"
            raise _contradiction(root, name, f"has {what}")
    instances = arrays.get("instances")
    if instances and has_known_encoding("instances", instances) and instances.shape[1:] != (rows, columns):
        raise _contradiction(root, "instances", f"has the shape {instances.shape[1:]}, not {(rows, columns)}")
    if is_multilabel(arrays) and not 1 < len(description.classes) <= 1 + MOST_LABELS:
        raise _contradiction(root, "mask", f"holds one bit per label, but there are {len(description.classes)} classes")
    factor = arrays["attention"].attributes.get("scale_factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not LEAST_FACTOR <= factor <= 1:
        raise _contradiction(root, "attention", "has no sound `scale_factor`")


def _require_sizes(root: Place, arrays: Arrays) -> None:
    """Make sure that a sample has at least one value in each array, and that each array of a sample fits in memory."""
    for name in (*SHARDED, *(name for name in OPTIONAL_SHARDED if name in arrays)):
        shape, dtype = arrays[name].shape[1:], arrays[name].known_dtype
        if 0 in shape:
            raise _contradiction(root, name, f"has samples of the shape {shape}, which hold nothing")
        if dtype is not None and math.prod(shape) * dtype.itemsize > MOST_CHUNK_BYTES:
            raise _contradiction(root, name, f"has samples of the shape {shape}, which are too large")


def _contradiction(root: Place, name: str, what: str) -> StoreCorruptError:
    return StoreCorruptError(f"{root}: `{name}` {what}.\n  Extract the store again.")

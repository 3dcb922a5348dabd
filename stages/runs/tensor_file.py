"""Read and write one file of tensors and JSON: a `.safetensors` whose header holds the JSON under a key.

Reading one never executes code. A file is written beside its place and renamed, so a reader finds a complete file. It
is read here and not by safetensors, whose errors do not tell a failing disk from a missing or a damaged file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from stages.errors import CheckpointError
from store.disk.publish import replace_file
from store.disk.regular import IrregularFileError, open_regular

__all__ = ["decode_tensors", "encode_tensors", "load_tensors", "save_tensors"]

LENGTH_BYTES = 8
"""A `.safetensors` begins with the length of its JSON header, a little-endian uint64."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, key: str) -> None:
    """Write tensors and JSON to `path`. A previous file is replaced atomically.

    Args:
        path: file to write.
        tensors: by name, on any device; no two may share memory.
        metadata: values that JSON can hold. The order of keys is kept.
        key: entry of the file's header that holds the JSON.

    Raises:
        PipelineError: the disk is full.
    """
    replace_file(path, encode_tensors(tensors, metadata, key=key))


def encode_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, key: str) -> bytes:
    """Return the content of the file that `save_tensors` writes; arguments as there."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(on_cpu, metadata={key: json.dumps(metadata)})


def load_tensors(path: Path, *, key: str, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        path: file to read.
        key: entry of the file's header that holds the JSON.
        remedy: end of the error message: what the user can do without this file.

    Returns:
        The tensors by name, on the CPU, and the JSON.

    Raises:
        CheckpointError: the file is missing, cannot be read, is damaged, or has no such entry.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; {remedy}.") from None
    except NotADirectoryError:
        raise CheckpointError(f"{path.parent}: is a file, and a folder with {path.name} is needed; {remedy}.") from None
    except IrregularFileError as error:
        raise CheckpointError(f"{path}: {error.strerror}; {remedy}.") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}).\n  Allow reading it, or check the disk."
        ) from None
    return decode_tensors(content, path, key=key, remedy=remedy)


def decode_tensors(content: bytes, path: Path, *, key: str, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and JSON from the content of a file; `path` is for messages, the rest as in `load_tensors`.

    Raises:
        CheckpointError: the content is damaged, or has no such entry.
    """
    try:
        tensors = load(content)  # checks the lengths of header and tensors
        header = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")])
        metadata = json.loads((header.get("__metadata__") or {})[key])
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is damaged, or not a checkpoint of this program ({error}); {remedy}.") from None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: its description is damaged; {remedy}.")
    return tensors, metadata

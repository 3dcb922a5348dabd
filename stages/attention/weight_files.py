"""Read tensors by name from a weights file, without running code from the file and without trusting its sizes.

A `.pth` is a pickle, and a pickle can run code. It is read with torch's restricted unpickler, which builds tensors and
plain containers and refuses everything else. A `.safetensors` cannot hold code. The first bytes of a file decide the
format; a pickle whose name says safetensors is refused.

All that a file promises is compared with its size before memory is allocated. The zip form of a `.pth` is mapped:
otherwise torch would trust the length that the pickle gives for a tensor, and read memory outside of it. Nothing here
uses the network. `stages.attention.weights` fits the tensors to a model.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.attention.checkpoint_parts import DEEPEST_WRAPPER, Part, take_transformer, unwrap
from stages.attention.folder_files import Files, files_of
from stages.attention.foreign_text import quoted
from stages.attention.pickle_scan import pickle_problem
from stages.attention.plain_tensors import require_plain, require_plain_header
from stages.attention.safetensors_header import read_header
from stages.attention.sharded import sharded_advice
from stages.attention.zip_directory import zip_problem
from stages.errors import WeightsError
from store.disk.regular import open_regular

__all__ = ["WeightsFile", "read_saved", "read_tensors", "read_weights", "tensors_sha256"]

_ZIP = b"PK"  # first bytes of a zip of a pickle, which torch.save writes
_PICKLES = (_ZIP, b"\x80")  # and of a bare pickle, which older versions wrote
_OTHER_NAME = ".safetensors"
_T = TypeVar("_T")


@dataclass(frozen=True)
class WeightsFile:
    """Hold the tensors of the transformer in a weights file."""

    tensors: dict[str, Tensor]
    """On the CPU, in the file's dtypes, by the names that they have inside the transformer."""
    part: str
    """Part of the file that they are, in one line; "" if they are all of it."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of the transformer as `read_weights` does, and return nothing else."""
    return read_weights(path).tensors


def read_weights(path: Path) -> WeightsFile:
    """Read the tensors of a weights file under the names that they have inside the transformer.

    Wrappers, prefixes and heads of training checkpoints are removed; see `stages.attention.checkpoint_parts`.

    Args:
        path: A `.pth` or a `.safetensors` file; a folder of the model hub or an index, for weights in several files.

    Raises:
        WeightsError: the file does not exist, is empty or broken, holds no weights, would run code, promises more than
            it has, or holds tensors of a kind that a transformer does not take, such as integers.
    """
    files = files_of(path)
    if files.names is None and (advice := sharded_advice(files.paths[0])) is not None:
        _first_bytes(files.paths[0])
        raise WeightsError(f"{path}: {advice}.")
    starts = {file: _first_bytes(file) for file in files.paths}
    if all(start[8:9] == b"{" for start in starts.values()):
        part = _read_safetensors(path, files)
    else:
        raw = [_tensors_in(file, _read_pickle(file, start)) for file, start in starts.items()]
        part = _taken(path, raw[0] if files.names is None else _together(path, raw, files.names))
    if not part.entries:
        raise WeightsError(f"{path}: holds no tensors of a transformer. Pass a weights file as published.")
    require_plain(path, part.entries)
    return WeightsFile({name: tensor.resolve_neg() for name, tensor in part.entries.items()}, part.describe())


def read_saved(path: Path) -> Any:
    """Read what `torch.save` wrote, such as one tensor, with torch's restricted unpickler.

    Raises:
        WeightsError: the file does not exist, is empty or broken, would run code, or promises more than it has.
    """
    return _read_pickle(path, _first_bytes(path))


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 over name, dtype, shape and little-endian bytes of all tensors, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        elements = tensor.contiguous().reshape(-1, 1).view(torch.uint8).numpy()  # (elements, bytes of one)
        digest.update((elements if sys.byteorder == "little" else elements[:, ::-1].copy()).data)
    return digest.hexdigest()


def _first_bytes(path: Path) -> bytes:
    """Return the bytes that decide the format: a length and the start of a JSON header, or those of a pickle."""
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such weights file. Check the path after `--weights`.") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from None
    if not start:
        raise WeightsError(f"{path}: the weights file is empty. Download it again.")
    return start


def _read_safetensors(path: Path, files: Files) -> Part[Tensor]:
    """Return the tensors of the transformer. Others, such as those of projection heads, are not read."""
    file = path
    try:
        headers: list[Part[tuple[str, dict[str, Any], Path]]] = []
        for file in files.paths:
            header = read_header(file) or {}
            headers.append(Part({name: (name, one, file) for name, one in header.items() if name != "__metadata__"}))
        wanted = _taken(path, headers[0] if files.names is None else _together(path, headers, files.names))
        require_plain_header(path, {name: entry["dtype"] for name, (_, entry, _) in wanted.entries.items()})
        tensors: dict[str, Tensor] = {}
        for file in files.paths:
            with safe_open(file, framework="pt", device="cpu") as opened:
                for name, (original, _, place) in wanted.entries.items():
                    if place == file:
                        tensors[name] = opened.get_tensor(original)
        return Part({name: tensors[name] for name in wanted.entries}, wanted.path, wanted.left_out)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError):
        raise WeightsError(_broken(file)) from None


def _together(path: Path, parts: Sequence[Part[_T]], names: frozenset[str]) -> Part[_T]:
    """Return the entries of several files as one.

    Raises:
        WeightsError: two files hold one tensor, or the files do not hold what the index at `path` names.
    """
    joined: dict[str, _T] = {}
    for part in parts:
        if twice := sorted(joined.keys() & part.entries.keys()):
            raise WeightsError(f"{path}: two of its files hold {quoted(twice[0])}. Download the files again.")
        joined |= part.entries
    if missing := sorted(names - joined.keys()):
        raise WeightsError(f"{path}: no file holds {quoted(missing[0])}, which the index names. Download them again.")
    return Part(joined)


def _read_pickle(path: Path, start: bytes) -> Any:
    if not start.startswith(_PICKLES):  # for example a web page that was saved in place of the file
        raise WeightsError(_broken(path))
    if path.name.endswith(_OTHER_NAME):  # torch 2.15 reads a path of this name as safetensors, whatever it holds
        raise WeightsError(
            f"{path}: is a pickle of torch, and its name says safetensors. Rename it: `{path.stem}.pth`."
        )
    zipped = start.startswith(_ZIP)
    if (problem := (zip_problem(path) if zipped else None) or pickle_problem(path, zipped=zipped)) is not None:
        raise WeightsError(f"{path}: {problem}. Download it again, or save it again with `torch.save`.")
    try:
        # DINO's training script saves its arguments, an argparse.Namespace, beside the tensors. That class only
        # holds values, so it is allowed in addition to torch's own list.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError:
        # Torch's message advises to load the file without the restriction. That is dangerous, so it is not shown.
        raise WeightsError(
            f"{path}: holds more than plain tensors. The rest could run code, so the file is refused. "
            "Pass the file as published, or one saved as .safetensors."
        ) from None
    except Exception:  # noqa: BLE001 - bytes that are no pickle raise many kinds of exceptions
        raise WeightsError(_broken(path)) from None


def _broken(path: Path) -> str:
    return f"{path}: is cut short, damaged, or not a weights file. Download it again."


def _tensors_in(path: Path, raw: Any) -> Part[Tensor]:
    """Return the tensors of the innermost wrapper, detached: without their gradients and attributes."""
    part = unwrap(raw)
    if part is None:
        raise WeightsError(
            f"{path}: its tensors are more than {DEEPEST_WRAPPER} dictionaries deep, or a dictionary holds itself. "
            "Pass a weights file as published."
        )
    tensors = {name: Tensor.detach(value) for name, value in part.entries.items() if isinstance(value, Tensor)}
    return Part(tensors, part.path, part.left_out)


def _taken(path: Path, part: Part[_T]) -> Part[_T]:
    try:
        return take_transformer(part)
    except ValueError as error:
        raise WeightsError(f"{path}: {quoted(str(error))}, so the file is damaged. Save it again.") from None

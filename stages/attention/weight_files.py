"""Read tensors by name from a weights file or from the hub, without running code from the file.

A `.pth` is a pickle, and a pickle can run code. It is read with torch's restricted unpickler, which builds tensors and
plain containers and refuses everything else. A `.safetensors` cannot hold code. The first bytes of a file decide the
format, not its name. `stages.attention.weights` fits the tensors to a model.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stages.attention.models import ModelEntry
from stages.errors import WeightsError

__all__ = ["hub_file", "read_tensors", "tensors_sha256"]

_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT = 5.0  # seconds until the hub counts as unreachable
_PICKLES = (b"PK", b"\x80")  # first bytes of the two formats of torch.save: a zip of a pickle, a bare pickle
_WRAPPERS = ("teacher", "state_dict", "model", "student")  # DINO evaluates its teacher, so the teacher comes first
_PREFIXES = ("module.", "teacher.", "backbone.")
_HEADS = ("head.", "projection_head.", "dino_head.", "ibot_head.", "last_layer.", "fc.")


def hub_file(entry: ModelEntry) -> Path:
    """Return the local path of the model's weights, after a download from the Hugging Face hub if needed.

    Raises:
        WeightsError: the weights are not in the hub's cache and the hub cannot be reached. This takes a few seconds.
    """
    repository = f"timm/{entry.timm_id}"
    with _quiet_hub():
        try:
            return Path(hf_hub_download(repository, _HUB_FILE, local_files_only=True))
        except OSError:
            pass  # not in the cache: the usual case at first use
        try:
            # Without a network the download retries for almost a minute. One short request fails at once.
            get_hf_file_metadata(hf_hub_url(repository, _HUB_FILE), timeout=_HUB_TIMEOUT)
            return Path(hf_hub_download(repository, _HUB_FILE))
        except Exception as error:  # noqa: BLE001 - errors of the client, of its HTTP library and of the system mean the same
            reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
            raise WeightsError(
                f"{entry.name}: the weights could not be downloaded from https://huggingface.co/{repository} "
                f"({reason}).\n  Download {entry.url} on a machine with a network and pass it with `--weights FILE`."
            ) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file under the names that they have inside the transformer.

    The usual wrappers (`teacher`, `student`, `state_dict`, `model`), prefixes (`module.`, `teacher.`, `backbone.`) and
    the projection heads of self-supervised training are removed.

    Args:
        path: A `.pth` or a `.safetensors` file.

    Returns:
        Tensors on the CPU, in the file's dtypes.

    Raises:
        WeightsError: the file does not exist, is empty or broken, holds no weights, or would run code.
    """
    raw = _read_safetensors(path) if _looks_like_safetensors(path) else _read_pickle(path)
    tensors = _without_heads(_without_prefixes(_unwrap(raw)))
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors of a transformer. Pass a weights file as published.")
    return tensors


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 over name, dtype, shape and little-endian bytes of all tensors, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        elements = tensor.contiguous().reshape(-1, 1).view(torch.uint8).numpy()  # (elements, bytes of one)
        digest.update((elements if sys.byteorder == "little" else elements[:, ::-1].copy()).data)
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Silence the hub client's warnings and log lines. Our own error message says what matters.

    The client's progress bar stays, because a download may take minutes.
    """
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _looks_like_safetensors(path: Path) -> bool:
    """Return whether the file starts with an 8-byte length and a JSON header."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such weights file. Check the path after `--weights`.") from None
    except IsADirectoryError:
        raise WeightsError(f"{path}: is a folder, not a weights file. Name the file inside it.") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from None
    if not start:
        raise WeightsError(f"{path}: the weights file is empty. Download it again.")
    return start[8:9] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path, device="cpu"))
    except (SafetensorError, OSError, ValueError, RuntimeError):  # torch raises a RuntimeError if a disk fails
        raise WeightsError(_broken(path)) from None


def _read_pickle(path: Path) -> Any:
    try:
        # DINO's training script saves its arguments, an argparse.Namespace, beside the tensors. That class only
        # holds values, so it is allowed in addition to torch's own list.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with path.open("rb") as file:
            if not file.read(2).startswith(_PICKLES):  # for example a web page that was saved in place of the file
                raise WeightsError(_broken(path)) from None
        # Torch's message advises to load the file without the restriction. That is dangerous, so it is not shown.
        raise WeightsError(
            f"{path}: holds more than plain tensors. The rest could run code, so the file is refused. "
            "Pass the file as published, or one saved as .safetensors."
        ) from None
    except Exception:  # noqa: BLE001 - bytes that are no pickle raise many kinds of exceptions
        raise WeightsError(_broken(path)) from None


def _broken(path: Path) -> str:
    return f"{path}: is cut short, damaged, or not a weights file. Download it again."


def _unwrap(raw: Any) -> dict[str, Tensor]:
    while isinstance(raw, Mapping):
        inner = next((raw[key] for key in _WRAPPERS if isinstance(raw.get(key), Mapping)), None)
        if inner is None:
            return {str(name): value for name, value in raw.items() if isinstance(value, Tensor)}
        raw = inner
    return {}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove known prefixes. If one occurs, tensors without it do not belong to the transformer and are dropped."""
    while prefix := next((known for known in _PREFIXES if any(name.startswith(known) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return tensors


def _without_heads(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(_HEADS)}

"""From a weights file, or from the hub, to tensors by name; never by running what a file holds.

A `.pth` is a pickle, and a pickle can run code. It is read with torch's restricted unpickler, which builds tensors
and plain containers and refuses everything else; `.safetensors` cannot hold code at all. Which of the two a file
is, is told by its first bytes, not by its name. Fitting the tensors to a model is `stages.attention.weights`.
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
_PICKLES = (b"PK", b"\x80")  # how torch.save's two forms begin: a zip of a pickle, a bare pickle
_WRAPPERS = ("teacher", "state_dict", "model", "student")  # DINO evaluates its teacher, so that comes first
_PREFIXES = ("module.", "teacher.", "backbone.")
_HEADS = ("head.", "projection_head.", "dino_head.", "ibot_head.", "last_layer.", "fc.")


def hub_file(entry: ModelEntry) -> Path:
    """The model's weights on this disk, downloaded from the Hugging Face hub if they are not in its cache yet.

    Raises:
        WeightsError: they are not cached and the hub cannot be reached; found out within seconds.
    """
    repository = f"timm/{entry.timm_id}"
    with _quiet_hub():
        try:
            return Path(hf_hub_download(repository, _HUB_FILE, local_files_only=True))
        except OSError:
            pass  # not in the cache: the usual case the first time
        try:
            # The download itself tries again for most of a minute when there is no network. One question, asked
            # once, finds that out at once.
            get_hf_file_metadata(hf_hub_url(repository, _HUB_FILE), timeout=_HUB_TIMEOUT)
            return Path(hf_hub_download(repository, _HUB_FILE))
        except Exception as error:  # noqa: BLE001 - the client's own errors, its HTTP library's, the system's: one meaning
            reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
            raise WeightsError(
                f"{entry.name}: the weights could not be downloaded from https://huggingface.co/{repository} "
                f"({reason}).\n  Download {entry.url} where there is a network and pass it with `--weights FILE`."
            ) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file under the names they have inside the transformer.

    Usual wrappers (`teacher`, `student`, `state_dict`, `model`), prefixes (`module.`, `backbone.`) and the
    projection heads of self-supervised training are taken away.

    Args:
        path: A `.pth` or a `.safetensors`.

    Returns:
        Tensors on the CPU, in the file's dtypes.

    Raises:
        WeightsError: no such file, empty, broken, not a weights file, or one that would run code.
    """
    raw = _read_safetensors(path) if _looks_like_safetensors(path) else _read_pickle(path)
    tensors = _without_heads(_without_prefixes(_unwrap(raw)))
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors of a transformer. Pass a weights file as published.")
    return tensors


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hexadecimal SHA-256 over name, dtype, shape and little-endian bytes of every tensor, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        elements = tensor.contiguous().reshape(-1, 1).view(torch.uint8).numpy()  # (elements, bytes of one)
        digest.update((elements if sys.byteorder == "little" else elements[:, ::-1].copy()).data)
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Without the hub client's warnings and log lines; what matters is in our one message.

    Its progress bar stays: a download of some hundred MB should be seen to move.
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
    """Whether the file starts with the length of a JSON header and then that header."""
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
    except (SafetensorError, OSError, ValueError):
        raise WeightsError(_broken(path)) from None


def _read_pickle(path: Path) -> Any:
    try:
        # DINO's own training script keeps its arguments, an argparse.Namespace, beside the tensors. It is a plain
        # bag of values, so it is the one class allowed beyond torch's own list.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with path.open("rb") as file:
            if not file.read(2).startswith(_PICKLES):  # a web page, say, saved in place of the file behind it
                raise WeightsError(_broken(path)) from None
        # torch's own message advises to load the file without the restriction; that advice is not passed on.
        raise WeightsError(
            f"{path}: is not a file of plain tensors. Anything else in it could run code, so it is refused. "
            "Pass the file as published, or one saved as .safetensors."
        ) from None
    except Exception:  # noqa: BLE001 - bytes that are no pickle fail in any of a dozen ways
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
    """What lies under the known prefixes; where there is one, everything beside it is not the transformer."""
    while prefix := next((known for known in _PREFIXES if any(name.startswith(known) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return tensors


def _without_heads(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(_HEADS)}

"""Get the weights of a model of the table from the Hugging Face hub, or from the hub's folder on this disk.

Only this file reaches the network, and only for a model whose weights the user does not give as a file. With
`--offline` the stages ask for `weights_without_network` first, so that `hub_file` is not called.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

from stages.attention.models import ModelEntry
from stages.attention.naming import find_model
from stages.errors import WeightsError

__all__ = ["hub_file", "is_reachable", "weights_without_network"]

_FILE = "model.safetensors"
_TIMEOUT = 5.0  # seconds until the hub counts as unreachable


def hub_file(entry: ModelEntry) -> Path:
    """Return the local path of the model's weights, after a download from the Hugging Face hub if needed.

    With `HF_HUB_OFFLINE` set nothing is downloaded.

    Raises:
        WeightsError: the weights are not in the hub's cache and the hub cannot be reached. This takes a few seconds.
    """
    if constants.HF_HUB_OFFLINE:
        return _downloaded_earlier(entry)
    repository = _repository(entry)
    if (cached := _cached(entry)) is not None:
        return cached
    with _quiet_hub():
        try:
            # Without a network the download retries for almost a minute. One short request fails at once.
            get_hf_file_metadata(hf_hub_url(repository, _FILE), timeout=_TIMEOUT)
            return Path(hf_hub_download(repository, _FILE))
        except Exception as error:  # noqa: BLE001 - errors of the client, of its HTTP library and of the system mean the same
            raise WeightsError(
                f"{entry.name}: the weights could not be downloaded from https://huggingface.co/{repository} "
                f"({_reason(error)}).\n"
                f"  Download {entry.url} on a machine with a network and pass it with `--weights FILE`.\n"
                "  To try the commands without it, use `--model dino_phantom_tiny8`, which needs no download."
            ) from None


def is_reachable(entry: ModelEntry) -> str:
    """Return "" if the hub answers a question about a model's weights, else the reason. Nothing is downloaded."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    with _quiet_hub():
        try:
            get_hf_file_metadata(hf_hub_url(_repository(entry), _FILE), timeout=_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - as in `hub_file`
            return _reason(error)
    return ""


def weights_without_network(model: str, weights: Path | None) -> Path | None:
    """Return the weights file to load a model from when the network must not be used.

    Args:
        model: As `stages.attention.naming.find_model` takes it.
        weights: The file that the user gave; returned as it is.

    Returns:
        The given file, or the file of an earlier download; None for a model that needs no file from the hub.

    Raises:
        UnknownModelError: there is no model of that name.
        WeightsError: the weights are not on this disk. The message says where to put them.
    """
    entry = find_model(model)
    if weights is not None or entry.file or not entry.url:
        return weights
    return _downloaded_earlier(entry)


def _reason(error: Exception) -> str:
    """Return the first line of an error, without the number of the system's."""
    first = str(error).strip().split("\n", maxsplit=1)[0]
    return re.sub(r"^\[Errno -?[0-9]+\] ", "", first) or type(error).__name__


def _downloaded_earlier(entry: ModelEntry) -> Path:
    if (cached := _cached(entry)) is not None:
        return cached
    raise WeightsError(
        f"{entry.name}: the weights are not on this disk, and nothing is downloaded offline.\n"
        f"  On a machine with a network download {entry.url}\n"
        f"  and pass it with `--weights FILE`; or copy {constants.HF_HUB_CACHE}/"
        f"models--{_repository(entry).replace('/', '--')} of a machine that has it to the same place here."
    )


def _cached(entry: ModelEntry) -> Path | None:
    """Return the path of an earlier download; None if there is none.

    `hf_hub_download(local_files_only=True)` is not used: it looks for news of the client on the network.
    """
    found = try_to_load_from_cache(_repository(entry), _FILE)
    return Path(found) if isinstance(found, str) else None


def _repository(entry: ModelEntry) -> str:
    return entry.hub or f"timm/{entry.timm_id}"


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

"""Turn the name of a device into a torch device that exists on this machine.

`auto` is CUDA if there is a CUDA device, else the CPU. Apple's `mps` is used only when it is asked for by name:
not every operation of this project was tried there.
"""

from __future__ import annotations

import warnings

import torch

from stages.errors import UsageError

__all__ = ["resolve_device", "resolve_devices"]

_KNOWN = ("cpu", "cuda", "mps")
MOST_DEVICES = 256
"""Most processes that `--devices` starts."""


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` stands for, after checking that it exists.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Returns:
        The torch device. `cuda` without a number stays without one.

    Raises:
        UsageError: the name is none of these, or the machine has no such device.
    """
    gpus = _cuda_devices()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    device = _parse(name)
    if device.type == "cuda" and not gpus:
        raise UsageError(
            f"device {name!r}: torch sees no CUDA device on this machine. Use `auto` or `cpu`, or install a driver "
            "and a torch build that fit each other."
        )
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UsageError(f"device {name!r}: this machine has cuda:0 to cuda:{gpus - 1}. Name one of these, or `auto`.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device {name!r}: torch sees no Apple GPU on this machine. Use `auto` or `cpu`.")
    return device


def resolve_devices(names: str) -> list[str]:
    """Return the names of several devices, after checking that each exists.

    Args:
        names: Numbers of GPUs or names of devices, separated by commas: `0,1,2`, `cuda:0,cuda:1`, `cpu,cpu`. A device
            that is named twice is returned twice.

    Raises:
        UsageError: a name is not known, or the machine has no such device.
    """
    listed = [name.strip() for name in names.split(",")]
    if len(listed) > MOST_DEVICES:
        raise UsageError(f"devices: {len(listed)} are named, and at most {MOST_DEVICES} processes are started.")
    found = []
    for name in listed:
        if name in {"", "auto"}:
            raise UsageError(
                f"devices {names!r}: name each device, separated by commas: 0,1,2 or cuda:0,cuda:1 or cpu,cpu."
            )
        found.append(str(resolve_device(f"cuda:{name}" if name.isascii() and name.isdigit() else name)))
    return found


def _cuda_devices() -> int:
    """Return the number of usable CUDA devices."""
    with warnings.catch_warnings():
        # Torch only warns about a driver that is too old. Here that counts as no device.
        warnings.simplefilter("ignore")
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _parse(name: str) -> torch.device:
    """Return the torch device of a known kind; its existence is not checked."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in _KNOWN or (device.type != "cuda" and device.index):
        raise UsageError(f"device {name!r} is not known. Use `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.")
    return device

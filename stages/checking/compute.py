"""Check the device that torch computes on, memory and processors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from stages.checking.findings import Finding, ok, problem, warning
from stages.checking.machine import Machine
from stages.runtime.memory_budget import usable_memory

__all__ = ["check_device", "check_memory", "check_processors"]

GIB = 2**30
LEAST_MEMORY = 4 * GIB
"""Bytes below which the trainings of the documentation do not fit: torch and timm alone take about one GiB."""
LEAST_FREE = 2 * GIB
TOLERANCE = 1e-3
"""Largest difference of a product on the device from the same one on the CPU, relative to its largest value.

TF32, which some GPUs use for float32, has a relative error of about 1e-3 / 2.
"""


def check_device(machine: Machine) -> Iterator[Finding]:
    """Multiply two matrices on the device, and say which arithmetic `--precision auto` would choose."""
    import torch

    from stages.errors import UsageError
    from stages.runs.precision import resolve
    from stages.runtime.devices import resolve_device

    try:
        device = resolve_device(machine.device)
    except UsageError as error:
        yield problem("device", str(error), "Give another --device.")
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(256, 256, generator=generator), torch.rand(256, 256, generator=generator)
    try:
        found = (one.to(device) @ other.to(device)).cpu()
    except RuntimeError as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        to_do = "Install a driver and a torch build that fit each other (https://pytorch.org), or use --device cpu."
        yield problem("device", f"{name}: a computation failed: {reason}", to_do)
        return
    expected = one @ other
    if not float((found - expected).abs().max()) <= TOLERANCE * float(expected.max()):
        yield problem("device", f"{name}: computes wrong results", "Use another device; this one may be damaged.")
        return
    yield ok("device", f"{name}, torch {torch.__version__}; trains in {resolve('auto', device)}")
    if device.type == "cpu" and machine.device == "auto" and _has_nvidia_gpu():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        to_do = "Update the driver, or install a torch build for it (https://pytorch.org)."
        yield warning(
            "device", f"this machine has an NVIDIA GPU that torch does not see (torch is built {built})", to_do
        )


def check_memory(_: Machine) -> Iterator[Finding]:
    """Check the memory that this process may use, and what is free now."""
    usable, free = usable_memory(), _free_memory()
    found = f"{usable / GIB:.1f} GiB" + ("" if free is None else f", {free / GIB:.1f} GiB free now")
    if usable < LEAST_MEMORY:
        yield warning("memory", found, "Use small batches (--batch-size 4); in a container, raise its limit.")
    elif free is not None and free < LEAST_FREE:
        yield warning("memory", found, "End other programs.")
    else:
        yield ok("memory", found)


def check_processors(_: Machine) -> Iterator[Finding]:
    """Say how many processors may be used, and whether a variable limits torch's threads."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    found = f"{usable} usable"
    if limit and limit.isdigit() and 0 < int(limit) < usable:
        yield warning("processors", f"{found}, OMP_NUM_THREADS={limit}", "Unset OMP_NUM_THREADS to use all of them.")
    else:
        yield ok("processors", found)


def _free_memory() -> int | None:
    """Return the bytes that can be allocated without swapping; None where the system does not say it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _has_nvidia_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None

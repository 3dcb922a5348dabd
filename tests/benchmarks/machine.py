"""Describe the machine that figures come from: a ratio holds for one kind of processor and one number of threads.

A processor without AVX-512 or AMX runs bfloat16 several times slower than float32, and one with AMX runs it faster. So
a table without these words cannot be compared with another one.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
EXTENSIONS = {"AVX-512": "avx512f", "AMX": "amx_tile"}
"""Vector instructions that decide how fast matrix products are, each with Linux' name for it."""


def machine() -> str:
    """Return processor, vector instructions, number of cores, threads of torch, and the GPU if there is one."""
    threads = torch.get_num_threads()
    parts = [
        processor(CPUINFO),
        f"{os.cpu_count()} cores",
        *extensions(CPUINFO),
        "1 thread" if threads == 1 else f"{threads} threads",
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def load() -> str:
    """Return the average number of running processes in the last minute; "unknown" where the system does not count."""
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (AttributeError, OSError):
        return "unknown"


def processor(cpuinfo: Path) -> str:
    """Return the processor's name as `cpuinfo` has it, or what Python knows where there is no such file."""
    return _first(cpuinfo, "model name") or platform.processor() or platform.machine()


def extensions(cpuinfo: Path) -> list[str]:
    """Return which of `EXTENSIONS` the processor has and which not: `["AVX-512", "no AMX"]`.

    The list says so if the system does not tell, as on ARM.
    """
    flags = _first(cpuinfo, "flags")
    if flags is None:
        return ["vector instructions unknown"]
    return [name if flag in flags.split() else f"no {name}" for name, flag in EXTENSIONS.items()]


def _first(cpuinfo: Path, key: str) -> str | None:
    """Return the value of the first line `key : value`; None if there is none."""
    if not cpuinfo.exists():
        return None
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None

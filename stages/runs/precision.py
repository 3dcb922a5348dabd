"""Choose the arithmetic of a training step: float32, or bfloat16 by autocast.

`auto` chooses what is faster on the machine at hand:

| device | arithmetic | reason |
|---|---|---|
| CUDA | bfloat16 | tensor cores |
| CPU with AMX tiles | bfloat16 | its matrix units multiply bfloat16 about three times as fast as float32 |
| other CPU | float32 | bfloat16 is several times slower without AVX-512, and 1.1 to 1.3 times faster with AVX512-BF16 |
| others | float32 | not measured |

A run records what `auto` became, under `ARITHMETIC` in its state. A resumed run keeps it, also on another machine. The
states of version 0.2 and before lack it; `auto` was then bfloat16 on CUDA and float32 elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch

from stages.settings import TrainingPrecision

__all__ = ["ARITHMETIC", "Arithmetic", "autocast", "has_amx", "recorded_values", "resolve", "resumed", "sentences"]

Arithmetic = Literal["float32", "bfloat16"]

ARITHMETIC = "arithmetic"
"""Name under which the state of a run records what its precision became."""

BF16_IN_TILES = ("amx_tile", "amx_bf16")
"""Abilities of a processor, as torch names them, that make bfloat16 faster than float32."""


def has_amx() -> bool:
    """Return True if torch says that this processor multiplies bfloat16 in AMX tiles; False if torch cannot tell."""
    if hasattr(torch.cpu, "get_capabilities"):
        found: Mapping[str, Any] = torch.cpu.get_capabilities()
        return all(found.get(name) is True for name in BF16_IN_TILES)
    earlier = getattr(torch.cpu, "_is_amx_tile_supported", None)  # every processor with AMX tiles so far has bfloat16
    return earlier is not None and bool(earlier())


def resolve(precision: TrainingPrecision, device: torch.device) -> Arithmetic:
    """Return the arithmetic of a new run on this machine."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" or (device.type == "cpu" and has_amx()) else "float32"


def resumed(state: Mapping[str, Any], precision: TrainingPrecision, device: torch.device) -> Arithmetic:
    """Return the arithmetic of a run that is resumed: the one it was started with.

    Args:
        state: settings and data that the state records; their identity was checked.
        precision: the setting of the run.
        device: where the run goes on.
    """
    if precision != "auto":
        return precision
    recorded = state.get(ARITHMETIC)
    if recorded in get_args(Arithmetic):
        return "bfloat16" if recorded == "bfloat16" else "float32"
    return "bfloat16" if device.type == "cuda" else "float32"


def recorded_values() -> tuple[str | None, ...]:
    """Return the values of `ARITHMETIC` in states that a run of any machine can resume; None if a state lacks it."""
    return (None, *get_args(Arithmetic))


def sentences(
    precision: TrainingPrecision, device: torch.device, arithmetic: Arithmetic, *, here: Arithmetic
) -> list[str]:
    """Return what a user should know about the choice of `auto`: nothing for float32 that was chosen here.

    Args:
        precision: the setting.
        device: where the run was computed.
        arithmetic: what the setting became.
        here: what it becomes for a new run on this machine.
    """
    if precision != "auto":
        return []
    if arithmetic != here:
        return [f"computed in {arithmetic}, as the run was started; --precision auto would choose another one here"]
    if arithmetic == "float32":
        return []
    return [f"computed in bfloat16, which --precision auto chooses on {_kind(device)}; see --precision float32"]


def autocast(precision: TrainingPrecision, device: torch.device) -> torch.autocast:
    """Return the context in which a network runs with this precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=resolve(precision, device) == "bfloat16")


def _kind(device: torch.device) -> str:
    return "a processor with AMX" if device.type == "cpu" else f"{device.type} devices"

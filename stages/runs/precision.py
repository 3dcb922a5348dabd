"""The arithmetic of a training step."""

from __future__ import annotations

import torch

from stages.settings import TrainingPrecision

__all__ = ["autocast"]


def autocast(precision: TrainingPrecision, device: torch.device) -> torch.autocast:
    """Return the context in which a network runs: bfloat16 where asked for, or by default on CUDA; else float32."""
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)

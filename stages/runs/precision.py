"""Choose the arithmetic of a training step: float32, or bfloat16 by autocast."""

from __future__ import annotations

import torch

from stages.settings import TrainingPrecision

__all__ = ["autocast"]


def autocast(precision: TrainingPrecision, device: torch.device) -> torch.autocast:
    """Return the context in which a network runs.

    Its arithmetic is bfloat16 if `precision` is "bfloat16", or if it is "auto" and the device is CUDA; else float32.
    """
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)

"""Choose the arithmetic of a segmentation training: the one of `stages.runs.precision`, except for tiny images.

On a CPU, oneDNN computes wrong gradients in bfloat16 for a 3x3 convolution with stride 2 whose input has a single
column: they contain values of memory that was not initialised (torch 2.15, measured with AVX512-BF16; float32 is right,
and so are single rows). The network has such a convolution if the next to last level has one column: at images of at
most 16 columns with the light stem, 8 with the full one.
"""

from __future__ import annotations

import torch

from stages.errors import UsageError
from stages.runs.precision import Arithmetic, resolve
from stages.segmentation.network import LEVELS, NetworkConfig
from stages.settings import TrainSettings

__all__ = ["arithmetic_of"]


def arithmetic_of(settings: TrainSettings, config: NetworkConfig, device: torch.device) -> Arithmetic:
    """Return the arithmetic of a new training on this machine; float32 for tiny images if the precision is `auto`.

    Raises:
        UsageError: bfloat16 is asked for, and the images are too small for it on a CPU.
    """
    arithmetic = resolve(settings.precision, device)
    narrowest = config.first_stride * 2 ** (LEVELS - 2)
    if arithmetic == "float32" or device.type != "cpu" or config.size[1] > narrowest:
        return arithmetic
    if settings.precision == "auto":
        return "float32"
    rows, columns = config.size
    raise UsageError(
        f"{settings.store}: images of {rows} x {columns} cannot be trained on in bfloat16 on a CPU, because torch "
        f"computes wrong gradients there for images of at most {narrowest} columns.\n"
        "  Use --precision float32, or extract with a larger --image-size."
    )

"""Draw random weights that are always the same, for a transformer to try the pipeline with.

Its maps depend on the image but have no meaning. The weights are scaled so that every layer keeps the variance of its
input. With the small weights that are usual before training every map would be flat.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["untrained_tensors"]

_SEED = 20230428


def untrained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Draw a value for every parameter of a transformer. The values are the same in every call and process.

    Args:
        module: A transformer; only the names and shapes of its parameters are used.

    Returns:
        float32 tensors by parameter name. The global random state is neither used nor changed.
    """
    generator = torch.Generator().manual_seed(_SEED)
    return {name: _draw(name, parameter.shape, generator) for name, parameter in sorted(module.named_parameters())}


def _draw(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if "norm" in name or name.endswith("bias"):
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    values = torch.randn(shape, generator=generator)
    if name in {"cls_token", "pos_embed"}:
        return values
    return values / math.sqrt(math.prod(shape[1:]))  # divided by the square root of the number of inputs

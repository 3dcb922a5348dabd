"""Random weights that are always the same: a transformer to try the pipeline with, and nothing more.

Its maps depend on the image, since a random network is still a function of it, but they mean nothing. The weights
are drawn so that what goes through a layer keeps its variance: with the small ones usual before training every
map would be flat.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["untrained_tensors"]

_SEED = 20230428


def untrained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Values for every parameter of a transformer, the same in every call and process.

    Args:
        module: A transformer; only names and shapes of its parameters are looked at.

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
    return values / math.sqrt(math.prod(shape[1:]))  # divided by the root of how many inputs are summed

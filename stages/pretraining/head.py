"""The projection head: from a CLS token to prototypes (Caron et al. 2021, section 3 and appendix C).

Three linear layers, an L2 normalisation, and one linear layer with rows of length 1. So an output is the cosine between
the projected token and a prototype, in [-1, 1]. The head is discarded after training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

__all__ = ["BOTTLENECK", "ProjectionHead"]

BOTTLENECK = 256


class ProjectionHead(nn.Module):
    """Compute the cosines of tokens with prototypes.

    Args:
        dim: width of a token.
        width: of the hidden layers.
        prototypes: number of outputs.
        batch_norm: normalise the hidden layers over the batch. The statistics are always those of the current batch:
            the head is never used outside training, so no running statistics are kept.
    """

    def __init__(self, dim: int, *, width: int, prototypes: int, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for entering in (dim, width):
            layers.append(nn.Linear(entering, width, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width, track_running_stats=False))
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(width, BOTTLENECK))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        # Weight normalisation with the gain fixed at 1, which the paper needs for stability. Written out, so that there
        # is no gain to freeze.
        self.prototypes = nn.Parameter(torch.randn(prototypes, BOTTLENECK))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, dim) tokens to (n, prototypes) cosines."""
        projected = F.normalize(self.mlp(tokens), dim=-1)
        return F.linear(projected, F.normalize(self.prototypes, dim=-1))

"""Transformer and projection head as one module that takes views of several sizes.

Views of one size go through the transformer together. Then all tokens go through the head together, so that batch
normalisation is computed over all views of the step, as in the reference code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.pretraining.head import ProjectionHead

__all__ = ["Network"]


class Network(nn.Module):
    """A transformer with its projection head. The student and the teacher are each one such network."""

    def __init__(self, backbone: nn.Module, head: ProjectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, views: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the outputs for every view.

        Args:
            views: each (batch, 3, size, size), normalised; views of one size are adjacent.

        Returns:
            For each view (batch, prototypes) cosines; and the CLS tokens of all views, (views * batch, dim).
        """
        tokens = torch.cat([self.backbone(torch.cat(group)) for group in _by_size(views)])
        return list(self.head(tokens).float().chunk(len(views))), tokens.float()


def _by_size(views: Sequence[Tensor]) -> list[list[Tensor]]:
    groups: list[list[Tensor]] = []
    for view in views:
        if groups and groups[-1][0].shape == view.shape:
            groups[-1].append(view)
        else:
            groups.append([view])
    return groups

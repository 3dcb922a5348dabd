"""A block's MLP, a portion of the tokens at a time, for processors.

The MLP takes each token by itself, and its hidden layer is four times as wide as the tokens: at 480² with patches of
8 pixels that is most of what a forward pass holds. In portions it stays in the processor's cache, one image of that
size takes two thirds of the memory, and the results are the same. On a GPU large products are the quick ones, so it is
left as it is there.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from torch import Tensor, nn

__all__ = ["TOKENS", "ChunkedMlp", "chunk_mlps"]

TOKENS = 1024
"""Tokens at a time. Measured for ViT-S/8 at 224² and 480²: 256 and 512 were slower by one to five per cent."""

_TOKENWISE = (Mlp, GluMlp, SwiGLU)


class ChunkedMlp(nn.Module):
    """A module that takes every token by itself, given at most `TOKENS` of them at once; without gradients.

    The portions of an image never depend on the other images of the batch, nor do its results.
    """

    def __init__(self, tokenwise: nn.Module) -> None:
        super().__init__()
        self.tokenwise = tokenwise

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim), of the same shape as what goes in."""
        batch, count, _ = tokens.shape
        images = max(1, TOKENS // count)
        step = -(-count // -(-count // TOKENS))  # portions of about the same size
        out = torch.empty_like(tokens)
        for first in range(0, batch, images):
            for start in range(0, count, step):
                part = slice(first, first + images), slice(start, start + step)
                out[part] = self.tokenwise(tokens[part])
        return out


def chunk_mlps(transformer: nn.Module) -> None:
    """Let the blocks of a timm transformer compute their MLPs in portions, where their class allows it."""
    model: Any = transformer
    for block in model.blocks:
        if type(block.mlp) in _TOKENWISE:  # exact classes: a subclass may well mix tokens
            block.mlp = ChunkedMlp(block.mlp)

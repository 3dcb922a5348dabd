"""Compute the MLP of a transformer block in chunks of tokens, on a CPU.

An MLP handles every token by itself. Its hidden layer is four times as wide as the tokens: at 480² with patches of 8
pixels it takes most of the memory of a forward pass. In chunks it stays in the processor's cache, one image of that
size needs two thirds of the memory, and the results are the same. On a GPU large matrix products are faster, so MLPs
are not chunked there.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from torch import Tensor, nn

__all__ = ["TOKENS", "ChunkedMlp", "chunk_mlps", "is_recorded"]

TOKENS = 1024
"""Largest number of tokens in a chunk. For ViT-S/8 at 224² and 480², 256 and 512 were one to five per cent slower."""

_TOKENWISE = (Mlp, GluMlp, SwiGLU)


class ChunkedMlp(nn.Module):
    """Apply a module to at most `TOKENS` tokens at a time, without gradients.

    The module must handle every token by itself. The chunks of an image do not depend on the other images of the batch,
    so its results do not either. In a graph that is exported there are no chunks: their number depends on the batch.
    """

    def __init__(self, tokenwise: nn.Module) -> None:
        super().__init__()
        self.tokenwise = tokenwise

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (batch, tokens, dim), the shape of the input."""
        if is_recorded():
            whole: Tensor = self.tokenwise(tokens)
            return whole
        batch, count, _ = tokens.shape
        images = max(1, TOKENS // count)
        step = -(-count // -(-count // TOKENS))  # chunks of about the same size
        out = torch.empty_like(tokens)
        for first in range(0, batch, images):
            for start in range(0, count, step):
                part = slice(first, first + images), slice(start, start + step)
                out[part] = self.tokenwise(tokens[part])
        return out


def is_recorded() -> bool:
    """Return True while torch records the operations of a network as a graph, which then takes batches of any size."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call] # not annotated in torch
    return tracing or torch.compiler.is_compiling()


def chunk_mlps(transformer: nn.Module) -> None:
    """Make the blocks of a timm transformer compute their MLPs in chunks. MLPs that mix tokens are not changed."""
    model: Any = transformer
    for block in model.blocks:
        if type(block.mlp) in _TOKENWISE:  # exact classes: a subclass may mix tokens
            block.mlp = ChunkedMlp(block.mlp)

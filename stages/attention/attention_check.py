"""Compare the CLS attention with the full attention that the model itself computes, on a small input.

The classes of a model are checked before (`stages.attention.timm_models`). But a class has options, and a new version
of timm may add one that changes the queries or the keys. So every model that is not in our table is tried: its blocks
run without fused attention, and what they pass to the dropout after the softmax is the matrix to compare with. The
input has six patches, so this costs one pass over the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stages.attention.cls_attention import cls_attention
from stages.errors import UnsupportedModelError

__all__ = ["require_full_attention"]

_PATCHES = (2, 3)
_TOLERANCE = 1e-4
"""Largest difference of two probabilities. Both ways are in float32; they differ by 1e-6."""


def require_full_attention(module: Any, name: str) -> None:
    """Check that `cls_attention` returns the rows of the attention matrices of every block.

    Args:
        module: A transformer in eval mode on the CPU, as loaded. It is the same afterwards.
        name: The model, for the message.

    Raises:
        UnsupportedModelError: it does not. The message names the first block and the difference.
    """
    native, positions = tuple(module.patch_embed.img_size), module.pos_embed
    patch = module.patch_embed.patch_size[0]
    try:
        module.set_input_size(img_size=(patch * _PATCHES[0], patch * _PATCHES[1]))
        images = torch.randn(1, 3, *module.patch_embed.img_size, generator=torch.Generator().manual_seed(0))
        expected = _full_attention(module, images)
        depth = len(module.blocks)
        with torch.no_grad():
            rows = cls_attention(module, images, range(depth))  # (1, blocks * heads, 2, 3)
            found = rows.reshape(depth, -1, _PATCHES[0] * _PATCHES[1])
    finally:
        module.pos_embed = None  # timm would resample it
        module.set_input_size(img_size=native)
        module.pos_embed = positions
    if len(expected) != depth:
        raise UnsupportedModelError(
            f"{name}: only {len(expected)} of {depth} blocks compute attention in a way that this program knows. "
            "Use a model of `pipeline models`."
        )
    for block, (ours, full) in enumerate(zip(found, expected, strict=True)):
        theirs = full[0, :, 0, module.num_prefix_tokens :]
        difference = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("nan")
        if not difference <= _TOLERANCE:  # also for NaN
            raise UnsupportedModelError(
                f"{name}: in block {block} the attention that is read differs from what the model computes (by "
                f"{difference:.2g}), so its maps would be wrong. Use a model of `pipeline models`."
            )


def _full_attention(module: Any, images: Tensor) -> list[Tensor]:
    """Return the attention matrix of every block, (1, heads, tokens, tokens), from the model's own code."""
    matrices: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        matrices.append(inputs[0].detach())

    attentions = [block.attn for block in module.blocks]
    fused = [attention.fused_attn for attention in attentions]
    hooks = [attention.attn_drop.register_forward_pre_hook(keep) for attention in attentions]
    try:
        for attention in attentions:
            attention.fused_attn = False
        with torch.no_grad():
            module.forward_features(images)
    finally:
        for attention, before, hook in zip(attentions, fused, hooks, strict=True):
            attention.fused_attn = before
            hook.remove()
    return matrices

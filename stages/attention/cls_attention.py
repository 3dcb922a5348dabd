"""Compute the attention of the CLS token to every patch in chosen blocks, and nothing else of the attention matrix.

All blocks before the last chosen one run as timm wrote them, with fused attention. For a chosen block one row is
computed in addition: `norm1`, the query of token 0, the keys of all tokens, and one softmax in float32 over all keys.
Of the last chosen block only this row is computed, and later blocks do not run. A matrix of tokens by tokens never
exists.

The result equals `get_last_selfattention(image)[:, :, 0, 1:]` in facebookresearch/dino (Caron et al. 2021): prefix
tokens (CLS and registers) take part in the softmax and are dropped afterwards, and the rest is not renormalised.

Every attention class computes queries and keys in its own way, so only known classes are accepted: timm's
`VisionTransformer` (DINO, DINOv2) and `Eva` (DINOv3, rotary embedding on patch keys). Any other class is an error.
Images are neither resized nor normalised here (see `stages.imaging` and `stages.attention.extractor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.attention import Attention, AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from stages.attention.chunked_mlp import is_recorded
from stages.errors import UnsupportedModelError, UsageError

__all__ = ["absolute_layers", "cls_attention", "head_names"]

QUERY_ROWS = 16
"""Tokens per image whose query is computed, although only that of the first is used: with a few rows in all, the
libraries choose another product, which rounds differently."""


def cls_attention(model: nn.Module, images: Tensor, layers: Sequence[int]) -> Tensor:
    """Compute the attention of the CLS token to every patch in the chosen blocks.

    Args:
        model: timm's `VisionTransformer` or `Eva` with a CLS token, in eval mode.
        images: (batch, 3, height, width) in the model's dtype, normalised. The size is the one the model was built
            for, or any size divisible by the patch if the model takes any size.
        layers: Blocks, counted from 0, or from the end if negative.

    Returns:
        (batch, len(layers) * heads, height // patch, width // patch) float32 in [0, 1]. The layers are in the
        order given, and in each layer the heads 0 to n - 1. A map sums to less than one.

    Raises:
        UnsupportedModelError: the model is of an unknown class, or has no CLS token.
        UsageError: a layer does not exist or is named twice, or the images have a wrong size.
    """
    transformer = _checked(model)
    wanted = absolute_layers(layers, len(transformer.blocks))
    grid = _grid(transformer, images)
    tokens, rope = _embed(transformer, images)
    rows: dict[int, Tensor] = {}
    for index, block in enumerate(transformer.blocks):
        block_rope = rope[index] if rope is not None and transformer.rope_mixed else rope  # mixed: one per block
        if index in wanted:
            rows[index] = _cls_row(block, tokens, block_rope)
        if index == max(wanted):
            break
        tokens = block(tokens) if block_rope is None else block(tokens, rope=block_rope)
    patches = [rows[index][:, :, transformer.num_prefix_tokens :] for index in wanted]
    joined = torch.cat(patches, dim=1)  # (batch, layers * heads, patches)
    return joined.reshape(*joined.shape[:2], *grid)


def absolute_layers(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Return the layers counted from 0, in the order given.

    Args:
        layers: Block numbers; -1 is the last.
        depth: Number of blocks.

    Raises:
        UsageError: no layer is given, one is out of range, or two are the same.
    """
    absolute = tuple(layer + depth if layer < 0 else layer for layer in layers)
    outside = [str(given) for given, layer in zip(layers, absolute, strict=True) if not 0 <= layer < depth]
    if outside:
        raise UsageError(
            f"layers {', '.join(outside)}: the model has {depth} blocks, 0 to {depth - 1} (or -{depth} to -1)."
        )
    if not absolute or len(set(absolute)) < len(absolute):
        raise UsageError(f"layers {list(layers)}: name at least one block, and none twice.")
    return absolute


def head_names(layers: Sequence[int], heads: int, depth: int) -> list[str]:
    """Return the names of the maps of `cls_attention`, in its order: `L11H0`, `L11H1`, ….

    Raises:
        UsageError: as `absolute_layers`.
    """
    return [f"L{layer}H{head}" for layer in absolute_layers(layers, depth) for head in range(heads)]


def _checked(model: nn.Module) -> Any:
    """Return the model after a check of its classes.

    The type is `Any`, because torch types every attribute of a module as a tensor or a module.
    """
    # Exact classes: a subclass may compute something else under the same names.
    known: dict[type, tuple[type, tuple[type, ...]]] = {
        VisionTransformer: (Block, (Attention,)),
        Eva: (EvaBlock, (EvaAttention, AttentionRope)),
    }
    _require("the model", model, tuple(known))
    block_class, attention_classes = known[type(model)]
    transformer: Any = model
    for block in transformer.blocks:
        _require("a block", block, (block_class,))
        _require("the attention", block.attn, attention_classes)
    if transformer.cls_token is None:
        raise UnsupportedModelError("the model has no CLS token, so there is no CLS attention. Use another model.")
    return transformer


def _require(part: str, module: nn.Module, classes: tuple[type, ...]) -> None:
    if type(module) not in classes:
        raise UnsupportedModelError(
            f"{part} is of class {type(module).__qualname__}, whose queries and keys cannot be read. "
            "Use a model of `pipeline models`."
        )


def _grid(model: Any, images: Tensor) -> tuple[int, int]:
    height, width = map(int, images.shape[-2:])  # tensors while torch traces
    embed = model.patch_embed
    rows, row_rest = divmod(height, embed.patch_size[0])
    columns, column_rest = divmod(width, embed.patch_size[1])
    if row_rest or column_rest:
        raise UsageError(f"images of {height}x{width} are not whole patches of {embed.patch_size[0]} pixels.")
    if embed.strict_img_size and (height, width) != tuple(embed.img_size):
        built_for = "x".join(map(str, embed.img_size))
        raise UsageError(f"images of {height}x{width}, but the model was built for {built_for}. Resize them to that.")
    return rows, columns


def _embed(model: Any, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the input of the first block, (batch, prefix + patches, dim), and the rotary embedding or None."""
    embedded = model._pos_embed(model.patch_embed(images))  # noqa: SLF001 - timm has no public way to the tokens
    if isinstance(model, Eva):
        tokens, rope = embedded
        return model.norm_pre(tokens), rope
    return model.norm_pre(model.patch_drop(embedded)), None


def _cls_row(block: Any, tokens: Tensor, rope: Tensor | None) -> Tensor:
    """Return the CLS token's row of the block's attention matrix, (batch, heads, keys) float32."""
    attention = block.attn
    normed = block.norm1(tokens)
    query, keys = _query_and_keys(attention, normed)
    if rope is not None:
        # Prefix tokens have no position, so the query of the CLS token is not rotated.
        prefix, patches = keys[:, :, : attention.num_prefix_tokens], keys[:, :, attention.num_prefix_tokens :]
        rotated: Tensor = apply_rot_embed_cat(patches, rope, half=attention.rotate_half)
        keys = torch.cat([prefix, rotated.type_as(prefix)], dim=2)
    if keys.shape[1] < query.shape[1]:  # grouped-query attention: several query heads share a key head
        keys = keys.repeat_interleave(query.shape[1] // keys.shape[1], dim=1)
    scores = _scores(query.float() * attention.scale, keys.float())
    return scores.softmax(dim=-1).squeeze(2)


def _scores(query: Tensor, keys: Tensor) -> Tensor:
    """Return the products of one query with all keys, (batch, heads, 1, keys) float32.

    On a CPU the libraries round differently when a matrix starts at another address modulo 64 bytes. So each image has
    a product of its own, with matrices of its own, and its scores do not depend on its place in the batch. A graph that
    is exported takes batches of any size, so there it is one product.
    """
    if query.device.type != "cpu" or is_recorded():
        return query @ keys.transpose(-2, -1)
    alone = [one @ other.transpose(-2, -1).contiguous() for one, other in zip(query, keys, strict=True)]
    return torch.stack(alone)


def _query_and_keys(attention: Any, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the query of token 0 and the keys of all tokens.

    Returns:
        (batch, heads, 1, head dim) and (batch, key heads, keys, head dim).
    """
    if attention.qkv is None:
        query = attention.q_proj(normed[:, :QUERY_ROWS])[:, :1]
        keys = attention.k_proj(normed)
    else:
        # The rows of the fused weight are those of q, then k, then v; v is not needed.
        query_weight, key_weight, _ = attention.qkv.weight.chunk(3)
        query_bias, key_bias = _fused_biases(attention)
        query = functional.linear(normed[:, :QUERY_ROWS], query_weight, query_bias)[:, :1]
        keys = functional.linear(normed, key_weight, key_bias)
    by_head = (-1, attention.head_dim)
    query = query.unflatten(-1, by_head).transpose(1, 2)
    keys = keys.unflatten(-1, by_head).transpose(1, 2)
    return attention.q_norm(query), attention.k_norm(keys)


def _fused_biases(attention: Any) -> tuple[Tensor | None, Tensor | None]:
    if isinstance(attention, EvaAttention):  # keeps them outside the projection; the key's bias is fixed at zero
        return attention.q_bias, attention.k_bias
    if attention.qkv.bias is None:
        return None, None
    query_bias, key_bias, _ = attention.qkv.bias.chunk(3)
    return query_bias, key_bias

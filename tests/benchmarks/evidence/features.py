"""Compute what a transformer knows of every patch, beyond the attention of its CLS token.

| source | features of a patch | dimensions |
|---|---|---|
| `tokens` | output of the last block after the final layer norm | width of the transformer |
| `tokens4` | the same of the last four blocks, concatenated | 4 × width |
| `queries`, `keys`, `values` | in the last block, all heads concatenated | width |

As in `get_intermediate_layers` of facebookresearch/dino, the final norm is applied to the output of each block. Prefix
tokens (CLS and registers) are left out. Two further functions give attention of other queries than that of CLS:
`attention_of_patches` and `attention_of_queries`.

The last bits of features may depend on the other images of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.attention import cls_attention
from stages.errors import UnsupportedModelError, UsageError

__all__ = ["PROJECTED", "SOURCES", "attention_of_patches", "attention_of_queries", "patch_features"]

PROJECTED = ("queries", "keys", "values")
SOURCES = ("tokens", "tokens4", *PROJECTED)
SEVERAL = 4
"""Number of blocks of `tokens4`."""
Blocks = Sequence[tuple[Any, Tensor | None]]
"""Blocks, each with its rotary embedding or None."""
QUERIES_AT_ONCE = 256
"""Rows of the attention matrix that are in memory at the same time."""


@torch.inference_mode()
def patch_features(model: nn.Module, images: Tensor, source: str) -> Tensor:
    """Return the features of every patch.

    Args:
        model: timm's `VisionTransformer`, or `Eva` for tokens, in eval mode.
        images: (batch, 3, height, width), normalised.
        source: a name in `SOURCES`.

    Returns:
        (batch, patches, dimensions) float32.

    Raises:
        UnsupportedModelError: the class of the model is unknown, or its source cannot be read.
        UsageError: the model has fewer blocks than the source needs.
    """
    blocks, tokens = _start(model, images)
    if source in PROJECTED:
        _require_plain(model, source)
        tokens = _run(blocks[:-1], tokens)
        parts = dict(zip(PROJECTED, _queries_keys_values(blocks[-1][0], tokens), strict=True))
        return _patches(model, parts[source].transpose(1, 2).flatten(2))
    wanted = SEVERAL if source == "tokens4" else 1
    if len(blocks) < wanted:
        raise UsageError(f"{source}: the transformer has {len(blocks)} blocks, and {wanted} are needed. Use tokens.")
    tokens = _run(blocks[:-wanted], tokens)
    outputs = []
    for block in blocks[-wanted:]:
        tokens = _run([block], tokens)
        outputs.append(_patches(model, _normed(model, tokens)))
    return torch.cat(outputs, dim=-1)


@torch.inference_mode()
def attention_of_patches(model: nn.Module, images: Tensor, layers: Sequence[int]) -> Tensor:
    """Return the attention that every patch gets from all patches, averaged over them.

    Args:
        model: timm's `VisionTransformer` in eval mode.
        images: (batch, 3, height, width), normalised.
        layers: blocks, counted from 0.

    Returns:
        (batch, layers * heads, patches) float32 probabilities, in the order of the layers.
    """
    _require_plain(model, "attention of patches")
    blocks, tokens = _start(model, images)
    rows = {}
    for index, (block, rope) in enumerate(blocks):
        if index in layers:
            queries, keys, _ = _queries_keys_values(block, tokens)
            patches = queries[:, :, _prefix(model) :]
            total = torch.zeros_like(keys[..., 0])
            for some in torch.split(patches, QUERIES_AT_ONCE, dim=2):
                total += _probabilities(block, some, keys).sum(dim=2)
            rows[index] = (total / patches.shape[2])[:, :, _prefix(model) :]
        if index == max(layers):
            break
        tokens = _run([(block, rope)], tokens)
    return torch.cat([rows[layer] for layer in layers], dim=1)


@torch.inference_mode()
def attention_of_queries(model: nn.Module, images: Tensor, queries: Tensor) -> Tensor:
    """Return the attention of given queries to every patch in the last block.

    Args:
        model: timm's `VisionTransformer` in eval mode.
        images: (batch, 3, height, width), normalised.
        queries: (query, width): all heads concatenated, as `patch_features` returns them.

    Returns:
        (batch, query * heads, patches) float32 probabilities: all heads of the first query, then of the second.
    """
    _require_plain(model, "attention of queries")
    blocks, tokens = _start(model, images)
    last = blocks[-1][0]
    _, keys, _ = _queries_keys_values(last, _run(blocks[:-1], tokens))
    by_head = queries.to(keys).reshape(len(queries), keys.shape[1], keys.shape[3])  # (query, head, head dimension)
    attention = _probabilities(last, by_head.transpose(0, 1)[None], keys)[..., _prefix(model) :]
    return attention.transpose(1, 2).flatten(1, 2)


def _require_plain(model: nn.Module, what: str) -> None:
    if type(model) is not VisionTransformer:
        raise UnsupportedModelError(
            f"{what}: the transformer is of class {type(model).__qualname__}, whose queries, keys and values are not "
            "read here. Use `tokens`, or a model of DINO or DINOv2."
        )


def _start(model: nn.Module, images: Tensor) -> tuple[Blocks, Tensor]:
    """Return the blocks with the rotary embedding of each, and the input of the first, (batch, tokens, width)."""
    transformer = cls_attention._checked(model)
    cls_attention._grid(transformer, images)
    tokens, rope = cls_attention._embed(transformer, images)
    ropes: Any = [rope] * len(transformer.blocks)
    if rope is not None and transformer.rope_mixed:
        ropes = rope  # one embedding per block
    return list(zip(transformer.blocks, ropes, strict=True)), tokens


def _run(blocks: Blocks, tokens: Tensor) -> Tensor:
    for block, rope in blocks:
        tokens = block(tokens) if rope is None else block(tokens, rope=rope)
    return tokens


def _queries_keys_values(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the queries, keys and values of a block, each (batch, heads, tokens, head dimension)."""
    attention = block.attn
    joined = attention.qkv(block.norm1(tokens)).unflatten(-1, (3, attention.num_heads, attention.head_dim))
    queries, keys, values = joined.permute(2, 0, 3, 1, 4)
    return attention.q_norm(queries), attention.k_norm(keys), values


def _probabilities(block: Any, queries: Tensor, keys: Tensor) -> Tensor:
    """Return (batch, heads, queries, keys) float32 softmax over all keys."""
    scores: Tensor = (queries.float() * block.attn.scale) @ keys.float().transpose(-2, -1)
    return scores.softmax(dim=-1)


def _normed(model: Any, tokens: Tensor) -> Tensor:
    normed: Tensor = model.norm(tokens)
    return normed


def _patches(model: nn.Module, tokens: Tensor) -> Tensor:
    return tokens[:, _prefix(model) :].float()


def _prefix(model: Any) -> int:
    return int(model.num_prefix_tokens)

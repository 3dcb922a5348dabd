"""Architectures without weights: what `pretrain` can train, and what a transformer of the table is built from.

Two small ones are this project's own. Beside them every class-token ViT that timm builds as its plain
`VisionTransformer` can be named, with or without the image size at the end: `vit_small_patch16`. Other classes are
refused here already, because their attention could not be read afterwards.
"""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from stages.attention.models import OWN_ARCHITECTURES, ModelEntry
from stages.errors import UnknownModelError

__all__ = ["build_transformer", "find_architecture"]


def find_architecture(name: str) -> ModelEntry:
    """The architecture of that name, as an entry without weights.

    Raises:
        UnknownModelError: there is none that can be trained and read; the message names the nearest.
    """
    if name in OWN_ARCHITECTURES:
        return OWN_ARCHITECTURES[name]
    timm_id = next((known for known in (name, f"{name}_224") if timm.is_model(known)), None)
    module = None if timm_id is None else _build_on_meta(timm_id)
    if timm_id is None or module is None:
        raise UnknownModelError(f"architecture {name!r} {_refusal(name, timm_id)}")
    return ModelEntry(
        name=name,
        timm_id=timm_id,
        patch=module.patch_embed.patch_size[0],
        heads=module.blocks[0].attn.num_heads,
        dim=module.embed_dim,
        depth=len(module.blocks),
        licence="",
        source="an architecture; its weights are those of the file given",
        url="",
    )


def build_transformer(entry: ModelEntry, side: int, **options: Any) -> nn.Module:
    """The model without weights for images of `side` by `side`; leaves the global random state as it was.

    Args:
        entry: of the model table, or an architecture.
        side: in pixels; divisible by the patch.
        options: passed on to timm's class.
    """
    with torch.random.fork_rng(devices=[]):
        if entry.timm_id:
            module: nn.Module = timm.create_model(
                entry.timm_id, pretrained=False, num_classes=0, img_size=side, **options
            )
        else:
            module = VisionTransformer(
                img_size=side,
                patch_size=entry.patch,
                embed_dim=entry.dim,
                depth=entry.depth,
                num_heads=entry.heads,
                num_classes=0,
                **options,
            )
    return module


def _build_on_meta(timm_id: str) -> Any:
    """The model without memory for its tensors; None where it is of a class that we cannot read."""
    with torch.device("meta"):
        module: Any = timm.create_model(timm_id, pretrained=False, num_classes=0)
    plain = type(module) is VisionTransformer and module.cls_token is not None and module.global_pool == "token"
    blocks = plain and all(type(block) is Block and type(block.attn) is Attention for block in module.blocks)
    return module if blocks else None


def _refusal(name: str, timm_id: str | None) -> str:
    if timm_id is not None:
        return "is no plain ViT with a CLS token, so its attention could not be read. Choose vit_small_patch16, say."
    known = [*OWN_ARCHITECTURES, *(one.removesuffix("_224") for one in timm.list_models("vit_*patch*"))]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or [*OWN_ARCHITECTURES, "vit_small_patch16"]
    return f"is not known. Near it: {', '.join(near)}."

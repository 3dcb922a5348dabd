"""Build transformers without weights: to train them with `pretrain`, or to load weights into them.

Two small architectures are this project's own. The others are those that timm builds as its plain `VisionTransformer`
with a class token. Their names may end in the image size or not: `vit_small_patch16_224`, `vit_small_patch16`. Other
classes are refused before training, because their attention could not be read afterwards.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from stages.attention.models import OWN_ARCHITECTURES, ModelEntry
from stages.errors import UnknownModelError

__all__ = ["Shape", "build_outline", "build_transformer", "find_architecture", "shape_in_timm"]

_PLAIN_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?", re.ASCII)


def find_architecture(name: str) -> ModelEntry:
    """Return the architecture of a name, as a table entry without weights.

    Raises:
        UnknownModelError: there is no such architecture, or its attention cannot be read. The message names similar
            ones.
    """
    if name in OWN_ARCHITECTURES:
        return OWN_ARCHITECTURES[name]
    timm_id = next((known for known in (name, f"{name}_224") if _is_timms(known)), None)
    shape = None if timm_id is None else shape_in_timm(timm_id)
    if timm_id is None or shape is None:
        raise UnknownModelError(f"architecture {name!r} {_refusal(name, timm_id)}")
    return ModelEntry(
        name=name,
        timm_id=timm_id,
        patch=shape.patch,
        heads=shape.heads,
        dim=shape.dim,
        depth=shape.depth,
        licence="",
        source="an architecture; its weights come from the file given",
        url="",
    )


@dataclass(frozen=True)
class Shape:
    """Hold the sizes of a transformer that its file or its name must agree with."""

    patch: int
    """Side of a patch in pixels."""
    heads: int
    dim: int
    """Width of a token."""
    depth: int
    """Number of blocks."""


@lru_cache(maxsize=64)  # building the network takes a tenth of a second, and a command asks several times
def shape_in_timm(timm_id: str) -> Shape | None:
    """Return the sizes of a plain ViT of timm's own list; None for any other name.

    The name may come from a file. timm takes names such as `hf-hub:…` and `local-dir:…` too, and would ask the network
    or read that folder. So the name is looked up in timm's list before timm sees it.
    """
    module = _build_on_meta(timm_id) if _is_timms(timm_id) else None
    if module is None:
        return None
    return Shape(
        patch=module.patch_embed.patch_size[0],
        heads=module.blocks[0].attn.num_heads,
        dim=module.embed_dim,
        depth=len(module.blocks),
    )


def build_transformer(entry: ModelEntry, side: int, **options: Any) -> nn.Module:
    """Build the model for images of `side` by `side` pixels. Its weights are timm's random ones.

    The global random state does not change.

    Args:
        entry: An entry of the model table, or an architecture.
        side: Side of the images in pixels; divisible by the patch.
        options: Options of timm's class.
    """
    options = {**dict(entry.options), **options}
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


def build_outline(entry: ModelEntry, side: int, **options: Any) -> nn.Module:
    """Build the model as `build_transformer` does, on torch's device `meta`: shapes without memory and values."""
    family = timm.models.model_entrypoint(entry.timm_id).__module__ if entry.timm_id else VisionTransformer.__module__
    # The class of the plain ViTs can leave out drawing, which takes time on `meta` too. Others have no such option.
    options |= {"weight_init": "skip"} if family == VisionTransformer.__module__ else {}
    with torch.device("meta"):
        return build_transformer(entry, side, **options)


def _is_timms(name: str) -> bool:
    """Return whether a name, with or without the tag of its weights, is in timm's own list."""
    return _PLAIN_NAME.fullmatch(name) is not None and bool(timm.is_model(name))


def _build_on_meta(timm_id: str) -> Any:
    """Build a timm model without memory for its tensors. Return None if its attention cannot be read."""
    try:
        with torch.device("meta"):
            module: Any = timm.create_model(timm_id, pretrained=False, num_classes=0)
    except RuntimeError:  # the part after the dot is not the tag of any weights
        return None
    plain = type(module) is VisionTransformer and module.cls_token is not None and module.global_pool == "token"
    blocks = plain and all(type(block) is Block and type(block.attn) is Attention for block in module.blocks)
    return module if blocks else None


def _refusal(name: str, timm_id: str | None) -> str:
    if timm_id is not None:
        return "is no plain ViT with a CLS token, so its attention cannot be read. Use vit_small_patch16, for example."
    known = [*OWN_ARCHITECTURES, *(one.removesuffix("_224") for one in timm.list_models("vit_*patch*"))]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or [*OWN_ARCHITECTURES, "vit_small_patch16"]
    return f"is not known. Similar names: {', '.join(near)}."

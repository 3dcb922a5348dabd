"""Find models in timm's own list, with their weights and licences: MAE, CLIP, DINOv3, LingBot-Vision and others.

A name is an architecture and a tag: `vit_base_patch16_224.mae`, with or without `timm/` before it. timm's list says
where the weights are, under which licence, and how the images are normalised. Only models whose CLS attention can be
read are accepted; `why_unreadable` gives the reason for the others. timm builds a model on torch's device `meta`, so
asking takes a tenth of a second and no memory.

timm also takes names such as `hf-hub:…` and `local-dir:…`, and would ask the network or read that folder. So a name is
looked up in timm's list before timm sees it.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.layers.attention import Attention, AttentionRope
from timm.layers.patch_embed import PatchEmbed
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer

from stages.attention.foreign_text import quoted
from stages.attention.models import ModelEntry
from stages.attention.options import in_name, of_name
from stages.errors import UnknownModelError

__all__ = [
    "PREFIX",
    "find_in_timm",
    "find_with_options",
    "is_timm_name",
    "list_timm",
    "nearest_names",
    "stated_licence",
    "why_unreadable",
]

PREFIX = "timm/"
_PLAIN_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?", re.ASCII)
_FAMILIES = tuple(
    f"timm.models.{family}" for family in ("vision_transformer", "vision_transformer_hybrid", "deit", "eva")
)
"""Modules of timm whose models are built to see whether they can be read. Others are refused by their names."""
_LICENCES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "cc-by-nc-4.0": "CC-BY-NC-4.0 (no commercial use)",
    "cc-by-nc-nd-4.0": "CC-BY-NC-ND-4.0 (no commercial use, and no changed versions may be passed on)",
    "dinov3-license": "DINOv3 License (Meta's own terms; read them before use)",
    "apple-ascl": "Apple ASCL (Apple's own terms; read them before use)",
    "apple-amlr": "Apple AMLR (for research only; read the terms before use)",
    "nvidia-open-model-license": "NVIDIA Open Model License (read the terms before use)",
    "sapiens2-license": "Sapiens2 License (Meta's own terms; read them before use)",
    "fair-noncommercial-research-license": "FAIR Noncommercial Research License (no commercial use)",
}
_UNKNOWN_LICENCE = "unknown (timm's list does not say; read the page of the weights before use)"


def is_timm_name(name: str) -> bool:
    """Return whether timm knows the architecture of a name. The tag of its weights may be unknown or absent."""
    return _PLAIN_NAME.fullmatch(name) is not None and bool(timm.is_model(name))


def find_in_timm(name: str) -> ModelEntry:
    """Return the entry of a model of timm's list, with its weights if the name has a tag.

    Args:
        name: As timm writes it; `is_timm_name` must hold.

    Raises:
        UnknownModelError: there are no weights of that tag, or the model's attention cannot be read. The message says
            why, or names the tags.
    """
    architecture, _, tag = name.partition(".")
    if tag and tag not in (tags := _tags(architecture)):
        known = f"Known: {', '.join(f'{architecture}.{one}' for one in tags)}." if tags else "There are none."
        raise UnknownModelError(f"model {name!r}: timm has no weights {tag!r} of {architecture}. {known}")
    if (reason := why_unreadable(architecture)) is not None:
        raise UnknownModelError(
            f"model {name!r} {reason}, so its attention cannot be read. "
            "`pipeline models --timm PATTERN` lists those that can."
        )
    return _entry(name)


def find_with_options(name: str) -> ModelEntry:
    """Return the entry of an architecture of timm with options, such as `vit_base_patch16_224:depth=6`.

    Raises:
        UnknownModelError: the architecture or an option is not known, timm cannot build it, or its attention cannot be
            read.
    """
    try:
        architecture, options = of_name(name)
    except ValueError as error:
        raise UnknownModelError(f"model {quoted(name)!r}: {quoted(str(error))}.") from None
    if "." in architecture or not is_timm_name(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models("vit_*"), n=3, cutoff=0.6)
        meant = f" Similar names: {', '.join(near)}." if near else ""
        raise UnknownModelError(f"model {quoted(name)!r}: {quoted(architecture)!r} is no architecture of timm.{meant}")
    if (reason := why_unreadable(architecture)) is not None:
        raise UnknownModelError(f"model {quoted(name)!r} {reason}, so its attention cannot be read.")
    try:
        module = _outline(architecture, tuple(sorted(options.items())))
    except (RuntimeError, TypeError, ValueError, AssertionError, ZeroDivisionError) as error:
        why = str(error).strip().partition("\n")[0] or "sizes that do not fit"
        raise UnknownModelError(f"model {quoted(name)!r}: timm cannot build it ({quoted(why)}).") from None
    return ModelEntry(
        name=in_name(architecture, options),
        timm_id=architecture,
        **_sizes_of(module),
        licence="",
        source="an architecture; its weights come from the file given",
        url="",
        options=tuple(sorted(options.items())),
    )


def stated_licence(text: str) -> str:
    """Return a licence as timm's list or a README of the hub names it, in words; "" stays "".

    Args:
        text: Such as `cc-by-nc-4.0`.
    """
    return _LICENCES.get(text.lower(), text)


def list_timm(pattern: str, progress: Callable[[list[str]], Iterator[str]] = iter) -> list[ModelEntry]:
    """Return the models with weights whose names match a pattern, and whose attention can be read, in order of name.

    Args:
        pattern: A name with `*` and `?`; without them, a part of a name.
        progress: Goes through the names while they are tried.
    """
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = [name for name in timm.list_pretrained() if fnmatch.fnmatchcase(name, wanted)]
    return [_entry(name) for name in progress(names) if why_unreadable(name.partition(".")[0]) is None]


def nearest_names(name: str, count: int = 3) -> list[str]:
    """Return names of timm's list that are similar to a name: with a tag if it has one."""
    known = timm.list_pretrained() if "." in name else timm.list_models()
    return difflib.get_close_matches(name, known, n=count, cutoff=0.6)


@lru_cache(maxsize=256)
def why_unreadable(architecture: str) -> str | None:
    """Return why the CLS attention of an architecture cannot be read, as the end of a sentence; None if it can.

    Args:
        architecture: A name of timm's list without a tag.
    """
    family = timm.models.model_entrypoint(architecture).__module__
    if family not in _FAMILIES:
        return f"is no plain ViT (timm's {family.rpartition('.')[2]}): no CLS token looks at all patches at once"
    module = _outline(architecture)
    return _unknown_class(module) or _no_trained_token(module, architecture)


def _unknown_class(module: Any) -> str | None:
    if type(module) not in (VisionTransformer, Eva):
        return f"is of timm's class {type(module).__name__}, which has other tokens or another order of them"
    for block in module.blocks:
        if type(block) not in (Block, EvaBlock):
            return f"has blocks of timm's class {type(block).__name__}, which compute attention in another way"
        if type(block.attn) not in (Attention, EvaAttention, AttentionRope):
            return f"has attention of timm's class {type(block.attn).__name__}, which is computed in another way"
    if type(module.patch_embed) is not PatchEmbed or len(set(module.patch_embed.patch_size)) > 1:
        return "cuts images with a convolutional network, not into square patches"
    return None


def _no_trained_token(module: Any, architecture: str) -> str | None:
    pooling = {"map": "by a head of their own (map)"}.get(module.global_pool, "by their mean")
    if module.cls_token is None:
        return f"has no CLS token: it pools the patches {pooling}"
    if module.global_pool != "token" and "_dinov3" not in architecture:  # timm averages DINOv3; Meta uses the token
        return f"pools the patches {pooling}: its CLS token was not trained to look at the image"
    return None


@lru_cache(maxsize=4)
def _outline(architecture: str, options: tuple[tuple[str, Any], ...] = ()) -> Any:
    with torch.device("meta"):
        return timm.create_model(architecture, pretrained=False, num_classes=0, **dict(options))


def _tags(architecture: str) -> list[str]:
    return [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]


@lru_cache(maxsize=512)
def _sizes(architecture: str) -> dict[str, Any]:
    return _sizes_of(_outline(architecture))


def _sizes_of(module: Any) -> dict[str, Any]:
    return {
        "patch": module.patch_embed.patch_size[0],
        "heads": module.blocks[0].attn.num_heads,
        "dim": module.embed_dim,
        "depth": len(module.blocks),
    }


def _entry(name: str) -> ModelEntry:
    architecture, _, tag = name.partition(".")
    sizes = _sizes(architecture)
    if not tag:
        tags = ", ".join(f"{architecture}.{one}" for one in _tags(architecture))
        source = f"an architecture; its weights come from the file given{f'. timm has weights: {tags}' if tags else ''}"
        return ModelEntry(name=name, timm_id=name, **sizes, licence="", source=source, url="")
    config: Any = timm.get_pretrained_cfg(name)
    hub = config.hf_hub_id or f"timm/{name}"
    paper = f"{config.paper_name}; " if getattr(config, "paper_name", None) else ""
    return ModelEntry(
        name=name,
        timm_id=name,
        **sizes,
        licence=_LICENCES.get(config.license, config.license or _UNKNOWN_LICENCE),
        source=f"{paper}{getattr(config, 'origin_url', None) or f'https://huggingface.co/{hub}'}",
        url=f"https://huggingface.co/{hub}/resolve/main/model.safetensors",
        hub=hub,
        mean=tuple(config.mean),
        std=tuple(config.std),
    )

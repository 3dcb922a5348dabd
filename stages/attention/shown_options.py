"""Find options of an architecture that the tensors of a file show: layer scale, SwiGLU and register tokens.

The pages of many encoders pass these to timm's constructor as Python objects, so no `config.json` holds them:
`timm.create_model("hf-hub:paige-ai/Virchow2", mlp_layer=SwiGLUPacked, act_layer=SiLU)`. A SwiGLU has a first layer
twice as wide as the input of the second; its activation, SiLU, cannot be seen, and all published ones have it. The
number of heads cannot be seen at all: the name of the model or its `config.json` gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import timm
from timm.layers.mlp import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.attention.models import ModelEntry

__all__ = ["options_in"]

_FIRST = ("mlp.fc1.weight", "mlp.w12.weight")
_SECOND = ("mlp.fc2.weight", "mlp.w3.weight")
_USUAL = 4  # width of the hidden layer relative to that of a token
_REGISTERS = ("reg_token", "register_tokens")


def options_in(entry: ModelEntry, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return options of timm's constructor for the weights of a user's file; {} for a model whose weights are known.

    Args:
        entry: The model.
        tensors: In the publisher's layout or in timm's.
    """
    if entry.url or entry.file.endswith(".safetensors"):
        return {}
    options: dict[str, Any] = {"init_values": 1.0} if "blocks.0.ls1.gamma" in tensors else {}
    if entry.timm_id and not _is_plain(entry.timm_id):
        return options
    return options | _mlp(tensors) | _registers(tensors)


def _is_plain(timm_id: str) -> bool:
    """Return whether timm builds the architecture in the module of its plain ViT."""
    architecture = timm_id.partition(".")[0]
    known = timm.is_model(architecture)
    return known and timm.models.model_entrypoint(architecture).__module__ == VisionTransformer.__module__


def _mlp(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    first, second = (_named(tensors, [f"blocks.0.{name}" for name in names]) for names in (_FIRST, _SECOND))
    if first is None or second is None or first.ndim != 2 or second.ndim != 2 or not first.shape[1]:  # noqa: PLR2004 - matrices
        return {}
    if first.shape[0] == second.shape[1] == _USUAL * first.shape[1]:
        return {}
    ratio = (first.shape[0] + 0.5) / first.shape[1]  # timm rounds the width down
    if first.shape[0] == 2 * second.shape[1]:
        return {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": ratio}
    return {"mlp_ratio": ratio} if first.shape[0] == second.shape[1] else {}


def _registers(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    registers, positions = _named(tensors, _REGISTERS), tensors.get("pos_embed")
    if registers is None or registers.ndim != 3 or positions is None or positions.ndim != 3:  # noqa: PLR2004 - (1, tokens, dim)
        return {}
    count, patches = registers.shape[1], positions.shape[1]
    if math.isqrt(patches) ** 2 != patches and math.isqrt(max(patches - 1 - count, 0)) ** 2 == patches - 1 - count:
        return {"reg_tokens": count, "no_embed_class": False}  # a position for every token
    return {"reg_tokens": count, "no_embed_class": True}


def _named(tensors: Mapping[str, Tensor], names: list[str] | tuple[str, ...]) -> Tensor | None:
    return next((tensors[name] for name in names if name in tensors), None)

"""Resample position embeddings to the grid of the wanted input size.

| rule | arithmetic | of whom |
|---|---|---|
| `bicubic-antialias` | bicubic with antialiasing, to the size in patches | timm; DINOv2 with registers |
| `bicubic-offset` | bicubic without, by the factor (patches + 0.1) / patches of the weights | DINO, DINOv2 |
| `bicubic` | bicubic without, to the size in patches | Hugging Face transformers, for DINO and DINOv2 |
| `rope` | nothing to resample: rotary embeddings are computed for every size | DINOv3 |

Sources: `interpolate_pos_encoding` in facebookresearch/dino (vision_transformer.py) and facebookresearch/dinov2, with
the arguments of its hubconf: `interpolate_offset=0.1, interpolate_antialias=False`; with registers 0.0 and True. The
offset moves every sampled position by a fraction of a patch. transformers has no offset
(`modeling_vit.py`, `modeling_dinov2.py`), and for DINOv2 with registers the rule of the publisher. At the size of the
weights nothing is resampled.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.attention.models import ModelEntry
from stages.attention.recipe import PositionEmbedding
from stages.errors import UsageError
from stages.settings import PositionRule

__all__ = ["fit_positions", "resample", "rule_of"]

_OFFSET = 0.1  # patches
_RULES: dict[str, PositionEmbedding] = {"timm": "bicubic-antialias", "transformers": "bicubic"}


def fit_positions(module: Any, entry: ModelEntry, input_size: tuple[int, int], rule: PositionRule) -> PositionEmbedding:
    """Set a transformer to an input size, and resample its position embeddings by a rule.

    Args:
        module: timm's transformer, built for the size of its weights. It is changed.
        entry: The model.
        input_size: (height, width) in pixels.
        rule: `timm`, `transformers`, or `original`: the rule of the model's publisher.

    Returns:
        What was done, as a recipe says it.

    Raises:
        UsageError: the original rule of this model is not known.
    """
    positions = module.pos_embed
    native = tuple(input_size) == tuple(module.patch_embed.img_size)
    module.set_input_size(img_size=input_size)
    if positions is None:
        return "rope"
    if native:
        return "native"
    registers = module.num_prefix_tokens > 1
    done = _original_rule(entry) if rule == "original" else _RULES[rule]
    if done == "bicubic-antialias" or (rule == "transformers" and registers):
        return "bicubic-antialias"
    offset = _OFFSET if done == "bicubic-offset" else 0.0
    module.pos_embed = nn.Parameter(resample(positions.detach(), module.patch_embed.grid_size, offset=offset))
    return done


def rule_of(done: PositionEmbedding) -> PositionRule:
    """Return the rule with which `fit_positions` does again what a recipe says."""
    rules: dict[PositionEmbedding, PositionRule] = {"bicubic-offset": "original", "bicubic": "transformers"}
    return rules.get(done, "timm")


def resample(positions: Tensor, grid: tuple[int, int], *, offset: float) -> Tensor:
    """Resample position embeddings with a bicubic filter without antialiasing.

    Args:
        positions: (1, 1 + n * n, dim): the CLS token's, then those of a square of n by n patches, row by row.
        grid: (rows, columns) of patches.
        offset: Patches that are added to the wanted number for the factor: 0.1 as DINO does, or 0.

    Returns:
        (1, 1 + rows * columns, dim).
    """
    of_cls, of_patches = positions[:, :1], positions[:, 1:]
    side = math.isqrt(of_patches.shape[1])
    as_image = of_patches.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = ((grid[0] + offset) / side, (grid[1] + offset) / side)
    wanted: dict[str, Any] = {"scale_factor": factor} if offset else {"size": grid}
    resized = functional.interpolate(as_image, mode="bicubic", **wanted)
    return torch.cat([of_cls, resized.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)


def _original_rule(entry: ModelEntry) -> PositionEmbedding:
    """Return the publisher's rule for sizes other than that of the weights."""
    architecture, _, tag = entry.timm_id.partition(".")
    if tag == "dino" or (architecture.endswith("_dinov2") and "_reg" not in architecture):
        return "bicubic-offset"
    if architecture.endswith("_dinov2") or not architecture or entry.file.endswith(".safetensors"):
        return "bicubic-antialias"  # those of `pretrain` are trained with timm's rule
    raise UsageError(
        f"--position-embedding original: it is not known how the publisher of {entry.name} resamples its position "
        "embeddings. Use `--position-embedding timm`, or the attention size of the weights."
    )

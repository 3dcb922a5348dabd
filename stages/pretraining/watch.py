"""Measure, without labels, whether a run learns: signs of collapse, and the contrast of the heads' maps.

A collapsed run predicts the same for every image. Then the teacher's targets are spread evenly over all prototypes
(entropy at its maximum, ln(prototypes)), or all are on one prototype (entropy 0), or its CLS tokens no longer differ.
Each is normal for a while at the start, so it counts only after the warm-up and in several consecutive rows.

The contrast of a head's map shows whether it attends to anything in particular. Where masks are given, the separation
shows how well the map distinguishes mask from background. The masks are never used for training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stages.attention.cls_attention import cls_attention
from stages.errors import PipelineError
from stages.pretraining.crops import normalise
from stages.runs.history import Row
from store.statistics import statistics_of_maps

__all__ = ["Watched", "feature_deviation", "head_figures", "head_maps", "require_sound"]

PATIENCE = 5
"""Consecutive rows that must agree before a run counts as collapsed."""
NEAR_UNIFORM, NEAR_ZERO = 0.995, 0.005
"""Shares of ln(prototypes)."""
LEAST_DEVIATION = 0.005
IMAGES_AT_A_TIME = 4


@dataclass(frozen=True)
class Watched:
    """Images whose maps are measured."""

    images: Tensor
    """(n, 3, side, side) uint8."""
    masks: Tensor
    """(n, side, side) uint8: 0 background, 1 mask, 255 unknown."""


def feature_deviation(tokens: Tensor) -> Tensor:
    """Return how much CLS tokens differ from image to image: 0 if all are equal, 1 if their directions are random.

    Args:
        tokens: (n, dim).

    Returns:
        Scalar: tokens are scaled to length 1, and the deviations of their elements are averaged and multiplied by the
        root of `dim` (as in Chen & He 2021, section 4.1).
    """
    directions = nn.functional.normalize(tokens.float(), dim=-1)
    return directions.std(dim=0, correction=0).mean() * math.sqrt(tokens.shape[1])


@torch.no_grad()
def head_maps(backbone: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """Return the last block's CLS attention of uint8 images: (n, heads, rows, columns) float32 on the CPU."""
    parts = [
        cls_attention(backbone, normalise(part.to(device).float() / 255), [-1]).cpu()
        for part in torch.split(images, IMAGES_AT_A_TIME)
    ]
    return torch.cat(parts)


def head_figures(maps: Tensor, masks: Tensor) -> Row:
    """Return contrast and separation of every head, averaged over images, and their means over heads.

    Args:
        maps: (n, heads, rows, columns).
        masks: (n, side, side) uint8; 255 is ignored.

    Returns:
        `contrast`, `contrast_H0`, …, `separation`, `separation_H0`, …; a separation is None if no image has both
        mask and background.
    """
    figures = statistics_of_maps(maps.numpy(), masks[:, None].numpy())
    row: Row = {}
    for column, name in ((1, "contrast"), (2, "separation")):
        known = np.isfinite(figures[:, :, column]).all(axis=1)
        means = figures[known, :, column].mean(axis=0).tolist() if known.any() else [None] * maps.shape[1]
        row[name] = sum(means) / len(means) if known.any() else None
        row |= {f"{name}_H{head}": mean for head, mean in enumerate(means)}
    return row


def require_sound(history: Sequence[Row], *, prototypes: int, warmup: int) -> None:
    """Stop a run that diverged or collapsed.

    Args:
        history: all rows so far.
        prototypes: outputs of the projection head.
        warmup: rows up to this step do not count as collapsed.

    Raises:
        PipelineError: the loss is not finite, or the last rows agree that the run has collapsed; the message says which
            sign was found and what to change.
    """
    last = history[-1]
    if not all(math.isfinite(last[name] or 0.0) for name in ("loss", "entropy", "feature_deviation")):
        raise PipelineError(
            f"step {last['step']:.0f}: the loss is {last['loss']}. The state that was saved before is kept.\n"
            "  Pretrain with a lower --lr, a lower --clip, or --precision float32."
        )
    recent = [row for row in history[-PATIENCE:] if (row["step"] or 0) > warmup]
    if len(recent) < PATIENCE:
        return
    for sign in _SIGNS:
        if all(sign.shows(row, math.log(prototypes)) for row in recent):
            raise PipelineError(
                f"step {last['step']:.0f}: the run has collapsed: {sign.description}, from step "
                f"{recent[0]['step']:.0f} on {_shown(last, math.log(prototypes))}.\n  Start anew with {sign.remedy}."
            )


@dataclass(frozen=True)
class _Sign:
    """A sign of collapse: its test, its description and its remedy."""

    shows: Callable[[Row, float], bool]
    description: str
    remedy: str


_SIGNS = (
    _Sign(
        lambda row, most: (row["entropy"] or 0.0) > NEAR_UNIFORM * most,
        "the teacher predicts all prototypes equally for every image",
        "--batch-norm, --centring sinkhorn, a larger --batch-size, or a lower --teacher-temperature",
    ),
    _Sign(
        lambda row, most: (row["entropy"] or 0.0) < NEAR_ZERO * most,
        "the teacher predicts one prototype for every image",
        "--centring sinkhorn, or a higher --teacher-temperature",
    ),
    _Sign(
        lambda row, _: (row["feature_deviation"] or 0.0) < LEAST_DEVIATION,
        "the CLS tokens of different images are the same",
        "a lower --lr, a lower --weight-decay-end, or --batch-norm; and make sure that the images differ",
    ),
)


def _shown(row: Mapping[str, float | None], most: float) -> str:
    return (
        f"(entropy {row['entropy']:.3f} of at most {most:.3f}, feature deviation {row['feature_deviation']:.4f}, "
        f"loss {row['loss']:.3f})"
    )

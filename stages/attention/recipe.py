"""What determines the bytes of the attention maps, and nothing else.

Two extractions with equal recipes give equal maps on the same machine, so a recipe's digest names a memo, is kept
in a store, and is compared before a trained network is given new maps. Hence no clock, host, path, device or
batch size in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.errors import CheckpointError

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that determines the attention maps of an image."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model: str
    """Name in the model table; for weights in a file of our own, the name of the architecture."""
    timm_id: str
    """timm's architecture and tag; empty for a model that this project builds itself."""
    weights_sha256: str
    """Digest of the weights' tensors, whatever file they came in."""
    layers: tuple[int, ...]
    """Blocks whose heads are kept, counted from 0."""
    heads: tuple[str, ...]
    """Names of the heads in their order, e.g. `L11H0`."""
    input_size: tuple[int, int]
    """(height, width) in pixels of the image the transformer sees."""
    patch: int
    """Side of a patch in pixels."""
    grid: tuple[int, int]
    """(rows, columns) of patches."""
    keys: int
    """Tokens that share one row of attention: patches and prefix tokens."""
    resize_rule: Literal["pillow-bilinear-antialias, jpeg-reduced-to-2x"] = (
        "pillow-bilinear-antialias, jpeg-reduced-to-2x"
    )
    """How an image is brought to `input_size`: straight, aspect not kept; a JPEG is decoded at a half, a quarter or an
    eighth where both sides stay at least twice the longer side of `input_size`."""
    mean: tuple[float, float, float]
    """Subtracted from the red, green and blue channel in [0, 1]."""
    std: tuple[float, float, float]
    """What the channels are then divided by."""
    precision: Literal["float32", "bfloat16"]
    """Arithmetic of the transformer; the softmax is in float32 always."""
    position_embedding: Literal["native", "bicubic-antialias", "rope"]
    """`native` where the grid is that of the weights, resampled, or rotary."""
    stored_as: Literal["probability*keys float16"] = "probability*keys float16"
    """What one number of a map is: uniform attention is 1.0."""

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the recipe as JSON with sorted keys and no spaces."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The recipe in JSON's types; `from_dict` gives it back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote.

        Raises:
            CheckpointError: a key is missing, unknown or holds something else; every such key is told.
        """
        try:
            # Through JSON, because there a list is a strict tuple; as Python it would be refused or guessed at.
            return TypeAdapter(cls).validate_json(json.dumps(dict(raw)))
        except (ValidationError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"not a recipe that this version can read: {_complaints(error)}. It was written by another version "
                "or changed by hand: extract again."
            ) from None


def _complaints(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())

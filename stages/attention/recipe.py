"""Describe what determines the bytes of the attention maps, and nothing else.

Two extractions with equal recipes give equal maps on the same machine. So the digest of a recipe names the memo file,
is kept in a store, and is compared before a trained network is given new maps. A recipe holds no clock time, host,
path, device or batch size.

A recipe may get more fields. So that the memos, stores and runs of older versions stay usable, these rules hold:

- The fields in `ALWAYS_HASHED` are in every dictionary and every digest, whatever their value.
- Every field added later has a default: the value that gives the maps of the versions before it. At its default it is
  left out of the dictionary and of the digest, so the digest of an old recipe stays the same.
- Such a default never changes, because an absent key stands for it.
- A key that this version does not know is an error: a newer version wrote the recipe, and the maps depend on the key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.errors import CheckpointError
from stages.settings import TransformerPrecision

__all__ = ["ALWAYS_HASHED", "FEATURES", "PositionEmbedding", "Recipe"]

PositionEmbedding = Literal["native", "bicubic-antialias", "rope", "bicubic-offset", "bicubic"]

ALWAYS_HASHED = frozenset(
    {
        "model",
        "timm_id",
        "weights_sha256",
        "layers",
        "heads",
        "input_size",
        "patch",
        "grid",
        "keys",
        "resize_rule",
        "mean",
        "std",
        "precision",
        "position_embedding",
        "stored_as",
    }
)
"""The fields of a recipe in version 0.1.0. A change of this set changes the digest of every memo, store and run."""


FEATURES = "features"
"""Key of recipes of maps that `pipeline maps` made from features of another program."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hold all that determines the attention maps of an image."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True)

    model: str
    """Name in the model table; for a weights file of `pipeline pretrain`, the name of the architecture."""
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
    """Number of tokens that share one row of attention: patches and prefix tokens."""
    resize_rule: Literal["pillow-bilinear-antialias, jpeg-reduced-to-2x"] = (
        "pillow-bilinear-antialias, jpeg-reduced-to-2x"
    )
    """Rule for resizing an image to `input_size`. The aspect ratio is not kept.

    A JPEG is decoded at a half, a quarter or an eighth of its size if both sides stay at least twice the longer side of
    `input_size`.
    """
    mean: tuple[float, float, float]
    """Subtracted from the red, green and blue channel in [0, 1]."""
    std: tuple[float, float, float]
    """The channels are divided by these after the subtraction."""
    precision: TransformerPrecision
    """Arithmetic of the transformer; the softmax is always in float32."""
    position_embedding: PositionEmbedding
    """`native`: used at the size of the weights. `bicubic-antialias`: resampled to another size as timm does.
    `bicubic-offset`: resampled as DINO's own code does. `bicubic`: as transformers does. `rope`: rotary.
    See `stages.attention.positions`."""
    stored_as: Literal["probability*keys float16"] = "probability*keys float16"
    """Unit and type of a map's values: uniform attention is 1.0."""
    context: tuple[int, int] = (0, 0)
    """(rows, columns) in pixels that the transformer sees around the image, on every side, beside `input_size`.

    Whole patches. The maps are cut to the image itself, so `grid` does not count them; `keys` does.
    """

    @property
    def seen_size(self) -> tuple[int, int]:
        """(height, width) in pixels of what the transformer sees: the image with its context."""
        return self.input_size[0] + 2 * self.context[0], self.input_size[1] + 2 * self.context[1]

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of `to_dict()` as JSON with sorted keys and no spaces."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in JSON's types, without later fields that are at their default.

        `from_dict` is the inverse.
        """
        values = dataclasses.asdict(self)
        kept = (
            field.name
            for field in dataclasses.fields(self)
            if field.name in ALWAYS_HASHED or values[field.name] != field.default
        )
        return {name: list(values[name]) if isinstance(values[name], tuple) else values[name] for name in kept}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the recipe that `to_dict` wrote, in this version or an older one. Absent keys take their defaults.

        Raises:
            CheckpointError: a key is unknown, is missing and has no default, or holds a value of the wrong type. The
                message names all such keys.
        """
        if FEATURES in raw:
            raise CheckpointError(
                f"the maps are features that another program wrote ({raw.get('model')}), and they cannot be computed "
                "for new images here. `evaluate` scores the images of the store."
            )
        unknown = sorted(map(str, raw.keys() - {field.name for field in dataclasses.fields(cls)}))
        if unknown:
            raise CheckpointError(
                f"the recipe holds {', '.join(unknown)}, which this version does not know: a newer version wrote it. "
                "Update diamant-pipeline, or extract again with this version."
            )
        try:
            # In JSON a list is a tuple under strict rules; as a Python object it would be refused.
            return TypeAdapter(cls).validate_json(json.dumps(dict(raw)))
        except (ValidationError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the recipe cannot be read: {_complaints(error)}. It is damaged or was changed by hand. Extract again."
            ) from None


def _complaints(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())

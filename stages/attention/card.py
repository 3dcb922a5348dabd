"""Describe a weights file of `pipeline pretrain`, in the file's own header.

The card holds the architecture, so that the file alone is enough to build the transformer, and a record of the
training: its settings and its images, without any path. It is read without torch, because the header of a
`.safetensors` file is JSON after an 8-byte length. The tensors are read by `stages.attention.weight_files`.

A card may get more keys:

- A key added later has a default, so older cards can still be read. A key that this version does not know is ignored.
- A change that a reader must understand raises `VERSION`. A card of a newer version is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Interval, Len
from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.attention.foreign_text import quoted
from stages.attention.safetensors_header import read_header
from stages.errors import WeightsError

__all__ = ["METADATA_KEY", "VERSION", "Card", "read_card"]

METADATA_KEY = "diamant_transformer"
VERSION: Final = 1
_REMEDY = "Get the file again."

# A card is a text that anyone can edit, and the sizes in it decide how much memory a transformer takes. The limits are
# twice the largest published ViT or more.
_Count = Annotated[int, Interval(ge=0, lt=2**63)]
_Side = Annotated[int, Interval(ge=1, le=16384)]
_ShortText = Annotated[str, Len(max_length=200)]
_Digest = Annotated[str, Len(min_length=64, max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Describe a pretrained transformer and its training."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True)

    arch: _ShortText
    """Name of the architecture, as `pretrain --arch` takes it."""
    timm_id: _ShortText
    """timm's name of the architecture; empty for one that this project builds itself."""
    patch: Annotated[int, Interval(ge=1, le=256)]
    """Side of a patch in pixels."""
    heads: Annotated[int, Interval(ge=1, le=256)]
    """Number of attention heads in every block; a divisor of `dim`."""
    dim: Annotated[int, Interval(ge=1, le=16384)]
    """Width of a token."""
    depth: Annotated[int, Interval(ge=1, le=256)]
    """Number of blocks."""
    size: _Side
    """Side in pixels of the images that the position embeddings are for."""
    steps: _Count
    """Steps of training."""
    seed: _Count
    images: _Count
    """Number of training images."""
    images_sha256: _Digest
    """SHA-256 over the sorted hexadecimal SHA-256 digests of the image files, one per line."""
    description: str
    """The user's description of the images."""
    licence: str
    init_sha256: _Digest | None
    """Digest of the initial weights; None for random ones."""
    settings: dict[str, Any]
    """Settings of the training, except paths and settings of the machine."""
    figures: dict[str, float | None]
    """The last row of the training's history."""
    version: Literal[1] = VERSION

    def to_json(self) -> str:
        """Return the card as JSON, as the file's header holds it."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def source(self) -> str:
        """Describe in one line where the weights come from."""
        data = f"{self.images:,} images" + (f" ({self.description})" if self.description else "")
        return f"`pipeline pretrain`: DINO (Caron et al. 2021), {data}, {self.steps:,} steps, seed {self.seed}"


def read_card(path: Path) -> Card | None:
    """Return the card of a weights file. Return None if the file is a folder, no `.safetensors`, or has no card.

    Raises:
        WeightsError: the file cannot be read, or its card is damaged or of a newer version.
    """
    if path.is_dir():
        return None
    metadata = (_header(path) or {}).get("__metadata__")
    if not isinstance(metadata, dict) or METADATA_KEY not in metadata:
        return None
    try:
        raw = json.loads(metadata[METADATA_KEY])
        if raw["version"] > VERSION:
            raise WeightsError(
                f"{path}: its description is of version {quoted(str(raw['version']))}; this program reads {VERSION}. "
                "Update diamant-pipeline."
            )
        card = TypeAdapter(Card).validate_json(metadata[METADATA_KEY])  # strict rules for JSON, not for objects
    except ValidationError as error:
        raise WeightsError(f"{path}: its description is damaged ({_complaint(error)}). {_REMEDY}") from None
    except (KeyError, TypeError, ValueError, RecursionError):
        raise WeightsError(f"{path}: its description is damaged. {_REMEDY}") from None
    if card.dim % card.heads:
        raise WeightsError(
            f"{path}: its description is damaged (dim {card.dim} is not divisible by heads {card.heads}). {_REMEDY}"
        )
    return card


def _header(path: Path) -> dict[str, Any] | None:
    """Return the header of a `.safetensors` file; None for any other file."""
    try:
        return read_header(path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such weights file. Check the path.") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from None


def _complaint(error: ValidationError) -> str:
    """Return the first wrong key of a card, its value and the reason."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"])) or "the whole"
    value = f" {quoted(repr(first['input']))}" if isinstance(first["input"], bool | int | float | str) else ""
    return f"{quoted(key)}{value}: {first['msg']}"

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
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from stages.errors import WeightsError

__all__ = ["METADATA_KEY", "VERSION", "Card", "read_card"]

METADATA_KEY = "diamant_transformer"
VERSION: Final = 1
LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format


@dataclass(frozen=True, kw_only=True)
class Card:
    """Describe a pretrained transformer and its training."""

    arch: str
    """Name of the architecture, as `pretrain --arch` takes it."""
    timm_id: str
    """timm's name of the architecture; empty for one that this project builds itself."""
    patch: int
    """Side of a patch in pixels."""
    heads: int
    dim: int
    """Width of a token."""
    depth: int
    """Number of blocks."""
    size: int
    """Side in pixels of the images that the position embeddings are for."""
    steps: int
    """Steps of training."""
    seed: int
    images: int
    """Number of training images."""
    images_sha256: str
    """SHA-256 over the sorted hexadecimal SHA-256 digests of the image files, one per line."""
    description: str
    """The user's description of the images."""
    licence: str
    init_sha256: str | None
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
    """Return the card of a weights file. Return None if the file is not a `.safetensors` or has no card.

    Raises:
        WeightsError: the file cannot be read, or its card is damaged or of a newer version.
    """
    metadata = _header(path).get("__metadata__")
    if not isinstance(metadata, dict) or METADATA_KEY not in metadata:
        return None
    try:
        raw = json.loads(metadata[METADATA_KEY])
        if raw["version"] > VERSION:
            raise WeightsError(
                f"{path}: its description is of version {raw['version']}; this program reads {VERSION}. "
                "Update diamant-pipeline."
            )
        return TypeAdapter(Card).validate_python(raw)
    except (KeyError, TypeError, ValueError, RecursionError, ValidationError):
        raise WeightsError(f"{path}: its description is damaged. Get the file again.") from None


def _header(path: Path) -> dict[str, Any]:
    """Return the JSON header of a `.safetensors` file; an empty dictionary for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            raw = file.read(length) if length <= LONGEST_HEADER else b""
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such weights file. Check the path.") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return {}
    return header if isinstance(header, dict) else {}

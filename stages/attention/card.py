"""What a weights file made by `pipeline pretrain` says of itself, in its header.

A card holds the architecture, so that the file alone is enough to build the transformer, and the record of the
training: what it was told and what it saw, without any path. It is read without torch, since the header of a
`.safetensors` is JSON behind its length; the tensors are the business of `stages.attention.weight_files`.
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
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


@dataclass(frozen=True, kw_only=True)
class Card:
    """A pretrained transformer's description of itself."""

    arch: str
    """Name of the architecture, as `pretrain --arch` takes it."""
    timm_id: str
    """timm's name of it; empty for one that this project builds itself."""
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
    """Steps it was trained for."""
    seed: int
    images: int
    """Images it was trained on."""
    images_sha256: str
    """SHA-256 over the sorted SHA-256 digests of the image files, in hexadecimal, one a line."""
    description: str
    """What the images are, in the words of whoever trained it."""
    licence: str
    init_sha256: str | None
    """Digest of the weights it began with; None for random ones."""
    settings: dict[str, Any]
    """All that the training was told, apart from paths and the machine."""
    figures: dict[str, float | None]
    """The last row of the training's history."""
    version: Literal[1] = VERSION

    def to_json(self) -> str:
        """As kept in the file's header."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def source(self) -> str:
        """Where the weights come from, in one line."""
        data = f"{self.images:,} images" + (f" ({self.description})" if self.description else "")
        return f"`pipeline pretrain`: DINO (Caron et al. 2021), {data}, {self.steps:,} steps, seed {self.seed}"


def read_card(path: Path) -> Card | None:
    """The card of a weights file; None for a file that is no `.safetensors` or has no card.

    Raises:
        WeightsError: the file cannot be read, or its card is damaged or of another version.
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
    """The JSON at the start of a `.safetensors`; empty for any other file."""
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

"""List the known transformers and the sources of their weights.

The names are those of the publishers' hubs (`dino_vits8`), not timm's. The table is plain data: reading it imports
neither torch nor timm, so `--help` and `pipeline models` are fast. `stages.attention.weights` loads the models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MODELS", "OWN_ARCHITECTURES", "UNTRAINED", "ModelEntry"]

UNTRAINED = "untrained_tiny8"

_DINO = "Caron et al. 2021, facebookresearch/dino"
_DINOV2 = "Oquab et al. 2023, facebookresearch/dinov2"
_DINOV3 = "Siméoni et al. 2025, facebookresearch/dinov3"
_APACHE = "Apache-2.0"
_DINOV3_LICENCE = "DINOv3 License (Meta's own terms; read them before use)"
_META = "https://dl.fbaipublicfiles.com"
_HUB = "https://huggingface.co/timm"
_SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class ModelEntry:
    """Describe one transformer of the table."""

    name: str
    """Name that a user writes."""
    timm_id: str
    """timm's architecture and tag; empty for a model that this project builds itself."""
    patch: int
    """Side of a patch in pixels."""
    heads: int
    """Number of attention heads in every block."""
    dim: int
    """Width of a token."""
    depth: int
    """Number of blocks."""
    licence: str
    """Licence of the weights."""
    source: str
    """Paper and repository, or a description of the weights."""
    url: str
    """Address of the published weights file; empty if there is none."""
    file: str = ""
    """Path of the weights file if it is on this disk: shipped with this package, or named by the user."""
    hub: str = ""
    """Repository of the hub with the weights; empty for timm's own, `timm/` and `timm_id`."""
    mean: tuple[float, ...] | None = None
    """Means that are subtracted from red, green and blue in [0, 1]; None for those of ImageNet."""
    std: tuple[float, ...] | None = None
    """Deviations by which the three are divided then; None for those of ImageNet."""
    options: tuple[tuple[str, int | float | bool], ...] = ()
    """Arguments of timm's constructor that differ from those of the architecture; see `stages.attention.options`."""


def _small(name: str, timm_id: str, patch: int, licence: str, source: str, url: str) -> ModelEntry:
    return ModelEntry(name, timm_id, patch, heads=6, dim=384, depth=12, licence=licence, source=source, url=url)


def _base(name: str, timm_id: str, patch: int, licence: str, source: str, url: str) -> ModelEntry:
    return ModelEntry(name, timm_id, patch, heads=12, dim=768, depth=12, licence=licence, source=source, url=url)


_ENTRIES = (
    _small(
        "dino_vits8",
        "vit_small_patch8_224.dino",
        8,
        _APACHE,
        _DINO,
        f"{_META}/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth",
    ),
    _small(
        "dino_vits16",
        "vit_small_patch16_224.dino",
        16,
        _APACHE,
        _DINO,
        f"{_META}/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",
    ),
    _base(
        "dino_vitb8",
        "vit_base_patch8_224.dino",
        8,
        _APACHE,
        _DINO,
        f"{_META}/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth",
    ),
    _base(
        "dino_vitb16",
        "vit_base_patch16_224.dino",
        16,
        _APACHE,
        _DINO,
        f"{_META}/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
    ),
    _small(
        "dinov2_vits14",
        "vit_small_patch14_dinov2.lvd142m",
        14,
        _APACHE,
        _DINOV2,
        f"{_META}/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
    ),
    _base(
        "dinov2_vitb14",
        "vit_base_patch14_dinov2.lvd142m",
        14,
        _APACHE,
        _DINOV2,
        f"{_META}/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    ),
    _small(
        "dinov2_vits14_reg",
        "vit_small_patch14_reg4_dinov2.lvd142m",
        14,
        _APACHE,
        _DINOV2,
        f"{_META}/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth",
    ),
    _base(
        "dinov2_vitb14_reg",
        "vit_base_patch14_reg4_dinov2.lvd142m",
        14,
        _APACHE,
        _DINOV2,
        f"{_META}/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",
    ),
    # Meta's own DINOv3 files are behind a form; timm's copies of the same tensors are not.
    _small(
        "dinov3_vits16",
        "vit_small_patch16_dinov3.lvd1689m",
        16,
        _DINOV3_LICENCE,
        _DINOV3,
        f"{_HUB}/vit_small_patch16_dinov3.lvd1689m/resolve/main/model.safetensors",
    ),
    _base(
        "dinov3_vitb16",
        "vit_base_patch16_dinov3.lvd1689m",
        16,
        _DINOV3_LICENCE,
        _DINOV3,
        f"{_HUB}/vit_base_patch16_dinov3.lvd1689m/resolve/main/model.safetensors",
    ),
    ModelEntry(
        name="dino_phantom_tiny8",
        timm_id="",
        patch=8,
        heads=6,
        dim=96,
        depth=6,
        licence=_APACHE,
        # Equal to `Card.source` of the file.
        source="`pipeline pretrain`: DINO (Caron et al. 2021), 4,000 images (phantoms: pipeline phantom --samples 4000 "
        "--size 192x256 --seed 1000), 1,500 steps, seed 0",
        url="",
        file=str(_SHIPPED / "dino_phantom_tiny8.safetensors"),
    ),
    ModelEntry(
        name=UNTRAINED,
        timm_id="",
        patch=8,
        heads=6,
        dim=96,
        depth=6,
        licence="none needed",
        source="untrained: random weights, for trying the pipeline only",
        url="",
    ),
)

MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}
"""All models by name, in the order of `pipeline models`."""


OWN_ARCHITECTURES: dict[str, ModelEntry] = {
    name: ModelEntry(
        name=name,
        timm_id="",
        patch=8,
        heads=6,
        dim=dim,
        depth=depth,
        licence="",
        source="an architecture; its weights come from the file given",
        url="",
    )
    for name, dim, depth in (("vit_tiny_patch8", 96, 6), ("vit_mini_patch8", 192, 8))
}
"""Architectures that timm does not have, by name. `vit_tiny_patch8` is the network of the untrained model."""

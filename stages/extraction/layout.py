"""Describe the store that an extraction writes: what all of its samples have in common, and its optional columns."""

from __future__ import annotations

from stages.attention.recipe import Recipe
from stages.extraction.preparation import Prepared
from stages.extraction.weights_origin import WeightsOrigin
from stages.imaging.pixel_sizes import size_in_file
from stages.settings import ExtractSettings
from store.writer import Layout

__all__ = ["layout_of_samples"]

LABEL_COLUMNS = ("objects", "lost_objects", "lost_classes")
"""Optional columns of a store with labels."""


def layout_of_samples(settings: ExtractSettings, prepared: Prepared, recipe: Recipe, origin: WeightsOrigin) -> Layout:
    """Return what all samples of the store have in common.

    Args:
        settings: of the extraction.
        prepared: the input, with the rules of its labels and images.
        recipe: of the attention.
        origin: of the transformer's weights.
    """
    rules, labelled = prepared.rules, prepared.labelled
    return Layout(
        size=settings.image_size,
        grid=recipe.grid,
        heads=recipe.heads,
        keys=recipe.keys,
        classes=rules.classes.names,
        images=prepared.decoding.images.to_dict(),
        weights_licence=origin.recorded,
        masks=rules.to_source(prepared.found.rule.to_dict() if labelled else None),
        compress=settings.compress,
        instances=labelled and rules.kind == "instances",
        multilabel=labelled and rules.kind == "multilabel",
        columns=(
            *(LABEL_COLUMNS if labelled else ()),
            "perceptual_hash",
            *_place_columns(prepared),
            *(("mask_digest",) if settings.append else ()),
        ),
        expected=len(prepared.sources),
        per_shard=prepared.shard_step if prepared.shard_step > 1 else 0,
    )


def _place_columns(prepared: Prepared) -> tuple[str, ...]:
    """Return the columns for samples that are parts of larger images, and for images that say the size of a pixel."""
    slices = any(source.part.plane is not None for source in prepared.images)
    tiles = prepared.decoding.images.tile is not None
    sizes = any(size_in_file(source.image, source.part.axis) is not None for source in prepared.images)
    return (
        *(("parent",) if slices or tiles else ()),
        *(("slice",) if slices else ()),
        *(("row", "column") if tiles else ()),
        *(("pixel_mm",) if sizes else ()),
    )

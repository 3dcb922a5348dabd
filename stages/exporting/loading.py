"""Make the network that is exported, from a run and its transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.attention.card import read_card
from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.errors import UsageError
from stages.exporting.networks import Frame, SegmenterNetwork, WholeNetwork, whole_frame
from stages.imaging.image_rules import PAD, ImageRules
from stages.prediction.loading import recipe_of, weights_of
from stages.runs.licences import UNKNOWN, licence_of_run, needs_notice, remark
from stages.segmentation.checkpoint import ModelCard, load_model
from stages.settings import ExportSettings, Size

__all__ = ["Loaded", "load"]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Hold a network that is exported, in evaluation mode on the CPU, and its description."""

    network: nn.Module
    card: ModelCard
    frame: Frame
    """Size of the image that it takes."""
    maps: tuple[int, int, int] | None
    """(head, grid row, grid column) of the maps that it takes; None if it takes an image alone."""
    licence: str
    """Licence of the transformer's weights."""
    notes: tuple[str, ...]
    """Notes for the user of the exported network."""
    settings: ExportSettings

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs in their order."""
        return ["image"] if self.maps is None else ["image", "maps"]

    @property
    def gives_mask(self) -> bool:
        """True if the mask leaves beside the values. The segmenter alone and a MONAI bundle give the values only."""
        return self.maps is None and self.settings.format != "monai-bundle"

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs in their order."""
        return ["mask", self.settings.values] if self.gives_mask else [self.settings.values]

    @property
    def channels(self) -> int:
        """Number of values of every pixel."""
        network = self.card.network
        return network.outputs if self.settings.values == "logits" else network.classes

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Return inputs of a batch size: noise as the image, and maps like those of a transformer."""
        generator = torch.Generator().manual_seed(batch)
        image = torch.randint(0, 256, (batch, 3, *self.frame.size), generator=generator, dtype=torch.uint8)
        inputs = [self.entering(image)]
        if self.maps is not None:
            inputs.append(torch.rand((batch, *self.maps), generator=generator).log().neg().half().float())
        return tuple(inputs)

    def entering(self, image: Tensor) -> Tensor:
        """Return a uint8 image in the type that the network takes."""
        return image if self.settings.pixels == "uint8" else image.float() / 255


def load(settings: ExportSettings) -> Loaded:
    """Load the run, and the transformer if the exported part has one.

    Raises:
        CheckpointError: the run cannot be read.
        WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
        UsageError: weights are given for a network without a transformer.
    """
    segmenter, card = load_model(settings.run, torch.device("cpu"))
    segmenter.requires_grad_(requires_grad=False)
    takes_attention = settings.part == "whole" and card.network.takes_maps
    recipe = recipe_of(card, settings.run) if takes_attention else None
    notes = list(_notes(card, recipe, settings))
    licence = _licence(card, settings)
    if needs_notice(licence):
        notes.append(remark(licence))
    config = card.network
    if recipe is None and settings.weights is not None:
        raise UsageError(
            f"--weights {settings.weights}: what is exported has no transformer, so no weights file is needed.\n"
            "  Leave --weights out."
        )
    alone = settings.part == "segmenter"
    if alone:
        network: nn.Module = SegmenterNetwork(segmenter, card, settings.pixels, settings.values)
    else:
        transformer = None if recipe is None else _transformer(recipe, settings)
        network = WholeNetwork(segmenter, card, transformer, recipe, settings.pixels, settings.values)
    return Loaded(
        network=network.eval().requires_grad_(requires_grad=False),
        card=card,
        frame=whole_frame(config.size, recipe),
        maps=(config.heads, *config.grid) if alone else None,
        licence=licence,
        notes=tuple(notes),
        settings=settings,
    )


def _transformer(recipe: Recipe, settings: ExportSettings) -> nn.Module:
    """Return the transformer of a recipe in float32, with weights rounded to the recipe's precision."""
    weights = weights_of(recipe, settings.weights, offline=settings.offline)
    extractor = AttentionExtractor.from_recipe(recipe, weights=weights, device="cpu", batch_size=1)
    return extractor.module.float()


def _licence(card: ModelCard, settings: ExportSettings) -> str:
    """Return the licence of the transformer's weights: from the run, else from the weights file that is given."""
    found = licence_of_run(card.recipe, card.weights_licence, branches=card.network.branches)
    if found == UNKNOWN and settings.weights is not None and (described := read_card(settings.weights)) is not None:
        return described.licence
    return found


def _notes(card: ModelCard, recipe: Recipe | None, settings: ExportSettings) -> Sequence[str]:
    rules = ImageRules.from_dict(card.images)
    notes = []
    if rules.tile is not None:
        around = "" if recipe is None or not any(recipe.context) else " and a margin of its surroundings"
        notes.append(
            f"the run was trained on tiles: this is the network of one window of {_by(rules.tile.size)}{around}; cut "
            "images into windows and blend the results yourself, or use `pipeline predict`"
        )
    if rules.fit == PAD:
        notes.append("the run pads images: pad yours with black to the aspect of the input, in the middle")
    if rules.window is not None and (card.images or {}).get("window") is not None:
        notes.append(f"values of more than 8 bits were shown by --window {rules.window}: convert yours in this way")
    if recipe is not None and recipe.precision != "float32":
        notes.append(
            f"the transformer computes in float32 here and in {recipe.precision} in the pipeline, so the maps differ a "
            "little from those of the training"
        )
    if settings.part == "whole" and not card.network.takes_maps:
        notes.append("the run takes no maps, so there is no transformer inside")
    return notes


def _by(size: Size | Sequence[Any]) -> str:
    return f"{size[0]} x {size[1]} pixels"

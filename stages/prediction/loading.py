"""Load what a prediction needs of a run: the network, its card, and the transformer of its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.attention.hub import weights_without_network
from stages.attention.recipe import Recipe
from stages.errors import CheckpointError
from stages.imaging.image_rules import ImageRules
from stages.segmentation.checkpoint import load_model

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from stages.segmentation.checkpoint import ModelCard
    from stages.segmentation.network import Segmenter

__all__ = ["LoadedRun", "load_run", "recipe_of", "weights_of"]


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """Hold a trained run that predicts."""

    model: Segmenter
    """The network, on its device, in evaluation mode."""
    card: ModelCard
    recipe: Recipe
    """Recipe of the attention that the network takes."""
    rules: ImageRules
    """Rules by which images are read."""

    @property
    def takes_attention(self) -> bool:
        """True if the network takes attention maps; False for a run with `--branches image`."""
        return self.card.network.takes_maps


def load_run(run: Path, device: torch.device) -> LoadedRun:
    """Read a run.

    Args:
        run: Folder that `train` wrote; of a cross-validation, that of one fold.
        device: Device of the network.

    Raises:
        CheckpointError: it cannot be read, or this version does not know its recipe; the message names the run.
        UsageError: its images were read by a rule that this version does not know.
    """
    model, card = load_model(run, device)
    return LoadedRun(model=model, card=card, recipe=recipe_of(card, run), rules=ImageRules.from_dict(card.images))


def recipe_of(card: ModelCard, run: Path) -> Recipe:
    """Return the recipe of the attention that a run takes.

    Raises:
        CheckpointError: this version does not know it; the message names the run.
    """
    try:
        return Recipe.from_dict(card.recipe)
    except CheckpointError as error:
        raise CheckpointError(f"{run}: {error}") from None


def weights_of(recipe: Recipe, weights: Path | None, *, offline: bool) -> Path | None:
    """Return the weights file to load; None to take the weights from the model's own file or from the hub.

    Raises:
        WeightsError: with `offline`, the weights are not on this disk.
    """
    return weights_without_network(recipe.model, weights) if offline else weights

"""Make runs of every form for the tests of exports, without training: random weights, and statistics of usual size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.imaging.resizing import resize_image
from stages.segmentation.batches import TensorBatch
from stages.segmentation.checkpoint import ModelCard, described_by, load_model, save_model
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.network import NetworkConfig, Segmenter
from store import AttentionStore


def make_run(
    folder: Path,
    store: Path,
    *,
    norm: str = "log",
    images: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    **form: Any,
) -> Path:
    """Write a run for the samples of a store.

    Args:
        folder: of the run; made.
        store: its recipe, sizes and classes are those of the run.
        norm: scaling of the maps.
        images: rules for images, in place of the store's.
        recipe: fields of the recipe in place of the store's.
        form: fields of `NetworkConfig` in place of the usual ones.
    """
    opened = AttentionStore.open(store)
    usual: dict[str, Any] = {
        "size": opened.size,
        "grid": opened.grid,
        "heads": len(opened.heads),
        "classes": len(opened.classes),
        "branches": "dual",
        "width": 4,
        "blocks": "residual",
        "fusion": "levels",
        "stem": "light",
    }
    config = NetworkConfig(**{**usual, **form})
    described = described_by(opened)
    if config.classes != len(opened.classes):
        described["classes"] = ["none", *(f"label {number}" for number in range(1, config.classes))]
    changed = replace(Recipe.from_dict(opened.recipe), **(recipe or {}))
    described |= {"recipe": changed.to_dict(), "recipe_sha256": changed.sha256}
    card = ModelCard(
        network=config,
        attention_norm=norm,
        epoch=1,
        val_dice=None,
        **{**described, "images": images or described["images"]},
    )
    torch.manual_seed(0)
    network = Segmenter(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():  # labels differ from pixel to pixel
        entering = torch.randn(8, 3, *config.size), torch.randn(8, config.heads, *config.attention_size)
        logits = network.eval()(*entering)
        network.head.weight.mul_(2 / logits.std())
        network.head.bias.copy_((network.head.bias - logits.mean(dim=(0, 2, 3))) * 2 / logits.std())
    folder.mkdir(parents=True)
    save_model(folder / "model.safetensors", network.state_dict(), card)
    return folder


def from_maps(run: Path, images: NDArray[np.uint8], maps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return the probabilities that the pipeline computes, (n, class, row, column).

    Args:
        run: made by `make_run`.
        images: (n, row, column, 3) at the size of the store.
        maps: (n, head, grid row, grid column).
    """
    network, card = load_model(run, torch.device("cpu"))
    batch = TensorBatch(
        torch.from_numpy(images).movedim(-1, 1),
        torch.zeros(images.shape[:3], dtype=torch.uint8),
        torch.from_numpy(maps),
    )
    return predict_probabilities(network, batch, card.attention_norm).numpy()


def from_images(run: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities that the pipeline computes from images at the size that an exported whole takes."""
    _, card = load_model(run, torch.device("cpu"))
    recipe = Recipe.from_dict(card.recipe)
    extractor = AttentionExtractor.from_recipe(
        replace(recipe, precision="float32"), weights=None, device="cpu", batch_size=1
    )
    maps = extractor.extract(np.stack([resize_image(image, recipe.input_size) for image in images]))
    stored = np.stack([resize_image(image, card.network.size) for image in images])
    return from_maps(run, stored, maps)


def noise(count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return images of noise with large parts, (n, row, column, 3)."""
    coarse = np.random.default_rng(count).integers(0, 256, (count, 5, 7, 3), dtype=np.uint8)
    return np.stack([resize_image(one, size) for one in coarse])

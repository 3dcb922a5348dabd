"""From samples as stored to what the network takes, with augmentation and without."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from stages.segmentation.augmentation import RANGES, Augment, change_colours, draw_affines, resize_attention, warp
from stages.segmentation.batches import TensorBatch
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.normalisation import AttentionNorm, normalise_attention, normalise_image


def plain_inputs(batch: TensorBatch, config: NetworkConfig, norm: AttentionNorm) -> tuple[Tensor, Tensor]:
    """The network's image and attention for prediction.

    Returns:
        (sample, 3, row, column) and (sample, head, *config.attention_size), float32.
    """
    attention = normalise_attention(batch.attention.float(), norm)
    return normalise_image(batch.image.float()), resize_attention(attention, config.attention_size)


def augmented_inputs(
    batch: TensorBatch, config: NetworkConfig, norm: AttentionNorm, augment: Augment, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The network's image and attention for training, and the mask that moved with them.

    Maps are scaled before they are warped: what lies outside the picture must not change their scale.

    Returns:
        (sample, 3, row, column) float32, (sample, row, column) uint8, (sample, head, *config.attention_size) float32.
    """
    if augment == "none":
        image, attention = plain_inputs(batch, config, norm)
        return image, batch.mask, attention
    ranges = RANGES[augment]
    rows, columns = config.size
    affines = draw_affines(len(batch.image), ranges, rows / columns, generator)
    attention = normalise_attention(batch.attention.float(), norm)
    image, mask, attention = warp(batch.image.float(), batch.mask, attention, affines, config.attention_size)
    return normalise_image(change_colours(image, ranges, generator)), mask, attention


@torch.inference_mode()
def predict_probabilities(model: Segmenter, batch: TensorBatch, norm: AttentionNorm) -> Tensor:
    """(sample, class, row, column) float32 probabilities, by a model in evaluation mode."""
    logits: Tensor = model(*plain_inputs(batch, model.config, norm))
    return logits.float().softmax(dim=1)

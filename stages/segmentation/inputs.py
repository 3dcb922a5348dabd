"""From samples as stored to what the network takes, with augmentation and without."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from stages.runtime.out_of_memory import AdaptiveBatch
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


def adaptive_batch_for(batch_size: int, config: NetworkConfig, device: torch.device) -> AdaptiveBatch:
    """How many samples `predict_probabilities` takes at a time: a batch, fewer when memory runs out."""
    rows, columns = config.size
    return AdaptiveBatch(
        batch_size,
        device=device,
        too_large=f"not enough memory on {device} for one sample of {rows}x{columns} in the segmentation network.\n"
        "  End other programs that hold memory, or use another `--device`.",
    )


@torch.inference_mode()
def predict_probabilities(
    model: Segmenter, batch: TensorBatch, norm: AttentionNorm, portions: AdaptiveBatch | None = None
) -> Tensor:
    """(sample, class, row, column) float32 probabilities, by a model in evaluation mode.

    Args:
        model: The network.
        batch: Samples, as stored.
        norm: How attention is scaled.
        portions: Kept from batch to batch, so that what ran out of memory once is not tried again; without it, the
            batch is halved for itself.

    Raises:
        PipelineError: there is not enough memory even for one sample.
    """
    if portions is None:
        portions = adaptive_batch_for(len(batch.image), model.config, batch.image.device)

    def probabilities(portion: slice) -> Tensor:
        part = TensorBatch(batch.image[portion], batch.mask[portion], batch.attention[portion])
        logits: Tensor = model(*plain_inputs(part, model.config, norm))
        return logits.float().softmax(dim=1)

    return torch.cat([part for _, part in portions.run(len(batch.image), probabilities)])

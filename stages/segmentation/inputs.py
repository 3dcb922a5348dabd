"""Prepare stored samples for the network, with augmentation and without, and predict."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from stages.errors import PipelineError
from stages.runtime.out_of_memory import AdaptiveBatch
from stages.runtime.parts import Part
from stages.segmentation.augmentation import RANGES, change_colours, draw_affines, resize_attention, warp
from stages.segmentation.batches import TensorBatch
from stages.segmentation.map_augmentation import change_maps, separate_generator
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.normalisation import noise_unit, normalise_attention, normalise_image
from stages.settings import Augment, Border


def plain_inputs(batch: TensorBatch, config: NetworkConfig, norm: str) -> tuple[Tensor, Tensor]:
    """Return the network's image and attention for prediction.

    Args:
        batch: samples, as stored.
        config: of the network.
        norm: scaling of attention, a name in `NORMALISATIONS`.

    Returns:
        (sample, 3, row, column) and (sample, head, *config.attention_size), float32. There are no heads for a network
        that takes no maps.
    """
    attention = normalise_attention(_taken_maps(batch, config).float(), norm)
    return normalise_image(batch.image.float()), resize_attention(attention, config.attention_size)


def augmented_inputs(
    batch: TensorBatch,
    config: NetworkConfig,
    norm: str,
    augment: Augment,
    generator: Generator,
    *,
    border: Border = "mirror",
    map_dropout: float = 0.0,
    map_noise: float = 0.0,
    part: Part | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the network's image and attention for training, and the mask warped in the same way.

    Maps are scaled before they are warped, so that the scale does not depend on which part stays in the picture. Then
    they are changed, also where `augment` is "none". A network that takes no maps gets none.

    Args:
        batch: samples, as stored.
        config: of the network.
        norm: scaling of attention, a name in `NORMALISATIONS`.
        augment: strength of the augmentation.
        generator: source of the random numbers, on the CPU.
        border: what the mask is outside the picture, see `stages.segmentation.augmentation`.
        map_dropout: probability that a map is set to zero, see `stages.segmentation.map_augmentation`.
        map_noise: largest change of a map, likewise.
        part: which samples of a larger batch these are; None if they are the batch. Random numbers are drawn for the
            larger batch, so a sample is changed in the same way whichever process has it.

    Returns:
        (sample, 3, row, column) float32, (sample, row, column) uint8, (sample, head, *config.attention_size) float32.
    """
    image, mask, attention = augmented_samples(
        TensorBatch(batch.image, batch.mask, _taken_maps(batch, config)),
        config.attention_size,
        norm,
        augment,
        generator,
        border=border,
        map_dropout=map_dropout if config.takes_maps else 0.0,
        map_noise=map_noise if config.takes_maps else 0.0,
        part=part,
    )
    return normalise_image(image), mask, attention


def augmented_samples(
    batch: TensorBatch,
    attention_size: tuple[int, int],
    norm: str,
    augment: Augment,
    generator: Generator,
    *,
    border: Border,
    map_dropout: float,
    map_noise: float,
    part: Part | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return augmented samples for any network; arguments as in `augmented_inputs`.

    Args:
        batch: samples, as stored.
        attention_size: (rows, columns) of the returned maps.
        norm: scaling of attention.
        augment: strength of the augmentation.
        generator: source of the random numbers.
        border: what the mask is outside the picture.
        map_dropout: probability that a map is set to zero.
        map_noise: largest change of a map.
        part: which samples of a larger batch these are.

    Returns:
        (sample, 3, row, column) float32 RGB in [0, 255], (sample, row, column) uint8, (sample, head, *attention_size)
        float32.
    """
    attention = normalise_attention(batch.attention.float(), norm)
    if map_dropout or map_noise:
        unit, own = noise_unit(attention, norm) if map_noise else 1.0, separate_generator(generator)
        attention = change_maps(attention, dropout=map_dropout, noise=map_noise, generator=own, unit=unit, part=part)
    if augment == "none":
        return batch.image.float(), batch.mask, resize_attention(attention, attention_size)
    ranges = RANGES[augment]
    rows, columns = batch.image.shape[2:]
    part = part or Part.whole(len(batch.image))
    affines = part.of(draw_affines(part.total, ranges, rows / columns, generator))
    image, mask, attention = warp(batch.image.float(), batch.mask, attention, affines, attention_size, border)
    return change_colours(image, ranges, generator, part), mask, attention


def _taken_maps(batch: TensorBatch, config: NetworkConfig) -> Tensor:
    """Return the maps that a network takes: those of the batch, or those of no head."""
    return batch.attention if config.takes_maps else batch.attention[:, :0]


def adaptive_batch_for(batch_size: int, config: NetworkConfig, device: torch.device) -> AdaptiveBatch:
    """Return the batch size for `predict_probabilities`, which is halved when memory runs out."""
    rows, columns = config.size
    return AdaptiveBatch(
        batch_size,
        device=device,
        too_large=f"not enough memory on {device} for one sample of {rows}x{columns} in the segmentation network.\n"
        "  End other programs that use memory, or use another `--device`.",
    )


@torch.inference_mode()
def predict_probabilities(
    model: Segmenter,
    batch: TensorBatch,
    norm: str,
    adaptive_batch: AdaptiveBatch | None = None,
    name: Callable[[int], str] = lambda position: f"sample {position} of the batch",
) -> Tensor:
    """Return (sample, class, row, column) float32 probabilities of a model in evaluation mode.

    They sum to 1 over the classes. With labels that may overlap, each label has a probability of its own, and class 0
    the probability that none of them is there, as if they were independent.

    Args:
        model: the network.
        batch: samples, as stored.
        norm: scaling of attention, a name in `NORMALISATIONS`.
        adaptive_batch: shared by all calls, so that a size that ran out of memory is not tried again; without it, every
            call starts with the whole batch.
        name: returns the name of the sample at a position in the batch, for messages.

    Raises:
        PipelineError: an output is NaN or infinite, as with finite weights that are much too large; or there is not
            enough memory even for one sample.
    """
    if adaptive_batch is None:
        adaptive_batch = adaptive_batch_for(len(batch.image), model.config, batch.image.device)

    def probabilities(some: slice) -> Tensor:
        part = TensorBatch(batch.image[some], batch.mask[some], batch.attention[some])
        logits: Tensor = model(*plain_inputs(part, model.config, norm))
        sound = logits.isfinite().flatten(start_dim=1).all(dim=1)
        if not sound.all():
            raise PipelineError(_not_finite(name(some.start + int(sound.logical_not().nonzero()[0]))))
        if model.config.multilabel:
            labels = logits.float().sigmoid()
            return torch.cat([(1 - labels).prod(dim=1, keepdim=True), labels], dim=1)
        return logits.float().softmax(dim=1)

    return torch.cat([part for _, part in adaptive_batch.run(len(batch.image), probabilities)])


def _not_finite(name: str) -> str:
    return (
        f"{name}: the network's output is NaN or infinite: its weights are too large, or the maps are damaged.\n"
        "  Train with a lower --lr or with --precision float32; `pipeline verify` checks the store."
    )

"""Make maps from a convolutional network that was trained on photographs: components of its features.

The transformers at hand have seen drawings, or few images. These maps answer whether the cached features of a network
that has seen a million photographs bring more. The network is an encoder of timm with weights of ImageNet, the one
that `unet-imagenet` starts from (`tests.benchmarks.evidence.unet_weights`). It was trained with labels, unlike DINO.

The features at strides 8, 16 and 32 are resampled to the grid of the store and concatenated. Each is divided by its
deviation over the images of the fit, so that no stride counts more than another. Then they are reduced as features of
the transformer are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.attention.weight_files import tensors_sha256
from stages.errors import UsageError
from stages.runtime.devices import resolve_device
from tests.benchmarks.evidence.controls import standardised
from tests.benchmarks.evidence.features_fitted import fitted
from tests.benchmarks.evidence.features_reduction import Moments, Projection, Reduction, fit_projection
from tests.benchmarks.evidence.stores_maps import Inputs, Maps
from tests.benchmarks.evidence.unet import load_encoder
from tests.benchmarks.evidence.unet_weights import ENCODER

__all__ = ["STRIDES", "Photographs", "photographs"]

STRIDES = (8, 16, 32)
"""Strides of the features, in pixels of the encoder's input."""

SMALLEST = 1e-6
"""Smallest deviation by which a feature is divided, relative to the largest one. Below it, it does not vary."""


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Compute the features of an encoder trained on ImageNet at every cell of a grid."""

    encoder: nn.Module
    """timm's encoder with `features_only`, in eval mode."""
    mean: Tensor
    """(3, 1, 1) of the images, by which it was trained."""
    std: Tensor
    grid: tuple[int, int]
    device: torch.device

    @classmethod
    def load(cls, inputs: Inputs) -> Photographs:
        """Read the weights that `--weights` names.

        Raises:
            UsageError: there are none, or they do not fit.
        """
        if inputs.weights is None:
            raise UsageError("imagenet: needs weights of ImageNet. Name the file with --weights; see `unet_weights`.")
        encoder = timm.create_model(ENCODER, pretrained=False, features_only=True, out_indices=(2, 3, 4))
        load_encoder(encoder, inputs.weights, ENCODER)
        device = resolve_device(inputs.device)
        mean, std = (
            torch.tensor(encoder.default_cfg[name], device=device)[:, None, None]  # type: ignore[index]
            for name in ("mean", "std")
        )
        return cls(encoder=encoder.eval().to(device), mean=mean, std=std, grid=inputs.recipe.grid, device=device)

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the features, for the recipe."""
        return {"encoder": ENCODER, "encoder_sha256": tensors_sha256(dict(self.encoder.state_dict()))}

    @torch.inference_mode()
    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (image, cell, feature) features of (image, row, column, 3) RGB images."""
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        by_stride = self.encoder((pixels - self.mean) / self.std)
        on_grid = [F.interpolate(one, size=self.grid, mode="bilinear", align_corners=False) for one in by_stride]
        return torch.cat(on_grid, dim=1).flatten(2).transpose(1, 2).cpu().numpy()


def photographs(inputs: Inputs, count: int, how: Reduction, *, with_attention: bool) -> Maps:
    """Reduce the features of every cell to a few components.

    Args:
        inputs: store, images and, as `weights`, those of the encoder.
        count: number of components.
        how: see `features_reduction`.
        with_attention: put the store's attention before them, scaled as training does by default.

    Raises:
        UsageError: there are no weights, or they do not fit.
    """
    network = Photographs.load(inputs)

    def batches(positions: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        for images in inputs.originals.batches(positions, inputs.batch_size):
            yield network.features(images)

    def fit() -> dict[str, NDArray[np.float64]]:
        moments = Moments()
        for features in batches(inputs.fit):
            moments.add(features.reshape(-1, features.shape[-1]))
        return vars(fit_scaled(moments, count, how, seed=inputs.seed))

    facts = {**network.facts, "strides": list(STRIDES), "components": count, "reduction": how}
    kept = fitted(inputs.fitted, facts, inputs.fit_facts, fit)
    projection = Projection(**kept.arrays)
    own = standardised(inputs) if with_attention else None

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        values = np.concatenate([projection.apply(features) for features in batches(positions)])
        maps = values.transpose(0, 2, 1).reshape(len(values), -1, *network.grid)
        return maps if own is None else np.concatenate([own.read(positions), maps], axis=1)

    deviations = projection.deviations
    return Maps(
        names=[*(own.names if own else ()), *(f"imagenet_{number}" for number in range(count))],
        grid=network.grid,
        read=read,
        deviations=deviations if own is None else np.concatenate([np.ones(len(own.names)), deviations]),
        facts={**facts, **kept.facts, "explained": round(float(projection.explained), 6)},
    )


def fit_scaled(moments: Moments, count: int, how: Reduction, *, seed: int) -> Projection:
    """Fit a projection of features that are divided by their deviations first; it takes the features as they are."""
    deviations = np.sqrt(np.diag(moments.covariance))
    scale = 1 / np.maximum(deviations, SMALLEST * deviations.max())
    projection = fit_projection(_Scaled(moments, scale), count, how, seed=seed)
    return replace(projection, mean=moments.mean, matrix=projection.matrix * scale[:, None])


class _Scaled(Moments):
    """Give the mean and the covariance of scaled vectors."""

    def __init__(self, moments: Moments, scale: NDArray[np.float64]) -> None:
        super().__init__()
        self._of = moments
        self._scale = scale

    @property
    def mean(self) -> NDArray[np.float64]:
        return self._of.mean * self._scale

    @property
    def covariance(self) -> NDArray[np.float64]:
        return self._of.covariance * np.outer(self._scale, self._scale)

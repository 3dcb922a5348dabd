"""Make maps with the transformer of a store's recipe: components of features, and attention of other queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.attention.extractor import AttentionExtractor
from stages.errors import UsageError
from tests.benchmarks.evidence.controls import standardised
from tests.benchmarks.evidence.features import attention_of_patches, attention_of_queries, patch_features
from tests.benchmarks.evidence.features_reduction import Moments, Projection, Reduction, fit_projection
from tests.benchmarks.evidence.stores_maps import Inputs, Maps

__all__ = ["attention", "components", "fitted_projection", "patch_means", "prototypes"]

PROTOTYPE_TOKENS = 20_000
"""Most queries on which prototypes are fitted, drawn at random from those of the images of the fit."""

ROUNDS = 50
"""Rounds of k-means."""

Compute = Callable[[Any, Tensor], Tensor]
"""From a transformer and normalised images (batch, 3, height, width) to (batch, patches, dimensions)."""


def attention(inputs: Inputs, *, untrained: bool) -> Maps:
    """Compute the attention of the recipe's heads again, by the same transformer or by an untrained one.

    With the same transformer the maps are those of the store, which shows that images and weights are the right ones.
    """
    extractor = _transformer(inputs, untrained=untrained)

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return extractor.extract(inputs.originals.read(positions)).astype(np.float32)

    recipe = extractor.recipe
    return Maps(
        names=recipe.heads, grid=recipe.grid, read=read, keys=recipe.keys, signed=False, facts=_facts(extractor)
    )


def components(
    inputs: Inputs, source: str, count: int, how: Reduction, *, with_attention: bool, untrained: bool
) -> Maps:
    """Reduce features of every patch to a few components.

    Args:
        inputs: store, images and transformer.
        source: a name in `features.SOURCES`.
        count: number of components.
        how: see `features_reduction`.
        with_attention: put the store's attention before them, scaled as training does by default.
        untrained: use the features of an untrained transformer.
    """
    extractor = _transformer(inputs, untrained=untrained)
    projection = fitted_projection(inputs, extractor, source, count, how)
    own = standardised(inputs) if with_attention else None

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        images = inputs.originals.read(positions)
        projected = projection.apply(
            _computed(extractor, images, lambda model, some: patch_features(model, some, source))
        )
        maps = _on_grid(projected, inputs)
        return maps if own is None else np.concatenate([own.read(positions), maps], axis=1)

    deviations = projection.deviations
    return Maps(
        names=[*(own.names if own else ()), *(f"{source}_{number}" for number in range(count))],
        grid=inputs.recipe.grid,
        read=read,
        deviations=deviations if own is None else np.concatenate([np.ones(len(own.names)), deviations]),
        facts={
            **_facts(extractor),
            **inputs.fit_facts,
            "reduction": how,
            "explained": round(projection.explained, 6),
            **({"seed": inputs.seed} if how == "random" else {}),
        },
    )


def fitted_projection(
    inputs: Inputs, extractor: AttentionExtractor, source: str, count: int, how: Reduction
) -> Projection:
    """Fit components of a source to the images of the fit."""
    moments = Moments()
    for images in inputs.originals.batches(inputs.fit, inputs.batch_size):
        features = _computed(extractor, images, lambda model, some: patch_features(model, some, source))
        moments.add(features.reshape(-1, features.shape[-1]))
    return fit_projection(moments, count, how, seed=inputs.seed)


def patch_means(inputs: Inputs, *, untrained: bool) -> Maps:
    """Compute the attention that every patch gets, averaged over all patches in place of that of CLS."""
    extractor = _transformer(inputs, untrained=untrained)
    recipe = extractor.recipe

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        images = inputs.originals.read(positions)
        received = _computed(extractor, images, lambda model, some: attention_of_patches(model, some, recipe.layers))
        return recipe.keys * received.reshape(len(images), -1, *recipe.grid)

    names = [f"mean_{head}" for head in recipe.heads]
    return Maps(names=names, grid=recipe.grid, read=read, keys=recipe.keys, signed=False, facts=_facts(extractor))


def prototypes(inputs: Inputs, count: int, *, untrained: bool) -> Maps:
    """Compute the attention of prototype queries in the last block, for each of its heads.

    The prototypes are the centres of k-means over the queries of patches, of some images.
    """
    from scipy.cluster.vq import kmeans2

    extractor = _transformer(inputs, untrained=untrained)
    recipe = extractor.recipe
    random = np.random.default_rng(inputs.seed)
    per_image = max(1, PROTOTYPE_TOKENS // len(inputs.fit))
    drawn = []
    for images in inputs.originals.batches(inputs.fit, inputs.batch_size):
        queries = _computed(extractor, images, lambda model, some: patch_features(model, some, "queries"))
        drawn += [random.permutation(of_image)[:per_image] for of_image in queries]
    vectors = np.concatenate(drawn)
    if len(np.unique(vectors, axis=0)) < count:
        raise UsageError(f"prototypes:{count}: the images of the fit have fewer different patches. Ask for fewer.")
    centres, _ = kmeans2(vectors.astype(np.float64), count, iter=ROUNDS, minit="++", rng=random)
    centre_queries = torch.from_numpy(centres).float()
    heads = len(recipe.heads) // len(recipe.layers)

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        images = inputs.originals.read(positions)
        given = _computed(extractor, images, lambda model, some: attention_of_queries(model, some, centre_queries))
        return recipe.keys * given.reshape(len(images), -1, *recipe.grid)

    return Maps(
        names=[f"prototype{number}_H{head}" for number in range(count) for head in range(heads)],
        grid=recipe.grid,
        read=read,
        keys=recipe.keys,
        signed=False,
        facts={**_facts(extractor), **inputs.fit_facts, "seed": inputs.seed},
    )


def _transformer(inputs: Inputs, *, untrained: bool) -> AttentionExtractor:
    return inputs.untrained if untrained else inputs.extractor


def _facts(extractor: AttentionExtractor) -> dict[str, Any]:
    return {"weights_sha256": extractor.recipe.weights_sha256}


def _computed(extractor: AttentionExtractor, images: NDArray[np.uint8], compute: Compute) -> NDArray[np.float32]:
    """Run the transformer on (n, height, width, 3) images, a few at a time, and return the float32 results."""
    size = max(1, extractor._batch.size)
    parts = [
        compute(extractor._module, extractor._normalise(images[start : start + size])).float().cpu().numpy()
        for start in range(0, len(images), size)
    ]
    return np.concatenate(parts)


def _on_grid(values: NDArray[np.float32], inputs: Inputs) -> NDArray[np.float32]:
    """Return (sample, component, *grid) for (sample, patch, component)."""
    return values.transpose(0, 2, 1).reshape(len(values), -1, *inputs.recipe.grid)

"""Make maps with the transformer of a store's recipe: components of features, and attention of other queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.attention.extractor import AttentionExtractor
from stages.errors import UsageError
from tests.benchmarks.evidence.controls import standardised
from tests.benchmarks.evidence.features import attention_of_patches, attention_of_queries
from tests.benchmarks.evidence.features_cache import Features, computed
from tests.benchmarks.evidence.features_fitted import Fitted, fitted
from tests.benchmarks.evidence.features_reduction import Moments, Projection, Reduction, fit_projection
from tests.benchmarks.evidence.stores_maps import Inputs, Maps

__all__ = ["attention", "components", "patch_means", "prototypes"]

PROTOTYPE_TOKENS = 20_000
"""Most queries on which prototypes are fitted, drawn at random from those of the images of the fit."""

ROUNDS = 50
"""Rounds of k-means."""


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
    features = Features(inputs, extractor, source)
    kept = _fitted_projection(inputs, extractor, features, count, how)
    projection = Projection(**kept.arrays)
    own = standardised(inputs) if with_attention else None

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        maps = _on_grid(projection.apply(features.read(positions)), inputs)
        return maps if own is None else np.concatenate([own.read(positions), maps], axis=1)

    deviations = projection.deviations
    return Maps(
        names=[*(own.names if own else ()), *(f"{source}_{number}" for number in range(count))],
        grid=inputs.recipe.grid,
        read=read,
        deviations=deviations if own is None else np.concatenate([np.ones(len(own.names)), deviations]),
        facts={
            **_facts(extractor),
            **kept.facts,
            "reduction": how,
            "explained": round(float(projection.explained), 6),
        },
    )


def _fitted_projection(
    inputs: Inputs, extractor: AttentionExtractor, features: Features, count: int, how: Reduction
) -> Fitted:
    """Fit components to the images of the fit, or read them from the file of an earlier fit."""

    def fit() -> dict[str, NDArray[np.float64]]:
        moments = Moments()
        for batch in features.batches(inputs.fit):
            moments.add(batch.reshape(-1, batch.shape[-1]))
        return vars(fit_projection(moments, count, how, seed=inputs.seed))

    facts = {**_facts(extractor), "source": features.source, "components": count, "reduction": how}
    return fitted(inputs.fitted, facts, inputs.fit_facts, fit)


def patch_means(inputs: Inputs, *, untrained: bool) -> Maps:
    """Compute the attention that every patch gets, averaged over all patches in place of that of CLS."""
    extractor = _transformer(inputs, untrained=untrained)
    recipe = extractor.recipe

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        images = inputs.originals.read(positions)
        received = computed(extractor, images, lambda model, some: attention_of_patches(model, some, recipe.layers))
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
    features = Features(inputs, extractor, "queries")

    def fit() -> dict[str, NDArray[np.float64]]:
        random = np.random.default_rng(inputs.seed)
        per_image = max(1, PROTOTYPE_TOKENS // len(inputs.fit))
        vectors = np.concatenate(
            [random.permutation(one)[:per_image] for batch in features.batches(inputs.fit) for one in batch]
        )
        if len(np.unique(vectors, axis=0)) < count:
            raise UsageError(f"prototypes:{count}: the images of the fit have fewer different patches. Ask for fewer.")
        centres, _ = kmeans2(vectors.astype(np.float64), count, iter=ROUNDS, minit="++", rng=random)
        return {"centres": centres.astype(np.float64)}

    kept = fitted(inputs.fitted, {**_facts(extractor), "prototypes": count}, inputs.fit_facts, fit)
    centre_queries = torch.from_numpy(kept.arrays["centres"]).float()
    heads = len(recipe.heads) // len(recipe.layers)

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        images = inputs.originals.read(positions)
        given = computed(extractor, images, lambda model, some: attention_of_queries(model, some, centre_queries))
        return recipe.keys * given.reshape(len(images), -1, *recipe.grid)

    return Maps(
        names=[f"prototype{number}_H{head}" for number in range(count) for head in range(heads)],
        grid=recipe.grid,
        read=read,
        keys=recipe.keys,
        signed=False,
        facts={**_facts(extractor), **kept.facts},
    )


def _transformer(inputs: Inputs, *, untrained: bool) -> AttentionExtractor:
    return inputs.untrained if untrained else inputs.extractor


def _facts(extractor: AttentionExtractor) -> dict[str, Any]:
    return {"weights_sha256": extractor.recipe.weights_sha256}


def _on_grid(values: NDArray[np.float32], inputs: Inputs) -> NDArray[np.float32]:
    """Return (sample, component, *grid) for (sample, patch, component)."""
    return values.transpose(0, 2, 1).reshape(len(values), -1, *inputs.recipe.grid)

"""Test the reduction of features against numpy's singular values, and the rounding to 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.errors import UsageError
from tests.benchmarks.evidence.features_reduction import (
    RANGE,
    Moments,
    Projection,
    Reduction,
    fit_projection,
    round_to_8_bits,
)


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    """Return 200 vectors of 6 correlated dimensions, far from zero."""
    random = np.random.default_rng(0)
    mixed = random.standard_normal((200, 6)) @ random.standard_normal((6, 6))
    return (mixed + 100 + np.arange(6)).astype(np.float32)


def fitted(vectors: NDArray[np.float32], count: int, how: Reduction, seed: int = 0) -> Projection:
    moments = Moments()
    for part in np.array_split(vectors, 7):
        moments.add(part)
    return fit_projection(moments, count, how, seed=seed)


def test_components_are_those_of_numpys_singular_values(vectors: NDArray[np.float32]) -> None:
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    projection = fitted(vectors, 3, "pca")
    expected = (left * sizes)[:, :3] / (sizes[0] / np.sqrt(len(vectors)))
    expected *= np.sign(right[:3][np.arange(3), np.abs(right[:3]).argmax(axis=1)])
    assert projection.apply(vectors) == pytest.approx(expected, abs=1e-3)
    assert projection.explained == pytest.approx((sizes[:3] ** 2).sum() / (sizes**2).sum())


def test_whitened_components_have_unit_variance_and_no_correlation(vectors: NDArray[np.float32]) -> None:
    whitened = fitted(vectors, 4, "white").apply(vectors)
    assert np.cov(whitened.T, bias=True) == pytest.approx(np.eye(4), abs=1e-3)


@pytest.mark.parametrize("how", ["pca", "white", "random"])
def test_deviations_are_those_of_the_components(vectors: NDArray[np.float32], how: Reduction) -> None:
    projection = fitted(vectors, 5, how)
    components = projection.apply(vectors)
    assert components.std(axis=0) == pytest.approx(projection.deviations, rel=1e-3)
    assert components.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-3)
    assert projection.deviations.max() == pytest.approx(1)


def test_a_random_projection_depends_on_the_seed_alone(vectors: NDArray[np.float32]) -> None:
    one, again, other = (fitted(vectors, 2, "random", seed).matrix for seed in (0, 0, 1))
    assert (one == again).all()
    assert not np.allclose(one, other)
    # the directions are drawn before anything is fitted, so they have nothing to do with the vectors
    directions = np.random.default_rng(0).standard_normal((6, 2))
    assert one / directions == pytest.approx(np.full((6, 2), (one / directions)[0, 0]))


def test_more_components_than_dimensions_are_refused(vectors: NDArray[np.float32]) -> None:
    with pytest.raises(UsageError, match="7 components: the features have 6 dimensions"):
        fitted(vectors, 7, "pca")


def test_what_does_not_vary_is_not_whitened(vectors: NDArray[np.float32]) -> None:
    flat = np.concatenate([vectors, np.ones((200, 1), np.float32)], axis=1)
    with pytest.raises(UsageError, match="do not vary"):
        fitted(flat, 7, "white")


def test_rounding_keeps_256_values_of_each_map_and_clips() -> None:
    deviations = np.array([1.0, 0.1])
    maps = (np.random.default_rng(0).standard_normal((4, 2, 60, 60)) * deviations[:, None, None]).astype(np.float32)
    maps[0, :, 0, 0] = 100
    rounded = round_to_8_bits(maps, deviations)
    steps = 2 * RANGE * deviations / 255
    for index, step in enumerate(steps):
        assert 100 < len(np.unique(rounded[:, index])) <= 256
        inside = np.abs(maps[:, index]) < RANGE * deviations[index]
        assert np.abs(rounded - maps)[:, index][inside].max() <= step / 2 * 1.001
        assert rounded[0, index, 0, 0] == pytest.approx(RANGE * deviations[index])

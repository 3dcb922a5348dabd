"""Build small comparisons from arrays, for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.comparison.results import Comparison, RunResult


def a_run(arm: str = "dual", labels: int = 8, seed: int = 0, **changes: Any) -> RunResult:
    """Return the result of one run on two images, with changes."""
    values: dict[str, Any] = {
        "dice": {"a": 0.5, "b": 0.7},
        "hd95": {"a": 3.0, "b": 5.0},
        "seconds": 12.0,
        "parameters": 500_000,
        "steps": 40,
        "epochs": 5,
        "improving": False,
    }
    return RunResult(arm=arm, labels=labels, seed=seed, **values | changes)


def a_comparison(
    dice: Mapping[tuple[str, int], NDArray[np.floating] | Sequence[Sequence[float]]],
    *,
    groups: Mapping[str, str] | None = None,
    score: Literal["test", "val"] = "test",
    **changes: Any,
) -> Comparison:
    """Return a comparison with the given Dice.

    Args:
        dice: (seed, image) by arm and number of labels, for every combination; images are called `i000`, `i001`, ….
        groups: Group by id.
        score: Split that is scored.
        changes: Values of every run that differ from those of `a_run`.
    """
    arrays = {key: np.asarray(value, dtype=np.float64) for key, value in dice.items()}
    arms = tuple(dict.fromkeys(arm for arm, _ in arrays))
    labels = tuple(sorted({count for _, count in arrays}))
    seeds = tuple(range(len(next(iter(arrays.values())))))
    results = {}
    for (arm, count), array in arrays.items():
        for seed in seeds:
            scores = {f"i{image:03}": float(value) for image, value in enumerate(array[seed])}
            distances = {id_: 20 * (1 - value) for id_, value in scores.items()}
            results[arm, count, seed] = a_run(arm, count, seed, dice=scores, hd95=distances, **changes)
    return Comparison(
        arms=arms,
        labels=labels,
        seeds=seeds,
        results=results,
        groups=groups or {},
        score=score,
        settings={"steps": 40},
        all_labels=max(labels),
    )


def simulated(
    generator: np.random.Generator,
    means: Mapping[tuple[str, int], float],
    *,
    seeds: int = 3,
    images: int = 40,
    seed_sd: float = 0.01,
    image_sd: float = 0.08,
    rest_sd: float = 0.03,
) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Return Dice with random effects of seeds and of images, (seed, image) by arm and number of labels, in [0, 1].

    Images are as hard for one arm as for the other, so their effect is common to all arms.
    """
    hard = generator.normal(0, image_sd, images)
    return {
        key: np.clip(
            mean + hard + generator.normal(0, seed_sd, (seeds, 1)) + generator.normal(0, rest_sd, (seeds, images)), 0, 1
        )
        for key, mean in means.items()
    }

"""Try random mutations of a target's seeds, without a fuzzer: the short runs of the tests."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.fuzzing.target import Finding, Target, check

__all__ = ["mutated", "try_mutations", "try_seeds"]

MOST_KEPT = 200
"""Inputs that are mutated again."""


def try_seeds(target: Target) -> list[tuple[bytes, Finding]]:
    """Run every seed and return those that fail."""
    return [(data, found) for data in target.seeds() if (found := check(target, data)) is not None]


def mutated(target: Target, rng: random.Random) -> Iterator[bytes]:
    """Yield mutations of the seeds, and mutations of mutations, without end."""
    seeds = list(target.seeds())
    pool = list(seeds)
    while True:
        data = target.mutate(rng.choice(pool), rng)
        while rng.random() < 0.4:
            data = target.mutate(data, rng)
        data = data[: target.longest]
        yield data
        if rng.random() < 0.1:
            if len(pool) > MOST_KEPT:
                del pool[len(seeds) :: 2]
            pool.append(data)


def try_mutations(
    target: Target, *, seed: int, most: int, seconds: float
) -> tuple[int, dict[str, tuple[bytes, Finding]]]:
    """Run mutations until their number or the processor time is reached.

    Returns:
        The number of inputs, and the first input and finding for each place.
    """
    rng = random.Random(seed)
    found: dict[str, tuple[bytes, Finding]] = {}
    end = time.process_time() + seconds
    count = 0
    for data in mutated(target, rng):
        finding = check(target, data)
        count += 1
        if finding is not None:
            found.setdefault(finding.where, (data, finding))
        if count >= most or time.process_time() > end:
            break
    return count, found

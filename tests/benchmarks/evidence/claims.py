"""List the differences that are claimed. Holm's correction is over exactly these, whether they are run or not."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.evidence.arms import SHIPPED

__all__ = ["ALL", "CLAIMED_STEPS", "CLAIMS", "Claim"]

CLAIMED_STEPS = 2000
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Hold a difference of two arms, the first minus the second, that the documents speak of."""

    dataset: str
    labels: str
    """Number of labels, or all."""
    first: str
    second: str
    steps: int = CLAIMED_STEPS


CLAIMS = (
    *(Claim(dataset="isic", labels=labels, first=SHIPPED, second="image") for labels in ("13", "65", ALL)),
    *(Claim(dataset="isic", labels="65", first=SHIPPED, second=rival) for rival in ("linear", "mlp")),
    Claim(dataset="isic-sources", labels="65", first=SHIPPED, second="image"),
    *(Claim(dataset="isic", labels=labels, first="imagenetwhite32", second="image") for labels in ("13", "65")),
    *(Claim(dataset="nuclei", labels=labels, first=SHIPPED, second="image") for labels in ("16", ALL)),
)
"""All claims. Change them before the runs are made, not after."""

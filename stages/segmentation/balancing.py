"""Correct a division of groups: no part too small, sizes as close as possible, every class in every part.

Groups are whole patients. Dealing them out one by one (`stages.segmentation.exact_splits`) can leave a part empty if
groups are large. It can also leave a part without a class, if other traits sent the groups of this class to other
parts. Two searches correct this:

1. **Sizes.** Move one group, or exchange two, as long as this reduces the number of images that parts lack, or brings
   the sizes closer to the wanted ones.
2. **Classes.** Exchange two groups of equal size, as long as this brings a class into a part that lacks it and takes no
   other class away. Classes with fewer groups than there are parts are skipped.

Both take the first of equally good steps in the given order of the groups, so the result is deterministic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["CLASS", "FEWEST_IN_A_PART", "Traits", "rebalance"]

CLASS = "class "
"""Beginning of the traits that name a class."""
FEWEST_IN_A_PART = 2
"""A part with fewer images is too small, unless fewer are wanted."""
MOST_TRIED = 300
"""Number of groups of one part that are tried for an exchange of classes. It limits the time for large stores."""


@dataclass(frozen=True)
class Traits:
    """Describe one group: its images, and the traits by which groups are made alike in all parts."""

    images: int
    names: frozenset[str]


def rebalance(part_of: Mapping[str, str], groups: Mapping[str, Traits], sizes: Mapping[str, int]) -> dict[str, str]:
    """Return a corrected division.

    Args:
        part_of: The part of each group. Its order decides between equally good steps.
        groups: Description of each group, by name.
        sizes: Wanted number of images of each part.
    """
    changed = dict(part_of)
    _correct_sizes(changed, groups, sizes)
    _spread_classes(changed, groups, sizes)
    return changed


def _correct_sizes(part_of: dict[str, str], groups: Mapping[str, Traits], sizes: Mapping[str, int]) -> None:
    """Move and exchange groups until no single step improves the sizes."""
    have = dict.fromkeys(sizes, 0)
    for group, part in part_of.items():
        have[part] += groups[group].images
    while any(_cost(sizes[part], count) > (0, 0) for part, count in have.items()):
        best = min(_steps(part_of, groups, sizes), key=lambda step: _gain(step, have, sizes), default=None)
        if best is None or _gain(best, have, sizes) >= (0, 0):
            return
        have[best.giver] -= best.images
        have[best.taker] += best.images
        part_of[best.group] = best.taker
        if best.partner is not None:
            part_of[best.partner] = best.giver


@dataclass(frozen=True)
class _Step:
    """Describe the move of a group to another part, possibly in exchange for a smaller one."""

    giver: str
    taker: str
    images: int
    """Number of images that `taker` gains by it."""
    group: str
    partner: str | None = None
    """Group that `giver` gets in exchange; None for a plain move."""


def _steps(part_of: Mapping[str, str], groups: Mapping[str, Traits], parts: Iterable[str]) -> Iterator[_Step]:
    """Yield all steps. Groups of the same part and size make no difference, so only the first of them is tried."""
    first: dict[tuple[str, int], str] = {}
    for group, part in part_of.items():
        first.setdefault((part, groups[group].images), group)
    for (giver, images), group in first.items():
        for taker in parts:
            if taker != giver:
                yield _Step(giver, taker, images, group)
        for (taker, fewer), partner in first.items():
            if taker != giver and fewer < images:
                yield _Step(giver, taker, images - fewer, group, partner)


def _gain(step: _Step, have: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[int, int]:
    """Return the change in cost of the two parts; negative is better."""
    changes = ((step.giver, -step.images), (step.taker, step.images))
    lacking = difference = 0
    for part, change in changes:
        before, after = _cost(sizes[part], have[part]), _cost(sizes[part], have[part] + change)
        lacking += after[0] - before[0]
        difference += after[1] - before[1]
    return lacking, difference


def _cost(wanted: int, count: int) -> tuple[int, int]:
    """Return the number of images that a part lacks to be large enough, and the difference in size."""
    return max(0, min(FEWEST_IN_A_PART, wanted) - count), abs(count - wanted)


def _spread_classes(part_of: dict[str, str], groups: Mapping[str, Traits], sizes: Mapping[str, int]) -> None:
    """Exchange groups of equal size until no exchange brings a class into a part that lacks it."""
    counts = {part: Counter[str]() for part in sizes}
    for group, part in part_of.items():
        counts[part].update(_classes(groups[group]))
    common = {name for name, count in sum(counts.values(), Counter[str]()).items() if count >= len(sizes)}
    while True:
        missing = [(part, name) for part in sizes for name in sorted(common) if not counts[part][name]]
        exchange = next(
            (pair for part, name in missing if (pair := _exchange(part, name, part_of, groups, counts))), None
        )
        if exchange is None:
            return
        one, other = exchange
        for group, part in ((one, part_of[other]), (other, part_of[one])):
            counts[part_of[group]].subtract(_classes(groups[group]))
            counts[part].update(_classes(groups[group]))
        part_of[one], part_of[other] = part_of[other], part_of[one]


def _exchange(
    part: str, name: str, part_of: Mapping[str, str], groups: Mapping[str, Traits], counts: Mapping[str, Counter[str]]
) -> tuple[str, str] | None:
    """Return a group of `part` and a group with the class `name` to exchange it for; None without such a pair.

    Neither part may lose a class by the exchange. Pairs that differ in few other traits are preferred.
    """
    inside = [group for group in part_of if part_of[group] == part][:MOST_TRIED]
    outside = [group for group in part_of if part_of[group] != part and name in groups[group].names][:MOST_TRIED]
    pairs = [
        (one, other)
        for one in inside
        for other in outside
        if groups[one].images == groups[other].images
        and _keeps_classes(groups[one], groups[other], counts[part])
        and _keeps_classes(groups[other], groups[one], counts[part_of[other]])
    ]
    return min(pairs, key=lambda pair: len((groups[pair[0]].names ^ groups[pair[1]].names) - {name}), default=None)


def _keeps_classes(leaving: Traits, coming: Traits, counts: Counter[str]) -> bool:
    """Return True if a part keeps all its classes after the exchange of a group."""
    return all(counts[name] > 1 for name in _classes(leaving) - coming.names)


def _classes(traits: Traits) -> frozenset[str]:
    return frozenset(name for name in traits.names if name.startswith(CLASS))

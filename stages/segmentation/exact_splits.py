"""Split small sets so that the sizes are exact and the foreground is alike in all parts.

A hash (`stages.segmentation.splits`) gives each group its split independently. In a set of thirty images this may leave
one image for validation, or none, and all large lesions in one split. This module deals groups out instead:

- Every group is described by its foreground: the classes in its masks, and the third of the data set that its share of
  foreground falls into (low, middle, high; or empty).
- Groups with the rarest trait are dealt first, as in iterative stratification (Sechidis et al. 2011), and among them
  the largest first. A group goes to the part that lacks most images with this trait, compared with its share of them;
  if equal, to the part that lacks most images altogether.
- A part is full when it has its number of images. A group goes to a part that it overfills only if it would overfill
every part.
- Groups of several images can leave a part too small, or a class out of it. `stages.segmentation.balancing` then moves
  and exchanges single groups.

The order of equal groups comes from a hash of (seed, group), so the result depends neither on the order of the samples
nor on chance. Adding an image can move others to another split: for sets that grow, keep the `splits.csv` of the first
run and give it as a table, or choose the rule `hash`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from stages.segmentation.balancing import FEWEST_IN_A_PART, Traits, rebalance

__all__ = ["deal", "part_sizes"]


def part_sizes(images: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return the number of images of every part.

    Args:
        images: Number of images in all.
        shares: Share of each part in (0, 1), `train` among them; the sum is 1.

    Returns:
        The rounded shares; `train` has the rest. A part other than `train` has at least two images, unless this would
        leave fewer than two for `train`; then it has at least one.
    """
    asked = {name: round(share * images) for name, share in shares.items() if name != "train"}
    sizes = {name: max(FEWEST_IN_A_PART, size) for name, size in asked.items()}

    def rest() -> int:
        return images - sum(sizes.values())

    while rest() < FEWEST_IN_A_PART and (raised := [name for name in sizes if sizes[name] > max(1, asked[name])]):
        sizes[raised[0]] -= 1
    while rest() < 1 and max(sizes.values(), default=0) > 1:
        sizes[max(sizes, key=lambda name: sizes[name])] -= 1
    return {"train": rest(), **sizes}


def deal(groups: Mapping[str, Traits], sizes: Mapping[str, int], *, seed: int) -> dict[str, str]:
    """Deal groups to parts.

    Args:
        groups: Description of each group, by name.
        sizes: Wanted number of images of each part; they add up to the images of all groups.
        seed: Other seeds give other, equally balanced results.

    Returns:
        The part of each group.
    """
    images = sum(group.images for group in groups.values())
    kinds = _numbers_of_kinds(groups, groups)
    counts = Counter[str]()
    for traits, number in kinds:
        counts.update(dict.fromkeys(traits.names, number * traits.images))
    lacking = {
        part: defaultdict(float, {name: counts[name] * size / max(1, images) for name in counts})
        for part, size in sizes.items()
    }
    room = dict(sizes)
    left = list(groups)
    dealt: dict[str, str] = {}
    while left:
        present = Counter[str]()
        for traits, number in _numbers_of_kinds(groups, left):
            present.update(dict.fromkeys(traits.names, number))
        rarest = min(present, key=lambda name: (present[name], name)) if present else None
        chosen = [group for group in left if rarest is None or rarest in groups[group].names]
        left = [] if rarest is None else [group for group in left if rarest not in groups[group].names]
        for group in sorted(chosen, key=lambda one: (-groups[one].images, _hash(seed, one))):
            traits = groups[group]
            keys = {
                name: (
                    room[name] >= traits.images,
                    round(lacking[name][rarest], 9) if rarest is not None else 0,
                    room[name],
                )
                for name in sizes
            }
            best = max(keys.values())
            equal = [name for name in sizes if keys[name] == best]
            part = equal[0] if len(equal) == 1 else max(equal, key=lambda name: _hash(seed, f"{group} {name}"))
            dealt[group] = part
            room[part] -= traits.images
            for name in traits.names:
                lacking[part][name] -= traits.images
    order = sorted(groups, key=lambda group: _hash(seed, group))
    return _fill_empty(rebalance({group: dealt[group] for group in order}, groups, sizes), groups, sizes)


def _numbers_of_kinds(groups: Mapping[str, Traits], names: Iterable[str]) -> list[tuple[Traits, int]]:
    """Return different traits of some groups, and the number of groups with each. Equal ones may be there twice."""
    described = {id(traits): traits for traits in map(groups.__getitem__, names)}
    numbers = Counter(id(groups[name]) for name in names)
    return [(described[one], number) for one, number in numbers.items()]


def _fill_empty(parts: dict[str, str], groups: Mapping[str, Traits], sizes: Mapping[str, int]) -> dict[str, str]:
    """Give every part that is empty the smallest group of the part with the most groups, if that has more than one.

    Few groups of unequal sizes can leave a part empty: the first ones may fill two parts beyond their sizes.
    """
    for empty in (part for part, size in sizes.items() if size and part not in parts.values()):
        part, count = Counter(parts.values()).most_common(1)[0]
        if count > 1:
            smallest = min(
                (group for group in parts if parts[group] == part), key=lambda one: (groups[one].images, one)
            )
            parts[smallest] = empty
    return parts


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()

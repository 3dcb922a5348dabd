"""Connect groups that share a copied image, by their names; `stages.segmentation.linked_prints` takes millions."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["linked_groups"]


def linked_groups(groups: Iterable[str], digests: Iterable[str]) -> dict[str, str]:
    """Return for every group one name that is shared by all groups connected by copied images (union-find).

    The name is the first one in order.

    Args:
        groups: of every sample.
        digests: of every sample's image.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        parent.setdefault(group, group)
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first_with: dict[str, str] = {}
    for group, digest in zip(map(str, groups), map(str, digests), strict=True):
        one, other = sorted([root(group), root(first_with.setdefault(digest, group))])
        parent[other] = one
    return {group: root(group) for group in parent}

"""Which samples of a store a run has seen, so that their scores would not be honest.

A run's record (`stages.segmentation.splits`) says by which images it was trained. A sample of any store, the run's
own or another, is seen if its image is one of these, or another image of the same patient. That it is the same
patient may be known to the run (a group of the same name), to the store (its group holds an image that was trained
on), or follow from a chain of groups and copied images in either.

A group that is nothing but its image's own name says nothing across stores: another hospital has an
`image_001` too. And an image that was saved again, with other bytes, is not recognised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from stages.segmentation.splits import linked_groups
from store import AttentionStore


def leaked_samples(store: AttentionStore, rows: Sequence[Mapping[str, str]], by: Collection[str]) -> list[bool]:
    """For every sample of a store, whether the run has seen it or another of its patient.

    Args:
        store: the samples.
        rows: the run's record, as `read_splits` gives it.
        by: the splits that count as seen: `train`, and `val` where the choice of the checkpoint counts too.
    """
    of_run = _seen_rows(rows, by)
    digests = {row["digest"] for row in of_run}
    named_by_others = {row["group"] for row in of_run if row["group"] != row["id"]}
    named_by_itself = {row["group"] for row in of_run if row["group"] == row["id"]}
    groups = [str(group) for group in store.column("group")]
    linked = linked_groups(groups, store.column("digest"))
    seen = {
        linked[group]
        for id_, group, digest in zip(store.ids, groups, store.column("digest"), strict=True)
        if str(digest) in digests or group in named_by_others or (group in named_by_itself and group != str(id_))
    }
    return [linked[group] in seen for group in groups]


def _seen_rows(rows: Sequence[Mapping[str, str]], by: Collection[str]) -> list[Mapping[str, str]]:
    """The rows of these splits, and all rows that groups and copies join to them: those without a mask, say."""
    linked = linked_groups((row["group"] for row in rows), (row["digest"] for row in rows))
    seen = {linked[row["group"]] for row in rows if row["split"] in by}
    return [row for row in rows if linked[row["group"]] in seen]

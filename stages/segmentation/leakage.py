"""Leakage check: find the samples of a store that a run was trained on. Their scores would be too high.

The splits of a run (`stages.segmentation.splits`) record the images it was trained on. A sample of any store leaks if
its image is one of these, or another image of the same patient. Images count as those of one patient if they are in
one group of the run or of the store, or in groups of the same name in both. Copied images (equal digests) connect their
groups. Chains of such connections count, too.

A group whose name is only the id of its image does not identify a patient in another store: two hospitals can both have
an `image_001`. An image that was saved again, with other bytes, is not recognised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from stages.segmentation.splits import linked_groups
from store import AttentionStore


def leaked_samples(store: AttentionStore, rows: Sequence[Mapping[str, str]], by: Collection[str]) -> list[bool]:
    """Return for every sample of a store whether the run was trained on it, or on another image of its patient.

    Args:
        store: the samples.
        rows: the run's splits, as `read_splits` returns them.
        by: the splits that count: `train`, `unlabelled`, and `val` if the choice of the checkpoint counts too.
    """
    used = _used_rows(rows, by)
    digests = {row["digest"] for row in used}
    named_by_others = {row["group"] for row in used if row["group"] != row["id"]}
    named_by_itself = {row["group"] for row in used if row["group"] == row["id"]}
    groups = [str(group) for group in store.column("group")]
    linked = linked_groups(groups, store.column("digest"))
    leaked = {
        linked[group]
        for id_, group, digest in zip(store.ids, groups, store.column("digest"), strict=True)
        if str(digest) in digests or group in named_by_others or (group in named_by_itself and group != str(id_))
    }
    return [linked[group] in leaked for group in groups]


def _used_rows(rows: Sequence[Mapping[str, str]], by: Collection[str]) -> list[Mapping[str, str]]:
    """Return the rows of these splits, and those that groups and copies connect to them, masks or not."""
    linked = linked_groups((row["group"] for row in rows), (row["digest"] for row in rows))
    used = {linked[row["group"]] for row in rows if row["split"] in by}
    return [row for row in rows if linked[row["group"]] in used]

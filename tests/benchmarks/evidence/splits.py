"""Write the splits of the protocol: tables `id,split` for `split_csv`, from the ids and picture hashes of a store.

The images are first divided once and for all. An image is *held out* if int(SHA-256("pool/" + id)) mod 1000 is below
the data set's number; the others are the *pool*, on which a transformer may be pretrained.

| split | drawn from | size |
|---|---|---|
| test | held-out images | `DataSet.test` |
| val | the pool | `VAL` of the images that are not in test |
| train | all others | the rest |

So no transformer has seen a test image, and no validation image is a test image of any split: settings that are chosen
on validation images of one split have never been chosen by a test image. The order of the draw is that of
SHA-256("split/<number>/<first id>"), so the same ids give the same table on every machine.

A data set with sources has one split. Its test images are drawn from the sources, in the same order and as many from
each. The other images of the sources are in no part, and neither are images of other sources that look like one of
them. Some of these test images are in the pool, so transformers that were pretrained on it must not be tested here.

Images that look the same (`stages.segmentation.near_duplicates`), also through a chain of others, are always in one
split. If one of them is in the pool, none is a test image; if one is held out, none is a validation image.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

from stages.errors import UsageError
from stages.segmentation.near_duplicates import similar_pairs
from store import AttentionStore
from store.disk.publish import replace_file
from tests.benchmarks.evidence.datasets import DataSet

__all__ = ["VAL", "draw_split", "is_held_out", "split_file", "write_splits"]

VAL = 0.15
"""Share of the images outside the test split that are validation images."""


def split_file(folder: Path, dataset: DataSet, number: int) -> Path:
    """Return the path of the table of a split."""
    return folder / f"{dataset.name}-{number}.csv"


def write_splits(store: AttentionStore, dataset: DataSet, folder: Path) -> list[Path]:
    """Write the table of every split, and return the paths.

    Args:
        store: holds the images of the data set, with their picture hashes.
        dataset: sizes of the splits.
        folder: for the tables; it is made if it is missing.

    Raises:
        UsageError: the store has no picture hashes, or too few held-out images.
    """
    if not store.has("perceptual_hash"):
        raise UsageError(f"{store.path}: holds no picture hashes, so pairs are not found. Extract the images again.")
    folder.mkdir(parents=True, exist_ok=True)
    ids = [str(id_) for id_ in store.ids]
    hashes = [str(hash_) for hash_ in store.column("perceptual_hash")]
    paths = []
    for number in dataset.splits:
        split_of = draw_split(ids, hashes, dataset, number)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "split"))
        writer.writerows((id_, split_of[id_]) for id_ in ids if id_ in split_of)
        paths.append(split_file(folder, dataset, number))
        replace_file(paths[-1], text.getvalue().encode())
    return paths


def is_held_out(id_: str, per_mille: int) -> bool:
    """Return True if an image is kept out of all pretraining.

    Args:
        id_: of the image, the name of its file without the extension.
        per_mille: expected number of held-out images among a thousand.
    """
    return int(hashlib.sha256(f"pool/{id_}".encode()).hexdigest(), 16) % 1000 < per_mille


def draw_split(ids: Sequence[str], hashes: Sequence[str], dataset: DataSet, number: int) -> dict[str, str]:
    """Return the split of every image: train, val or test. With sources, some images are in none.

    Args:
        ids: of the images.
        hashes: their picture hashes, 16 hexadecimal digits each; "" is like no other.
        dataset: sizes of the splits.
        number: of the split.

    Raises:
        UsageError: too few images are held out, or of the sources.
    """
    groups = sorted(look_alikes(ids, hashes), key=lambda group: _order(number, group[0]))
    if dataset.sources:
        each = dataset.test // len(dataset.sources)
        test = set().union(*(_take(_within(groups, (source,)), each) for source in dataset.sources))
        others = [group for group in groups if not any(_is_within(id_, dataset.sources) for id_ in group)]
    else:
        test = _take(
            [group for group in groups if all(is_held_out(id_, dataset.held_out) for id_ in group)], dataset.test
        )
        others = groups
    left = [group for group in others if group[0] not in test]
    pool = [group for group in left if not any(is_held_out(id_, dataset.held_out) for id_ in group)]
    val = _take(pool, round(VAL * sum(map(len, left))))
    if len(test) < dataset.test:
        raise UsageError(
            f"{dataset.name}: {dataset.test} test images are asked for, but only {len(test)} of the {len(ids)} images "
            f"are {'of its sources' if dataset.sources else 'held out'}. Use the whole data set."
        )
    split_of = dict.fromkeys((id_ for group in left for id_ in group), "train")
    return split_of | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")


def look_alikes(ids: Sequence[str], hashes: Sequence[str]) -> list[list[str]]:
    """Return the groups of images that look the same, each sorted; most images are alone in theirs."""
    group_of = {id_: [id_] for id_ in ids}
    for one, other, _ in similar_pairs(hashes):
        first, second = group_of[ids[one]], group_of[ids[other]]
        if first is not second:
            first += second
            group_of.update(dict.fromkeys(second, first))
    return [sorted(group) for group in {id(group): group for group in group_of.values()}.values()]


def _take(groups: Sequence[Sequence[str]], count: int) -> set[str]:
    """Return the images of the first groups that fit into `count`."""
    taken: set[str] = set()
    for group in groups:
        if len(taken) + len(group) <= count:
            taken.update(group)
    return taken


def _within(groups: Sequence[list[str]], sources: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Return the groups whose images are all of these sources."""
    return [group for group in groups if all(_is_within(id_, sources) for id_ in group)]


def _is_within(id_: str, sources: Sequence[tuple[int, int]]) -> bool:
    """Return True if the number at the end of an id, such as ISIC_0014321, is that of an image of a source."""
    found = re.search(r"[0-9]+$", id_)
    return found is not None and any(first <= int(found[0]) <= last for first, last in sources)


def _order(number: int, id_: str) -> str:
    return hashlib.sha256(f"split/{number}/{id_}".encode()).hexdigest()

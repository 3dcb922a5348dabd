"""Give the samples of a store the splits of a table, and check that no group and no copied image is in two of them.

Names and digests are compared by 64 bits of each (`store.text_words`), so ten million samples take no Python object
each. Only samples that may be in a wrong split are looked at by their texts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.errors import Problem
from stages.segmentation.column_prints import Prints, column_prints
from stages.segmentation.group_hashes import positions_of
from stages.segmentation.linked_names import linked_groups
from stages.segmentation.linked_prints import Links, links_of, repeated_positions
from stages.segmentation.split_csv import NAMES, NO_SPLIT, KnownIds, read_split_csv
from stages.segmentation.split_tables import LEARNT_FROM, SPLITS
from store import AttentionStore

__all__ = ["splits_of_table"]

_SIDES = np.array([0, *(0 if name in LEARNT_FROM else code for code, name in enumerate(NAMES[1:], start=1))], np.uint64)
"""By code: equal for splits that a group may be in together. Two bits are enough."""
_SIDE = np.uint64(3)


def splits_of_table(store: AttentionStore, path: Path) -> tuple[list[str], list[Problem]]:
    """Return the split of every sample as a table gives it, and all problems; "" for samples it does not name.

    Args:
        store: the samples.
        path: of the table; see `stages.segmentation.splits.split_by_csv`.

    Raises:
        UsageError: the table cannot be read, or lacks a column.
    """
    ids = column_prints(store, "sample")
    parents = column_prints(store, "parent") if store.has("parent") else None
    known = KnownIds(ids if parents is None else np.concatenate([ids, parents]))
    listed = read_split_csv(path, known)
    problems = [*listed.problems, *(Problem(str(path), f"`{id_}` is not in {store.path}") for id_ in listed.unknown)]
    codes = listed.codes[known.numbers(ids)]
    if parents is not None:
        of_parents = listed.codes[known.numbers(parents)]
        scored = np.isin(of_parents, [NAMES.index(name) for name in SPLITS])
        codes = np.where((codes == NO_SPLIT) & (~scored | store.labelled), of_parents, codes)
    del ids, parents, known
    without = np.flatnonzero(np.isin(codes, [NAMES.index(name) for name in SPLITS]) & ~store.labelled)
    if len(without):
        names = store.chosen_texts("sample", without)
        problems += [
            Problem(str(path), f"`{names[at]}` has no mask in {store.path}; leave it out") for at in without.tolist()
        ]
    problems += _straddling(store, codes, path)
    splits: list[str] = np.array(NAMES, object)[codes].tolist()
    return splits, problems


def _straddling(store: AttentionStore, codes: NDArray[np.uint8], path: Path) -> list[Problem]:
    """Return a problem for every sample that is in another split than its group, its copies, or a chain of both."""
    used = np.flatnonzero(codes != NO_SPLIT)
    groups, digests = column_prints(store, "group"), column_prints(store, "digest")
    copied = repeated_positions(digests)
    links = links_of(groups, digests, copied)
    problems: dict[int, Problem] = {}

    def add(rows: NDArray[np.int64], values: Callable[[NDArray[np.int64]], list[str]], wording: str) -> None:
        """Add the problems of samples that may be in another split than the first one of the same value."""
        if not len(rows):
            return
        ids, first = store.chosen_texts("sample", rows), dict[str, tuple[str, str]]()
        for position, value, code in zip(rows.tolist(), values(rows), codes[rows].tolist(), strict=True):
            split, id_ = NAMES[code], ids[position]
            other_split, other = first.setdefault(value, (split, id_))
            if other_split != split and not {other_split, split} <= set(LEARNT_FROM):
                what = f"{wording.format(value)} in {other_split} (`{other}`) and in {split} (`{id_}`); keep it in one"
                problems.setdefault(position, Problem(str(path), what))

    def texts(name: str) -> Callable[[NDArray[np.int64]], list[str]]:
        def read(rows: NDArray[np.int64]) -> list[str]:
            found = store.chosen_texts(name, rows)
            return [found[position] for position in rows.tolist()]

        return read

    def linked(rows: NDArray[np.int64]) -> list[str]:
        names = _linked_names(store, groups, digests, links)
        return [names.get(group, group) for group in texts("group")(rows)]

    add(_doubtful(groups, codes, used), texts("group"), "group `{}` is")
    of_copies = copied[codes[copied] != NO_SPLIT]
    add(_doubtful(digests, codes, of_copies), texts("digest"), "the same image (SHA-256 {:.12}…) is")
    if len(links.names):
        chain = _doubtful(links.linked(groups), codes, used)
        add(chain, linked, "copied images connect groups, one of them `{}`, that are")
    return list(problems.values())


def _doubtful(values: Prints, codes: NDArray[np.uint8], used: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of samples with a value that may be in two splits, in rising order.

    Args:
        values: (sample,) what the samples of one split have in common.
        codes: (sample,) their splits.
        used: positions of the samples with a split.
    """
    chosen = values[used] & ~_SIDE
    ordered = np.sort(chosen | _SIDES[codes[used]])
    differs = (ordered[1:] != ordered[:-1]) & ((ordered[1:] ^ ordered[:-1]) <= _SIDE)
    return used[positions_of(chosen, ordered[1:][differs] & ~_SIDE)]


def _linked_names(store: AttentionStore, groups: Prints, digests: Prints, links: Links) -> dict[str, str]:
    """Return for each group that copied images connect with others the first name of all of them."""
    copied = links.copied
    new = np.ones(len(copied), np.bool_)  # all tiles of an image have one digest and one group: look at one of them
    new[1:] = (groups[copied[1:]] != groups[copied[:-1]]) | (digests[copied[1:]] != digests[copied[:-1]])
    chosen = copied[new]
    names, images = (store.chosen_texts(name, chosen) for name in ("group", "digest"))
    return linked_groups((names[at] for at in chosen.tolist()), (images[at] for at in chosen.tolist()))

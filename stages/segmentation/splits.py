"""Which samples train, which choose the checkpoint, which are kept for the end.

A sample's split is a hash of (seed, its group), so it depends on nothing else: adding images moves
nobody, and all images of a patient or lesion land together. Groups that share a copied image (the same
digest) land together too: in test if any of them drew test, else in val if any drew val. So even a
copy that is added later never moves a test image into training. Or a table `id,split` says it outright; then groups and
copies that straddle are refused.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from stages.errors import CheckpointError, InputProblemsError, Problem, UsageError
from store import AttentionStore

SPLITS = ("train", "val", "test")
COLUMNS = ("id", "group", "digest", "split")


def split_by_hash(store: AttentionStore, *, seed: int, val: float, test: float) -> list[str]:
    """The split of every sample, in the store's order; "" for samples without a mask.

    Args:
        store: the samples.
        seed: another seed gives another, unrelated split.
        val: expected share of the groups for validation.
        test: expected share of the groups for testing.

    Raises:
        UsageError: the shares leave nothing to train on, or a split comes out empty.
    """
    if val + test >= 1:
        raise UsageError(f"val ({val}) and test ({test}) leave nothing to train on; their sum must be below 1.")
    drawn = {str(group): _draw(str(group), seed, val, test) for group in store.column("group")}
    linked = _linked_groups(store)
    together: dict[str, str] = {}
    for group, name in linked.items():  # SPLITS is in rising order of what must not be trained on
        together[name] = max(together.get(name, "train"), drawn[group], key=SPLITS.index)
    splits = [
        together[linked[str(group)]] if labelled else ""
        for group, labelled in zip(store.column("group"), store.labelled, strict=True)
    ]
    _require(splits, {"train"} | ({"val"} if val else set()) | ({"test"} if test else set()), "the seeded split")
    return splits


def split_by_csv(store: AttentionStore, path: Path) -> list[str]:
    """The split of every sample as a table `id,split` says; "" for samples it does not name.

    Raises:
        UsageError: the table cannot be read or has not these columns.
        InputProblemsError: rows that do not fit, groups or copies that straddle; all of them.
    """
    wanted, problems = _read_csv(path)
    known = set(map(str, store.ids))
    problems += [Problem(str(path), f"`{id_}` is not in {store.path}") for id_ in wanted if id_ not in known]
    splits = [wanted.get(str(id_), "") for id_ in store.ids]
    for position in [at for at, split in enumerate(splits) if split and not store.labelled[at]]:
        problems.append(Problem(str(path), f"`{store.ids[position]}` has no mask in {store.path}; leave it out"))
    problems += _straddling(store, splits, path)
    if problems:
        raise InputProblemsError(problems)
    _require(splits, {"train"}, str(path))
    return splits


def write_splits(path: Path, store: AttentionStore, splits: Sequence[str]) -> None:
    """Write `id,group,digest,split`, one row per sample of the store."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        columns = (store.ids, store.column("group"), store.column("digest"), splits)
        table.writerows(zip(*columns, strict=True))


def read_splits(path: Path) -> list[dict[str, str]]:
    """The rows that `write_splits` wrote.

    Raises:
        CheckpointError: the run lacks them, or they were changed, so nobody knows what it was trained on.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        rows = [{}]
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing, so it is not known what the run was trained on.") from None
    if any(not isinstance(row.get(column), str) for row in rows for column in COLUMNS):
        raise CheckpointError(
            f"{path}: is damaged, so it is not known what the run was trained on; a row lacks one of the columns "
            f"{', '.join(COLUMNS)}.\n  Restore it, or train again."
        )
    return rows


def _draw(group: str, seed: int, val: float, test: float) -> str:
    drawn = int.from_bytes(hashlib.sha256(f"{seed}\n{group}".encode()).digest()[:8], "big") / 2**64
    return "test" if drawn < test else "val" if drawn < test + val else "train"


def _linked_groups(store: AttentionStore) -> dict[str, str]:
    """For every group, one name shared by all groups that must stay together: those joined by a copied image.

    (Union-find over groups.)
    """
    groups = [str(group) for group in store.column("group")]
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first_with: dict[str, str] = {}
    for group, digest in zip(groups, store.column("digest"), strict=True):
        one, other = sorted([root(group), root(first_with.setdefault(str(digest), group))])
        parent[other] = one
    return {group: root(group) for group in parent}


def _straddling(store: AttentionStore, splits: Sequence[str], path: Path) -> list[Problem]:
    problems = []
    for column, what in (("group", "group"), ("digest", "the same image (SHA-256")):
        seen: dict[str, tuple[str, str]] = {}
        for value, id_, split in zip(store.column(column), store.ids, splits, strict=True):
            if not split:
                continue
            other_split, other = seen.setdefault(str(value), (split, str(id_)))
            if other_split != split:
                name = f"{what} `{value}`" if column == "group" else f"{what} {str(value)[:12]}…)"
                problems.append(
                    Problem(
                        str(path), f"{name} is in {other_split} (`{other}`) and in {split} (`{id_}`); keep it in one"
                    )
                )
    return problems


def _read_csv(path: Path) -> tuple[dict[str, str], list[Problem]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            found = table.fieldnames or []
            missing = sorted({"id", "split"} - set(found))
            if missing:
                told = ", ".join(map(ascii, found)) or "none"
                cure = " Separate the columns with commas." if any(set(";\t") & set(name) for name in found) else ""
                lacks = f"lacks the column {' and '.join(missing)} and has {told}"
                raise UsageError(f"{path}: {lacks}; it needs `id,split`.{cure}")
            rows = list(table)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such table.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read as UTF-8. Save the table as `CSV UTF-8`.") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Name a file that may be read.") from None
    except csv.Error as error:
        raise UsageError(f"{path}: cannot be read as a comma-separated table ({error}). Mend the quotes.") from None
    wanted: dict[str, str] = {}
    problems = []
    for line, row in enumerate(rows, start=2):
        id_, split = (row["id"] or "").strip(), (row["split"] or "").strip().lower()
        if split not in (*SPLITS, ""):
            problems.append(Problem(f"{path} line {line}", f"split is `{split}`; use train, val or test"))
        elif id_ in wanted:
            problems.append(Problem(f"{path} line {line}", f"`{id_}` is listed twice"))
        elif split:
            wanted[id_] = split
    return wanted, problems


def _require(splits: Sequence[str], needed: set[str], where: str) -> None:
    empty = [split for split in SPLITS if split in needed and split not in splits]
    if empty:
        raise UsageError(
            f"{where} puts no sample in {' and '.join(empty)} ({sum(map(bool, splits))} labelled samples in all).\n"
            "  Use more images, another --split-seed, other shares (--val, --test), or a --split-csv."
        )

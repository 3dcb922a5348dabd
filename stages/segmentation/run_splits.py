"""Know the splits of a finished run as arrays of numbers: one for each row of its `splits.csv`.

A run may have ten million samples, so no cell stays in memory. For each row there are its split and 64 bits that stand
for its group and for its digest (`store.text_words`), about 18 bytes together. The samples of a store are found in the
table by the digests of their images, because ids can change.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.errors import CheckpointError
from stages.outputs.runs_inside import several_runs
from stages.segmentation.column_prints import Prints, prints_of
from stages.segmentation.json_rows import sorted_rows_sha256
from stages.segmentation.linked_prints import repeated_positions
from stages.segmentation.split_blocks import ROW, MissingCellError, SplitBlock, SplitFile
from stages.segmentation.split_codes import split_codes
from store.text_words import are_equal, are_rising
from store.texts import Texts

__all__ = ["NAMES", "UNKNOWN", "RunSplits", "last_codes", "read_run_splits", "split_names"]

NAMES = ("train", "val", "test", "unlabelled", "")
"""Splits of a row. Positions in it are the codes; `OTHER` is any other text."""
NO_SPLIT = NAMES.index("")
OTHER = len(NAMES)
UNKNOWN = OTHER + 1
"""Code of a sample that the table does not have."""
TOGETHER = 1 << 16
"""Digests that are looked up together."""
RESTORE = "Restore the file (`dvc checkout`?), or train again."


@dataclass(frozen=True, kw_only=True)
class RunSplits:
    """Hold the rows of a table in its order. Rows whose prints agree have the same text."""

    codes: NDArray[np.uint8]
    """(row,) split: position in `NAMES`, or `OTHER`."""
    groups: Prints
    """(row,) prints of the groups."""
    digests: Prints
    """(row,) prints of the digests."""
    alone: NDArray[np.bool_]
    """(row,) True where the group is the id."""
    ids: Prints | None = None
    """(row,) prints of the ids, if they were asked for."""

    in_order: bool = False
    """True if the ids are rising, and the digest that the run's model records is that of these rows."""

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def copied(self) -> NDArray[np.int64]:
        """Positions of the rows whose digest is there more than once, in rising order."""
        return repeated_positions(self.digests)

    def are_in(self, names: Collection[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return True for each of these rows that is in one of the splits, (row,)."""
        return np.isin(self.codes[rows], [NAMES.index(name) for name in names])

    def count(self, name: str) -> int:
        """Return the number of rows in a split."""
        return int((self.codes == NAMES.index(name)).sum())

    def codes_of(self, digests: Prints, *, with_empty: bool = False) -> NDArray[np.uint8]:
        """Return the splits of images: of each the last row with its digest counts.

        Args:
            digests: (image,) prints of the digests.
            with_empty: rows without a split count, too.

        Returns:
            (image,) codes; `UNKNOWN` where no row has the digest.
        """
        counted = np.ones(len(self), np.bool_) if with_empty else self.codes != NO_SPLIT
        if digests is not self.digests:
            rows = np.flatnonzero(counted)
            return last_codes(self.digests[rows], self.codes[rows], digests)
        found = np.where(counted, self.codes, np.uint8(UNKNOWN))
        rows = self.copied[counted[self.copied]]
        found[self.copied] = last_codes(digests[rows], self.codes[rows], digests[self.copied])
        return found


def last_codes(known: Prints, codes: NDArray[np.uint8], wanted: Prints) -> NDArray[np.uint8]:
    """Return the code of the last row with each wanted print, (wanted,); `UNKNOWN` where no row has it.

    Args:
        known: (row,) prints.
        codes: (row,) code of each.
        wanted: prints to look for.
    """
    found = np.full(len(wanted), UNKNOWN, np.uint8)
    if not len(known):
        return found
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    for start in range(0, len(wanted), TOGETHER):
        part = wanted[start : start + TOGETHER]
        at = np.maximum(np.searchsorted(ordered, part, side="right"), 1) - 1
        there = ordered[at] == part
        found[start : start + len(part)][there] = codes[order[at[there]]]
    return found


def split_names(codes: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Return the names of splits, (code,); "" for `OTHER` and `UNKNOWN`."""
    names: NDArray[np.object_] = np.array([*NAMES, "", ""], dtype=object)[codes]
    return names


def read_run_splits(path: Path, expected_sha256: str = "", *, with_ids: bool = False) -> RunSplits:
    """Read the table that `write_splits` wrote.

    Args:
        path: the run's table.
        expected_sha256: digest of the rows that the run's model records; "" for older runs, which recorded none.
        with_ids: the prints of the ids are asked for.

    Raises:
        CheckpointError: the table is missing, damaged, or was changed, so it is not known what the run was trained on.
    """
    try:
        # Version 0.2 and before wrote every cell as it is. The digest says which of the two a table is.
        for marked in (True, False) if expected_sha256 else (False,):
            table = _Table(SplitFile(path, marked=marked), hashed=bool(expected_sha256), with_ids=with_ids)
            if not expected_sha256 or table.sha256() == expected_sha256:
                return table.splits()
    except FileNotFoundError:
        if several := several_runs(path.parent):
            raise CheckpointError(f"{path}: there is no such file; {several}.") from None
        raise CheckpointError(
            f"{path}: is missing, so it is not known what the run was trained on.\n  {RESTORE}"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}).\n  Allow reading it, or check the disk."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(f"{path}: is damaged and cannot be read as UTF-8 CSV: {error}.\n  {RESTORE}") from None
    except MissingCellError:
        raise CheckpointError(
            f"{path}: is damaged or was changed after training, so it is not known what the run was trained on; "
            f"a row lacks one of the columns {', '.join(ROW)}.\n  {RESTORE}"
        ) from None
    raise CheckpointError(
        f"{path}: was changed after training, so it is not known what the run was trained on.\n  {RESTORE}"
    )


class _Table:
    """Read a table from its first to its last row; afterwards its arrays and its digest are known.

    Args:
        file: the table.
        hashed: the digest is asked for.
        with_ids: the prints of the ids are asked for.
    """

    def __init__(self, file: SplitFile, *, hashed: bool, with_ids: bool) -> None:
        self._file = file
        # Bytes grow in place. Putting parts together at the end would take twice the memory.
        self._codes, self._groups, self._digests, self._alone = (bytearray() for _ in range(4))
        self._ids = bytearray() if with_ids else None
        self._places: list[tuple[int, int]] = []
        self._sha256 = hashlib.sha256(b"[") if hashed else None
        self._last = ""
        for block in file.blocks():
            self._add(block)

    def _add(self, block: SplitBlock) -> None:
        ids, groups, digests, splits = block.columns
        self._codes += split_codes(splits, NAMES).tobytes()
        self._groups += prints_of(groups).tobytes()
        self._digests += prints_of(digests).tobytes()
        self._alone += are_equal(ids, groups).tobytes()
        if self._ids is not None:
            self._ids += prints_of(ids).tobytes()
        if self._sha256 is not None and not self._hash(self._sha256, block, ids):
            self._sha256 = None
        self._places.append(block.place)

    def _hash(self, digest: hashlib._Hash, block: SplitBlock, ids: Texts) -> bool:
        """Hash the rows of the next block. Return False if the ids are not rising."""
        if (self._places and self._last >= ids[0]) or not are_rising(ids):
            return False
        digest.update(b", " * bool(self._places) + block.json())
        self._last = ids[len(ids) - 1]
        return True

    def sha256(self) -> str:
        """Return the digest of the rows in the order of their ids."""
        if self._sha256 is None:
            return sorted_rows_sha256([partial(self._columns, place) for place in self._places], len(self._codes))
        digest = self._sha256.copy()
        digest.update(b"]")
        return digest.hexdigest()

    def _columns(self, place: tuple[int, int]) -> Sequence[Texts]:
        return self._file.block_at(place).columns

    def splits(self) -> RunSplits:
        """Return the arrays."""
        return RunSplits(
            codes=np.frombuffer(self._codes, np.uint8),
            groups=np.frombuffer(self._groups, np.uint64),
            digests=np.frombuffer(self._digests, np.uint64),
            alone=np.frombuffer(self._alone, np.bool_),
            ids=None if self._ids is None else np.frombuffer(self._ids, np.uint64),
            in_order=self._sha256 is not None,
        )

"""Write a run's table of splits, `splits.csv`, and hash its rows. `stages.segmentation.split_csv` reads a user's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from stages.outputs.csv_rows import csv_rows
from stages.segmentation.json_rows import Segment, json_rows, sorted_rows_sha256
from stages.segmentation.plain_rows import joined_rows
from stages.segmentation.split_blocks import ROW, texts_of
from store import AttentionStore
from store.text_words import are_rising
from store.texts import Texts

__all__ = [
    "LEARNT_FROM",
    "ROW",
    "SPLITS",
    "UNLABELLED",
    "split_rows",
    "splits_digest",
    "splits_sha256",
    "store_splits_sha256",
    "write_splits",
]

SPLITS = ("train", "val", "test")
UNLABELLED = "unlabelled"
"""Split of the samples that are learnt from without labels; see `stages.segmentation.unlabelled_samples`."""
LEARNT_FROM = ("train", UNLABELLED)
"""Splits that a model learns from. A patient may be in both: labels are drawn image by image."""


def split_rows(store: AttentionStore, splits: Sequence[str]) -> list[dict[str, str]]:
    """Return one row per sample of the store, with the cells `id`, `group`, `digest` and `split`."""
    columns = (store.ids, store.column("group"), store.column("digest"), splits)
    return [dict(zip(ROW, map(str, cells), strict=True)) for cells in zip(*columns, strict=True)]


def splits_sha256(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a digest of the rows in any order. A model records it, so that edited rows are noticed."""
    return hashlib.sha256(json.dumps(sorted([row[name] for name in ROW] for row in rows)).encode()).hexdigest()


def store_splits_sha256(store: AttentionStore, splits: Sequence[str]) -> str:
    """Return `splits_sha256` of `split_rows`. No more than a part of the rows is in memory."""
    digest, last = hashlib.sha256(b"["), ""
    segments = _segments(store, splits)
    for number, read in enumerate(segments):
        ids, *others = read()
        if (number and last >= ids[0]) or not are_rising(ids):
            return sorted_rows_sha256(segments, len(splits))
        digest.update(b", " * bool(number) + _json((ids, *others)))
        last = ids[len(ids) - 1]
    digest.update(b"]")
    return digest.hexdigest()


def write_splits(path: Path, store: AttentionStore, splits: Sequence[str]) -> None:
    """Write `split_rows` as a table `id,group,digest,split`, with the marks of `stages.outputs.cells`.

    Rows are written as they are read, so that millions of them take no memory.
    """
    with path.open("wb") as file:
        file.writelines(csv_rows([[name.encode()] for name in ROW]))
        for read in _segments(store, splits):
            file.writelines(_csv(read()))


def _json(columns: Sequence[Texts]) -> bytes:
    """Return rows as `json.dumps` writes them, with `, ` between them."""
    rows = joined_rows(columns, before=b'["', between=b'", "', after=b'"], ')
    return b", ".join(json_rows([texts.to_list() for texts in columns])) if rows is None else rows[:-2]


def _csv(columns: Sequence[Texts]) -> Iterable[bytes]:
    """Return rows as `csv.writer` writes them, with marks."""
    rows = joined_rows(columns, before=b"", between=b",", after=b"\r\n")
    return csv_rows([texts.to_list() for texts in columns]) if rows is None else [rows]


def _segments(store: AttentionStore, splits: Sequence[str]) -> list[Segment]:
    """Return a reader for each chunk of the columns: it returns the texts of the columns `ROW`."""

    def read(number: int, start: int, stop: int) -> Sequence[Texts]:
        columns = (_texts_at(store, name, number) for name in ("sample", "group", "digest"))
        return [*columns, _split_texts(splits[start:stop])]

    return [partial(read, number, *extent) for number, extent in enumerate(store.columns.extents("sample"))]


def _split_texts(splits: Sequence[str]) -> Texts:
    """Return splits as texts. Equal ones share their bytes."""
    names = list(dict.fromkeys(splits))
    codes = np.fromiter(map({name: code for code, name in enumerate(names)}.__getitem__, splits), np.intp, len(splits))
    texts = texts_of(names)
    return Texts(texts.content, texts.starts[codes], texts.lengths[codes])


def _texts_at(store: AttentionStore, name: str, number: int) -> Texts:
    """Return the texts of a column's chunk. The chunks of all columns hold the same samples."""
    values = store.columns.chunk(name, number)
    return values if isinstance(values, Texts) else texts_of(map(str, values.tolist()))


def splits_digest(splits: Sequence[str]) -> str:
    """Return the digest of the splits by which a run is recognised."""
    return hashlib.sha256("\n".join(splits).encode()).hexdigest()

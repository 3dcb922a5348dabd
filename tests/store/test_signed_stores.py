"""Stores whose hashes are right and whose claims are not: refused with the reason, without memory for the claim."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store import AttentionStore, StoreCorruptError, StoreError
from store.check import check_store
from store.column_chunks import MOST_BYTES
from store.format import SHARDED, contents_sha256, metadata_sha256
from store.upgrade import layout_of, upgrade_store
from tests.store.conformance.cases import SOURCE
from tests.store.conformance.draft import Draft
from tests.store.signed_changes import CLAIMS, chunks_of, sign

OLD = SOURCE.parents[1] / "v1" / "store.zarr"
MOST_MEMORY = 400 * 2**20
"""Most memory that refusing a store may take. The largest description of these tests has 20 MB of names."""


@contextmanager
def little_memory() -> Iterator[None]:
    """Measure what Python and NumPy allocate; an allocation counts also if it is never written to."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


def use_all(path: Path) -> None:
    """Read everything that a command reads."""
    store = AttentionStore.open(path)
    for name in store.description.columns_sha256:
        store.column(name)
    store.read(range(len(store)))
    assert store[0].id


@pytest.mark.parametrize("name", CLAIMS)
def test_a_false_claim_is_refused_by_reading_and_verifying(tmp_path: Path, name: str):
    change, reason = CLAIMS[name]
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    sign(draft, change)
    with little_memory():
        with pytest.raises(StoreError) as refused:
            use_all(draft.path)
        assert reason in str(refused.value)
        found = check_store(draft.path)
        assert found.verdict == "damaged"
        assert any(reason.split(" is damaged")[0] in fault.text for fault in found.faults), found.faults


def _old_columns(draft: Draft, count: int, extent: int) -> None:
    """Claim `count` samples in a store of version 1, in chunks of `extent` rows with one digest each."""
    draft.described["samples"] = count
    for name in [*SHARDED, *draft.described["columns_sha256"]]:
        shape = draft.metadata(name)["shape"][1:]
        if name == "head":
            continue
        draft.metadata(name, shape=[count, *shape])
        if name not in SHARDED:
            chunks_of(name, extent, *shape)(draft)
            digests = draft.described["columns_sha256"][name]
            digests[:] = digests[:1] * -(-count // extent)
    names = [*SHARDED, *draft.described["columns_sha256"]]
    metadata = {name: (draft.path / name / "zarr.json").read_bytes() for name in names}
    draft.described["metadata_sha256"] = metadata_sha256(metadata)
    draft.described["contents_sha256"] = contents_sha256(draft.described)
    draft.write_root()


@pytest.mark.parametrize(
    ("count", "extent", "reason"),
    [
        (2**40, 2**40, "packed chunks of 1099511627776 rows"),
        (10 * 65536, 65536, r"checksum/c\.1\.0 is missing \(samples 65536-131071\)"),
        (65536, 65536, "the shard"),
    ],
)
def test_an_old_store_cannot_claim_samples_that_its_files_do_not_hold(
    tmp_path: Path, count: int, extent: int, reason: str
):
    """Its columns are packed, so their sizes say little: the format's number of rows and the files are compared."""
    draft = Draft(shutil.copytree(OLD, tmp_path / "s.zarr"))
    _old_columns(draft, count, extent)
    with little_memory(), pytest.raises(StoreError, match=reason):
        upgrade_store(draft.path)


@pytest.mark.parametrize("factor", [1e-300, 2.0**-54, 1e-16])
def test_a_scale_factor_of_more_keys_than_can_be_counted_is_refused(tmp_path: Path, factor: float):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    attributes = draft.metadata("attention")["attributes"]
    draft.metadata("attention", attributes={**attributes, "scale_factor": factor})
    draft.seal()
    if factor < 2**-53:
        with pytest.raises(StoreCorruptError, match="no sound `scale_factor`"):
            AttentionStore.open(draft.path)
    else:
        assert layout_of(AttentionStore.open(draft.path)).keys == 10**16


def test_a_sparse_file_of_a_column_is_refused_before_it_is_read(tmp_path: Path):
    """Its size can be any number, and it takes no space in an archive."""
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    with (draft.path / "group" / "c.0").open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    with little_memory(), pytest.raises(StoreCorruptError, match=r"`group` is damaged \(c\.0 is larger than 256 MiB"):
        AttentionStore.open(draft.path).column("group")

"""The conformance set, read by our reader, by an independent reader, by zarr-python and by tensorstore."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from pipeline.verification import EXIT_STATUS
from store import (
    AttentionStore,
    NotAStoreError,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreVersionError,
)
from store.check import check_store
from store.format import DIMENSIONS
from tests.store.conformance import CASES, Case, write_case
from tests.store.independent_reader import Refused, read_store

VERDICTS = {
    NotAStoreError: "not_a_store",
    StoreVersionError: "version",
    StoreIncompleteError: "incomplete",
    StoreCorruptError: "corrupt",
}
VERIFIED = {
    "valid": "sound",
    "values": "damaged",
    "not_a_store": "missing",
    "version": "unknown",
    "incomplete": "missing",
    "corrupt": "damaged",
}
"""The verdict of `verify` for each verdict of the set."""

EVERY_CASE = [pytest.param(case, id=case.name) for case in CASES]
VALID = [pytest.param(case, id=case.name) for case in CASES if case.verdict == "valid"]


def read_all(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a store with our reader, except further ones in an unknown type or codec."""
    store = AttentionStore.open(path)
    arrays = {name: store.column(name) for name in store.description.columns_sha256}
    for name in store.description.sharded:
        try:
            arrays[name] = store.read_array(name, range(len(store)))
        except StoreVersionError:
            assert name not in DIMENSIONS
    return arrays


def require_equal(ours: dict[str, np.ndarray], theirs: dict[str, Any]) -> None:
    """Compare all arrays of two readers, bit by bit."""
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.shape == theirs[name].shape, name
        if values.dtype.kind == "T":
            assert values.tolist() == theirs[name].tolist(), name
        else:
            assert values.tobytes() == np.ascontiguousarray(theirs[name]).tobytes(), name


@pytest.mark.parametrize("case", EVERY_CASE)
def test_our_reader_and_verify_reach_the_verdict(case: Case, tmp_path: Path):
    path = write_case(case, tmp_path / "s.zarr")
    try:
        read_all(path)
    except StoreError as error:
        verdict = VERDICTS[type(error)]
    else:
        verdict = "valid"
    assert verdict == ("valid" if case.verdict == "values" else case.verdict)
    verified = check_store(path)
    assert verified.verdict == VERIFIED[case.verdict], verified.faults
    assert EXIT_STATUS[verified.verdict] == {"sound": 0, "damaged": 1, "unknown": 2, "missing": 3}[verified.verdict]


@pytest.mark.parametrize("case", EVERY_CASE)
def test_an_independent_reader_reaches_the_verdict_and_reads_the_same(case: Case, tmp_path: Path):
    """It knows nothing but the specification. It may refuse a codec that it does not have."""
    path = write_case(case, tmp_path / "s.zarr")
    if case.verdict in ("valid", "values") and not case.codecs:
        require_equal(read_all(path), read_store(path))
        return
    with pytest.raises(Refused) as refused:
        read_store(path)
    assert refused.value.args[0] == ("unsupported" if case.codecs else case.verdict)


@pytest.mark.parametrize("case", VALID)
def test_zarr_and_tensorstore_read_the_same(case: Case, tmp_path: Path):
    """Tensorstore has no type for texts, so it reads all arrays but those."""
    ours = read_all(write_case(case, tmp_path / "s.zarr"))
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    require_equal(ours, {name: np.asarray(group[name][...]) for name in ours})
    numbers = {name: values for name, values in ours.items() if values.dtype.kind != "T"}
    assert {"image", "mask", "attention", "height", "width", "labelled", "checksum"} <= numbers.keys()
    for name, values in numbers.items():
        kvstore = {"driver": "file", "path": f"{tmp_path / 's.zarr' / name}/"}
        theirs = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result().read().result()
        require_equal({name: values}, {name: theirs})


def test_the_independent_reader_is_small_and_independent():
    """It has at most 180 lines and imports only numpy and the standard library."""
    source = (Path(__file__).parent / "independent_reader.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 180
    imports = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert set(imports) == {"hashlib", "json", "re", "io", "pathlib", "typing", "numpy"}


def test_the_set_has_every_verdict_and_each_name_once():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert {case.verdict for case in CASES} == VERIFIED.keys()


def test_the_set_is_written_for_authors_of_other_readers(tmp_path: Path):
    """The command writes one folder per case, and the expected verdicts beside them."""
    command = [sys.executable, "-m", "tests.store.conformance", tmp_path / "set"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    expected = json.loads((tmp_path / "set" / "expected.json").read_text())
    assert {name: one["verdict"] for name, one in expected.items()} == {case.name: case.verdict for case in CASES}
    written = {path.name for path in (tmp_path / "set").iterdir()}
    assert written == {f"{name}.zarr" for name in expected} | {"expected.json"}
    with pytest.raises(StoreVersionError):
        AttentionStore.open(tmp_path / "set" / "version_3.zarr")


def test_further_arrays_and_columns_are_read_by_name(tmp_path: Path):
    """Everything that the description lists can be read, also arrays and columns that this program does not use."""
    (case,) = (case for case in CASES if case.name == "every_optional_part")
    store = AttentionStore.open(write_case(case, tmp_path / "s.zarr"))
    assert store.column("parent").tolist() == [f"volume_{index // 4}" for index in range(12)]
    assert store.column("slice").tolist() == list(range(12))
    features = store.read_array("features", [11, 0])
    assert features.shape == (2, 3, 4, 6)
    assert features.dtype == np.float16
    assert store.read_array("instances", [3]).dtype == np.uint16
    assert store.description.upgraded_from == ["0" * 64]
    with pytest.raises(StoreIncompleteError, match="no array `depth` of samples; it has image, mask, attention"):
        store.read_array("depth", [0])
    with pytest.raises(StoreIncompleteError, match=r"no column `image`; it has .*sample.*width"):
        store.column("image")


def test_a_damaged_further_array_is_found_whatever_its_codec(tmp_path: Path):
    """`verify` checks the checksums of chunks that it cannot decode."""
    (case,) = (case for case in CASES if case.name == "unknown_codec")
    path = write_case(case, tmp_path / "s.zarr")
    with pytest.raises(StoreVersionError, match="`depth` is stored in a way that this program does not know"):
        AttentionStore.open(path).read_array("depth", [0])
    shard = path / "depth" / "c.1.0"
    content = bytearray(shard.read_bytes())
    content[9] ^= 1  # 8 bytes a sample, checksum included
    shard.write_bytes(content)
    assert [fault.text for fault in check_store(path).faults] == [
        f"`depth` in {shard} (samples 8-11): sample 9 does not match its checksum."
    ]

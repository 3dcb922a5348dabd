"""Optional parts of a store: objects, lost objects, perceptual hashes, labels that overlap, rules of decoding."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from store import AttentionStore, StoreCorruptError, StoreError, StoreIncompleteError
from store.check import check_store, verify_store
from store.description import MaskSource
from store.format import OPTIONAL_COLUMNS
from store.root import is_store
from store.upgrade import layout_of, upgrade_store
from store.writer import Layout
from tests.conftest import random_sample
from tests.store.conformance import CASES, write_case
from tests.store.optional_samples import sample_of, write

RULES = MaskSource(
    values={"skin": 0, "lesion": "1-255"},
    decoding="mapped",
    pairing={"rule": "layout", "layout": "isic"},
    resize="area",
    rules={"labels": "instances", "threshold": None, "unclear": 0.05},
)


@pytest.fixture
def full(layout: Layout) -> Layout:
    """Return the layout of a store with every optional part that the writer has."""
    return replace(layout, instances=True, columns=tuple(OPTIONAL_COLUMNS), masks=RULES)


def files(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_optional_parts_come_back_as_written(full: Layout, tmp_path: Path):
    store = AttentionStore.open(write(tmp_path / "s.zarr", full, [sample_of(index, full) for index in range(4)]))
    assert all(store.has(name) for name in ("instances", *OPTIONAL_COLUMNS))
    assert store.column("lost_objects").tolist() == [1, 2, 1, 1]
    assert store.column("lost_classes").tolist() == ["", "1", "", ""]
    found = store.instances([3, 0, 3])
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.stack([sample_of(index, full).instances for index in (3, 0, 3)]))
    for field in OPTIONAL_COLUMNS:
        assert getattr(store[1], field) == getattr(sample_of(1, full), field)
    np.testing.assert_array_equal(store[2].instances, sample_of(2, full).instances)
    assert store.description.masks == RULES
    assert store.description.required == ["label_rules"]


def test_a_store_without_optional_parts_has_none(layout: Layout, tmp_path: Path):
    """The sample's fields are None, also if the sample that was written had values."""
    store = AttentionStore.open(write(tmp_path / "s.zarr", layout, [sample_of(0, layout)]))
    assert not any(store.has(name) for name in ("instances", *OPTIONAL_COLUMNS))
    assert not store.multilabel
    assert {getattr(store[0], name) for name in ("instances", *OPTIONAL_COLUMNS)} == {None}
    assert store.description.required == []
    assert not {"resize", "rules"} & store.description.to_dict()["masks"].keys()
    with pytest.raises(StoreIncompleteError, match="no array `instances` of samples; it has image, mask, attention"):
        store.instances([0])
    with pytest.raises(StoreIncompleteError, match="no column `objects`"):
        store.column("objects")


def test_has_does_not_count_what_every_store_has(full: Layout, tmp_path: Path):
    store = AttentionStore.open(write(tmp_path / "s.zarr", full, []))
    assert not store.has("mask")
    assert not store.has("group")
    assert not store.has("depth")


def test_some_columns_alone_in_any_order_give_the_same_bytes(layout: Layout, tmp_path: Path):
    one, other = (
        files(write(tmp_path / f"{number}.zarr", replace(layout, columns=names), [sample_of(0, layout)]))
        for number, names in enumerate((("perceptual_hash", "objects"), ("objects", "perceptual_hash")))
    )
    assert one == other
    assert not any(name.startswith("lost_") for name in one)


@pytest.mark.parametrize("name", ["instances", "objects", "lost_classes"])
def test_a_sample_without_a_value_of_the_layout_is_refused(full: Layout, tmp_path: Path, name: str):
    with pytest.raises(ValueError, match=f"sample-000: has no `{name}`"):
        write(tmp_path / "s.zarr", full, [replace(sample_of(0, full), **{name: None})])
    assert list(tmp_path.iterdir()) == []


def test_instances_of_another_type_are_refused(full: Layout, tmp_path: Path):
    sample = sample_of(0, full)
    with pytest.raises(ValueError, match=r"`instances` is int32\(10, 14\), not uint16\(10, 14\)"):
        write(tmp_path / "s.zarr", full, [replace(sample, instances=sample.instances.astype(np.int32))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ("objects", "weight")}, "no optional columns weight"),
        ({"multilabel": True, "classes": ["background"]}, "1 to 7 labels, not 0"),
        ({"multilabel": True, "classes": list("abcdefghi")}, "1 to 7 labels, not 8"),
    ],
)
def test_a_layout_that_the_format_does_not_have_is_refused(layout: Layout, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(layout, **changes)


def test_labels_that_overlap_come_back_as_bits(layout: Layout, tmp_path: Path):
    """Seven labels use all bits but the highest one; 255 stays the value of ignored pixels."""
    bits = replace(layout, multilabel=True, classes=["background", *"abcdefg"])
    mask = np.arange(140, dtype=np.uint8).reshape(layout.size) % 128
    mask[0] = 255
    store = AttentionStore.open(write(tmp_path / "s.zarr", bits, [replace(random_sample(0, bits), mask=mask)]))
    assert store.multilabel
    np.testing.assert_array_equal(store[0].mask, mask)
    assert store.arrays["mask"].encoding == {"name": "label_bits", "version": 1}
    assert store.arrays["mask"].attributes["flag_masks"] == [1, 2, 4, 8, 16, 32, 64]
    assert store.arrays["mask"].attributes["flag_meanings"] == "a b c d e f g"


def test_xarray_reads_optional_parts(full: Layout, tmp_path: Path):
    path = write(tmp_path / "s.zarr", full, [sample_of(index, full) for index in range(3)])
    with xarray.open_zarr(path, consolidated=False) as dataset:
        assert dataset["instances"].dims == ("sample", "row", "column")
        assert dataset["instances"].dtype == np.uint16
        np.testing.assert_array_equal(dataset["instances"].values, AttentionStore.open(path).instances(range(3)))
        assert dataset["lost_objects"].values.tolist() == [1, 2, 1]
        assert list(dataset["lost_classes"].values) == ["", "1", ""]


def test_an_upgraded_store_keeps_its_optional_parts(full: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing but the record of the upgrade differs."""
    path = write(tmp_path / "s.zarr", full, [sample_of(index, full) for index in range(3)])
    before, layout = files(path), layout_of(AttentionStore.open(path))
    assert layout == full
    monkeypatch.setattr("store.upgrade.VERSION", 3)
    upgrade_store(path)
    after = files(path)
    assert [name for name in before if before[name] != after[name]] == ["zarr.json"]
    assert before.keys() == after.keys()


def test_an_upgraded_store_keeps_labels_that_overlap(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bits = replace(layout, multilabel=True)
    path = write(tmp_path / "s.zarr", bits, [random_sample(0, bits)])
    monkeypatch.setattr("store.upgrade.VERSION", 3)
    upgrade_store(path)
    assert AttentionStore.open(path).multilabel


FAULTS = {
    "bit_of_no_label": ["`mask` has values that are no class in sample 1 (case_00)"],
    "instance_outside": ["`instances` has an object where `mask` has none in sample 0 (Fall-ä03)"],
    "instance_ignored": ["`instances` has an object where `mask` has none in sample 4 (case_04)"],
    "instances_too_many": ["`instances` has more objects than `objects` - `lost_objects` in sample 3 (case_02)"],
    "objects_negative": [
        "`objects` is negative in sample 3 (case_02)",
        "`lost_objects` is more than `objects` in sample 3 (case_02)",
    ],
    "lost_negative": ["`lost_objects` is negative in sample 3 (case_02)"],
    "lost_more_than_all": ["`lost_objects` is more than `objects` in sample 3 (case_02)"],
    "objects_unlabelled": ["`objects` is given without a mask in sample 4 (case_04)"],
    "lost_class_kept": ["`mask` has a class of `lost_classes` in sample 3 (case_02)"],
    "lost_label_kept": ["`mask` has a class of `lost_classes` in sample 0 (Fall-ä03)"],
    "lost_class_unknown": ["`lost_classes` is no list of classes in rising order in sample 0 (Fall-ä03)"],
    "lost_class_background": ["`lost_classes` is no list of classes in rising order in sample 0 (Fall-ä03)"],
    "lost_classes_spaced": ["`lost_classes` is no list of classes in rising order in sample 0 (Fall-ä03)"],
    "lost_classes_falling": ["`lost_classes` is no list of classes in rising order in sample 0 (Fall-ä03)"],
    "parent_empty": ["`parent` is empty in sample 1 (case_00)"],
    "slice_negative": ["`slice` is negative in sample 1 (case_00)"],
    "size_one_number": ["`pixel_mm` is no size of a pixel in sample 1 (case_00)"],
    "size_zero": ["`pixel_mm` is no size of a pixel in sample 1 (case_00)"],
    "size_negative": ["`pixel_mm` is no size of a pixel in sample 1 (case_00)"],
    "size_infinite": ["`pixel_mm` is no size of a pixel in sample 1 (case_00)"],
    "hash_short": ["`perceptual_hash` is not 16 hexadecimal digits in sample 2 (case_01)"],
    "hash_upper": ["`perceptual_hash` is not 16 hexadecimal digits in sample 2 (case_01)"],
}


def test_each_value_that_cannot_be_is_named(tmp_path: Path):
    """The fault is the intended one, and it is the only one."""
    cases = {case.name: case for case in CASES if case.verdict == "values"}
    found = {
        name: [fault.text for fault in check_store(write_case(case, tmp_path / f"{name}.zarr")).faults]
        for name, case in cases.items()
    }
    assert found == FAULTS


REASONS = {
    "label_bits_later": "`mask` has an encoding that this program does not know",
    "instances_later_required": "`instances` has an encoding that this program does not know",
    "instances_codec_required": "`instances` is stored in a way that this program does not know",
    "label_bits_eight": "`mask` holds one bit per label, but there are 9 classes",
    "label_bits_none": "values of the wrong kind (`classes`)",
    "instances_absent": "`instances` is required, but the store does not have it",
    "rules_not_required": "values of the wrong kind (`required`)",
    "rules_labels": "values of the wrong kind (`masks`)",
    "rules_threshold": "values of the wrong kind (`masks`)",
    "rules_unclear": "values of the wrong kind (`masks`)",
    "rules_null": "values of the wrong kind (`masks`)",
    "resize_kind": "values of the wrong kind (`masks`)",
    "instances_dimensions": "`instances` has the dimensions sample, column, row",
    "instances_signed": "`instances` is int16, not uint16",
    "instances_size": "`instances` has the shape (8, 20), not (16, 20)",
    "instances_column": "`instances` is not sharded",
    "objects_sharded": "`objects` is sharded",
    "objects_float": "`objects` is float32, not int32",
}


@pytest.mark.parametrize("name", REASONS)
def test_an_optional_part_that_does_not_fit_is_refused_with_the_reason(name: str, tmp_path: Path):
    (case,) = (case for case in CASES if case.name == name)
    with pytest.raises(StoreError) as refused:
        AttentionStore.open(write_case(case, tmp_path / "s.zarr"))
    assert REASONS[name] in str(refused.value)


def test_instances_that_cannot_be_read_do_not_count(tmp_path: Path):
    """In an unknown encoding or codec they are a further array: samples have none, and `verify` checks their bytes."""
    for name in ("instances_later", "instances_unknown_codec"):
        (case,) = (case for case in CASES if case.name == name)
        store = AttentionStore.open(write_case(case, tmp_path / f"{name}.zarr"))
        assert not store.has("instances")
        assert store[0].instances is None
        shard = next(store.path.glob("instances/c.0.*"))
        content = bytearray(shard.read_bytes())
        content[0] ^= 1
        shard.write_bytes(content)
        assert [fault.text.rpartition(": ")[2] for fault in check_store(store.path).faults] == [
            "sample 0 does not match its checksum."
        ]


def test_a_damaged_column_is_named_once_and_hides_nothing(full: Layout, tmp_path: Path):
    """Values are not compared with a column that cannot be read. Other faults are still found."""
    path = write(tmp_path / "s.zarr", full, [sample_of(index, full) for index in range(3)])
    for name in ("lost_classes", "objects", "labelled"):
        column = path / name / "c.0"
        content = bytearray(column.read_bytes())
        content[4] ^= 1
        column.write_bytes(content)
    shard = path / "instances" / "c.0.0.0"
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    damaged = "column `{}` is damaged (c.0, samples 0-2)."
    assert [fault.text.removeprefix(f"{path}: ") for fault in check_store(path).faults] == [
        *(damaged.format(name) for name in ("labelled", "objects", "lost_classes")),
        f"`instances` in {shard} (samples 0-2): sample 0 does not match its checksum.",
    ]


def test_a_fault_in_a_later_chunk_of_a_column_names_its_sample(
    full: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 2)
    samples = [sample_of(index, full) for index in range(5)]
    samples[3] = replace(samples[3], objects=0)
    with pytest.raises(StoreCorruptError) as refused:
        write(tmp_path / "s.zarr", full, samples)
    assert str(refused.value).splitlines()[1:] == [
        "`lost_objects` is more than `objects` in sample 3 (sample-003)",
        "`instances` has more objects than `objects` - `lost_objects` in sample 3 (sample-003)",
    ]


def test_a_damaged_store_with_optional_parts_may_still_be_replaced(full: Layout, tmp_path: Path):
    """A folder that only has the name of an optional part may be the user's own."""
    path = write(tmp_path / "s.zarr", full, [sample_of(0, full)])
    (path / "zarr.json").write_text("{")
    assert is_store(path)
    shutil.rmtree(path / "objects")
    (path / "objects").mkdir()
    (path / "objects" / "thesis.txt").write_text("mine")
    assert not is_store(path)


def test_rules_that_are_not_required_are_refused_although_all_digests_are_right(full: Layout, tmp_path: Path):
    path = write(tmp_path / "s.zarr", full, [])
    root = json.loads((path / "zarr.json").read_text())
    described = replace(AttentionStore.open(path).description, required=[]).sealed().to_dict()
    root["attributes"]["attention_store"] = described
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreCorruptError, match=r"wrong kind .`required`"):
        AttentionStore.open(path)


def test_a_store_with_every_part_and_no_sample_is_sound(full: Layout, tmp_path: Path):
    path = write(tmp_path / "s.zarr", full, [])
    assert verify_store(path) == []
    assert AttentionStore.open(path).instances([]).shape == (0, 10, 14)

"""A store as an xarray data set: names, values, attributes, and nothing read before it is used."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

from store import AttentionStore, StoreCorruptError, StoreIncompleteError, UsageError
from store.writer import Layout
from tests.store.conformance.cases import CASES, SOURCE, write_case
from tests.store.conformance.draft import Draft

MakeStore = Callable[..., Path]


@pytest.fixture
def full(tmp_path: Path) -> AttentionStore:
    """Return a store with every optional part: tiles, instances, a further array."""
    (case,) = (case for case in CASES if case.name == "every_optional_part")
    return AttentionStore.open(write_case(case, tmp_path / "s.zarr"))


def test_samples_are_selected_by_id_and_heads_by_name(full: AttentionStore):
    data = full.to_xarray()
    chosen = data.sel(sample=str(full.ids[7]), head="L5H4")
    position = full.heads.index("L5H4")
    expected = full[7].attention[position].astype(np.float32) * full.scale_factor
    np.testing.assert_allclose(chosen.attention.values, expected, rtol=1e-6)
    np.testing.assert_array_equal(chosen.mask.values, full[7].mask)
    assert data.image.dims == ("sample", "row", "column", "channel")
    assert data.attention.dims == ("sample", "head", "grid_row", "grid_column")


def test_probabilities_equal_those_of_another_reader(full: AttentionStore):
    """Xarray's own reader of Zarr applies the attribute `scale_factor` of the file."""
    others = xarray.open_zarr(full.path, consolidated=False)
    probabilities = full.to_xarray().attention
    assert probabilities.dtype == np.float32
    assert "scale_factor" not in probabilities.attrs
    np.testing.assert_allclose(probabilities.values, others.attention.values, rtol=1e-6)


def test_attention_as_stored_keeps_its_type_and_its_factor(full: AttentionStore):
    data = full.to_xarray(probabilities=False)
    assert data.attention.dtype == np.float16
    np.testing.assert_array_equal(data.attention.values, full.read_array("attention", range(len(full))))
    decoded = xarray.decode_cf(data).attention
    np.testing.assert_allclose(decoded.values, full.to_xarray().attention.values, rtol=1e-6)


def test_every_column_is_a_variable_and_places_in_the_parent_have_their_own_names(full: AttentionStore):
    data = full.to_xarray()
    columns = set(full.description.columns_sha256) - {"sample", "head", "checksum"}
    shown = {{"row": "parent_row", "column": "parent_column"}.get(name, name): name for name in columns}
    assert {"parent_row", "parent_column", "group", "labelled", "slice"} <= set(shown) <= set(data.data_vars)
    for variable, name in shown.items():
        assert data[variable].dims == ("sample",)
        assert data[variable].values.tolist() == full.column(name).tolist()
    assert isinstance(data.group.values[0], str)


def test_nothing_but_names_is_read_before_a_value_is_used(make_store: MakeStore):
    """Damaged bytes are an error when their values are used, and not before."""
    path = make_store(4)
    data = AttentionStore.open(path).to_xarray()
    (path / "image" / "c.0.0.0.0").unlink()
    group = path / "group" / "c.0"
    group.write_bytes(group.read_bytes()[:-1] + b"?")
    assert data.mask.values.shape == (4, 10, 14)
    with pytest.raises(StoreIncompleteError, match="`image`"):
        data.image.isel(sample=2).load()
    with pytest.raises(StoreCorruptError, match="column `group` is damaged"):
        data.group.load()


def test_only_the_chunks_of_the_selected_rows_are_read(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """A column of ten million rows has many chunks; one value needs one of them."""
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 2)
    store = AttentionStore.open(make_store(7))
    assert store.arrays["group"].chunk_shape == (2,)
    data = store.to_xarray()
    assert data.group.values.tolist() == store.column("group").tolist()
    assert data.height.isel(sample=[6, 0, 3]).values.tolist() == [106, 100, 103]
    assert data.height.isel(sample=slice(6, None, -3)).values.tolist() == [106, 103, 100]
    assert data.height.isel(sample=slice(0)).values.tolist() == []
    (store.path / "group" / "c.1").unlink()
    assert data.group.isel(sample=5).values == "patient-2"
    with pytest.raises(StoreIncompleteError, match=r"samples 2-3"):
        data.group.isel(sample=3).load()


def test_attributes_name_the_classes_and_the_contents(make_store: MakeStore, layout: Layout):
    store = AttentionStore.open(make_store(2, layout=replace(layout, classes=["back ground", "a", "b"])))
    data = store.to_xarray()
    assert data.attrs["classes"] == ["back ground", "a", "b"]
    assert data.attrs["contents_sha256"] == store.description.contents_sha256
    assert (data.mask.attrs["flag_values"], data.mask.attrs["flag_meanings"]) == ([0, 1, 2], "back_ground a b")


def test_labels_that_overlap_are_bits(tmp_path: Path):
    (case,) = (case for case in CASES if case.name == "label_bits")
    store = AttentionStore.open(write_case(case, tmp_path / "s.zarr"))
    attributes = store.to_xarray().mask.attrs
    assert attributes["flag_masks"] == [1 << bit for bit in range(len(store.classes) - 1)]
    assert attributes["flag_meanings"].split() == store.classes[1:]


def test_further_columns_are_shown_unless_they_cannot_be_decoded(tmp_path: Path):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    draft.add_column("weight", [0.5] * draft.described["samples"], "float64")
    draft.add_column("novelty", [1] * draft.described["samples"], "int16")
    draft.metadata("novelty", codecs=[{"name": "unheard_of"}, {"name": "crc32c"}])
    draft.seal()
    data = AttentionStore.open(draft.path).to_xarray()
    assert data.weight.values.tolist() == [0.5] * draft.described["samples"]
    assert "novelty" not in data


def test_equal_stores_give_columns_of_equal_names(make_store: MakeStore):
    path = make_store(3)
    one, other = (AttentionStore.open(path).to_xarray().group.data.name for _ in range(2))
    assert one == other
    assert AttentionStore.open(make_store(3, name="other.zarr", seed=1)).to_xarray().group.data.name != one


def test_without_xarray_the_error_says_how_to_install_it(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    store = AttentionStore.open(make_store(1))
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UsageError, match="pip install xarray"):
        store.to_xarray()

"""Files with several planes become one sample for each plane, with their place in the file and one group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.errors import InputProblemsError
from stages.extract import run as extract
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.intensities import IntensityRule
from stages.imaging.parts import Part
from stages.imaging.source_masks import find_source_masks
from stages.imaging.stored_parts import stored_parts
from stages.imaging.volumes.opened import open_volume
from store import AttentionStore
from store.check import verify_store
from tests.conftest import extract_settings


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Return a folder with a stack of four images of 12 bits and its labels, and a single colour image."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    random = np.random.default_rng(0)
    values = random.integers(0, 4096, (4, 20, 30)).astype(np.uint16)
    labels = np.zeros((4, 20, 30), np.uint8)
    for plane in range(4):
        labels[plane, 2 : 6 + plane, 3:9] = 1
    np.save(tmp_path / "images" / "scan.npy", values)
    np.save(tmp_path / "masks" / "scan.npy", labels)
    np.save(tmp_path / "images" / "photo.npy", random.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    np.save(tmp_path / "masks" / "photo.npy", labels[0])
    return tmp_path


def test_planes_are_samples_of_one_group(stacks: Path, tmp_path: Path, memo: Path):
    settings = extract_settings(stacks, tmp_path / "s.zarr", memo)
    extract(settings)
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert list(store.ids) == ["photo", "scan_z000", "scan_z001", "scan_z002", "scan_z003"]
    assert list(store.column("parent")) == ["photo", *["scan"] * 4]
    assert list(store.column("slice")) == [0, 0, 1, 2, 3]
    assert list(store.column("group")) == ["photo", *["scan"] * 4]
    assert len(set(store.column("digest"))) == 5
    assert verify_store(store.path) == []
    masks = find_source_masks(stored_parts(store, range(5)), store.description.masks, masks=stacks / "masks")
    assert masks["scan_z002"][0].part == Part(plane=2)
    assert store[3].objects == 1
    assert store[3].mask.sum() > store[1].mask.sum()


def test_colours_of_8_bits_are_not_changed(stacks: Path):
    path = stacks / "images" / "photo.npy"
    np.testing.assert_array_equal(read_image(path).pixels, np.load(path))


def test_percentiles_are_those_of_the_whole_file(tmp_path: Path):
    """One bright value does not darken the file, and planes stay comparable with each other."""
    values = np.full((3, 10, 10), 100, np.uint16)
    values[1] = np.linspace(0, 1000, 100).reshape(10, 10)
    values[2, 0, 0] = 60000
    np.save(tmp_path / "a.npy", values)
    rule = IntensityRule.parse("percentiles")
    shown = [read_image(tmp_path / "a.npy", Part(plane=plane), rule).pixels for plane in range(3)]
    assert shown[0].std() == 0
    assert shown[1].max() == shown[2][0, 0, 0] == 255
    assert shown[2][1, 1, 0] == shown[0][0, 0, 0] > 10


def test_another_rule_has_other_maps_in_the_memo(stacks: Path):
    """Maps that were computed from pixels by one rule are not used for those of another."""
    path = stacks / "images" / "scan.npy"
    keys = {
        read_resized(path, [(8, 8)], Part(plane=plane), IntensityRule.parse(rule)).memo_key
        for plane in (0, 1)
        for rule in ("percentiles", "minmax", "0:1000")
    }
    assert len(keys) == 6


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.zeros((0, 4, 4), np.uint16), "has the shape"),
        (np.zeros((2, 4, 4, 5), np.uint16), "has the shape"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.array([[{}]]), "object"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, values: np.ndarray, what: str):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(InputProblemsError, match=what):
        open_volume(tmp_path / "a.npy")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.uint16))
    whole = (tmp_path / "a.npy").read_bytes()
    for end in (0, 5, 90, len(whole) - 1):
        (tmp_path / f"{end}.npy").write_bytes(whole[:end])
        with pytest.raises(InputProblemsError, match="damaged"):
            open_volume(tmp_path / f"{end}.npy")


def test_labels_of_another_number_of_planes_are_a_problem(stacks: Path, tmp_path: Path, memo: Path):
    np.save(stacks / "masks" / "scan.npy", np.zeros((3, 20, 30), np.uint8))
    with pytest.raises(InputProblemsError, match=r"has 3 planes and its image scan\.npy 4"):
        extract(extract_settings(stacks, tmp_path / "s.zarr", memo))


def test_nan_in_a_plane_is_a_problem(tmp_path: Path):
    values = np.zeros((2, 4, 4), np.float32)
    values[1, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    read_image(tmp_path / "a.npy", Part(plane=0))
    with pytest.raises(InputProblemsError, match="1 of 16 values of plane 1 are NaN"):
        read_image(tmp_path / "a.npy", Part(plane=1))


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """Return a folder with a stack of images and labels in one file, and a slice in one file."""
    values = np.random.default_rng(0).integers(0, 4096, (4, 20, 30)).astype(np.uint16)
    labels = np.zeros((4, 20, 30), np.uint8)
    labels[:, 3:9, 4:12] = 1
    (tmp_path / "data").mkdir()
    np.savez_compressed(tmp_path / "data" / "scan.npz", image=values, label=np.asfortranarray(labels))
    np.savez_compressed(tmp_path / "data" / "slice.npz", image=values[0], label=labels[0])
    return tmp_path


def test_stacks_in_array_files_are_planes_beside_slices(archives: Path, memo: Path):
    settings = extract_settings(
        archives, archives / "s.zarr", memo, images=archives / "data", masks=None, layout="slices", window="0:4096"
    )
    extract(settings)
    store = AttentionStore.open(archives / "s.zarr")
    assert list(store.ids) == [*(f"scan_z00{plane}" for plane in range(4)), "slice"]
    assert list(store.column("objects")) == [1] * 5
    np.testing.assert_array_equal(store[0].image, store[4].image)


@pytest.mark.parametrize("name", ["arr_0", "volume", "image"])
def test_the_only_array_of_a_file_may_have_any_name(tmp_path: Path, name: str):
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    np.savez(tmp_path / "stack.npz", **{name: values})
    np.savez(tmp_path / "slice.npz", **{name: values[1]})
    assert open_volume(tmp_path / "stack.npz").facts.planes == 2
    np.testing.assert_array_equal(open_volume(tmp_path / "stack.npz").read(1), values[1])
    np.testing.assert_array_equal(
        read_image(tmp_path / "slice.npz").pixels,
        read_image(tmp_path / "stack.npz", Part(plane=1), IntensityRule.parse("minmax")).pixels,
    )


def test_labels_are_never_taken_from_the_image(tmp_path: Path):
    """And the image never from the labels."""
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 3, 4)))
    with pytest.raises(InputProblemsError, match="has no array `label`"):
        open_volume(tmp_path / "a.npz").read_labels(0)
    np.savez(tmp_path / "b.npz", label=np.zeros((2, 3, 4)))
    with pytest.raises(InputProblemsError, match="has no array `image`"):
        open_volume(tmp_path / "b.npz").read(0)


def test_labels_of_another_shape_in_an_array_file_are_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 3, 4)), label=np.zeros((1, 3, 4)))
    with pytest.raises(InputProblemsError, match=r"its labels are \(1, 3, 4\) and its image \(2, 3, 4\)"):
        open_volume(tmp_path / "a.npz")

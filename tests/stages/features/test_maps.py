"""Features of TRIDENT, slide2vec and eva become the maps of a sound store, which is trained from."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from stages.errors import CheckpointError, InputProblemsError, PipelineError, UsageError
from stages.evaluate import run as evaluate
from stages.extract import run as extract
from stages.features.formats import find_features
from stages.features.reduction import as_maps, fit
from stages.maps import run as maps
from stages.predict import run as predict
from stages.settings import EvaluateSettings, PredictSettings
from stages.settings.features import MapsSettings
from stages.train import run as train
from store import AttentionStore
from store.check import verify_store
from tests.conftest import extract_settings, train_settings
from tests.stages.features.made_features import (
    tiles_of,
    values_at,
    write_eva,
    write_slide2vec,
    write_slide2vec_dense,
    write_trident,
)

WRITERS = {
    "trident": write_trident,
    "slide2vec": write_slide2vec,
    "slide2vec-dense": write_slide2vec_dense,
    "eva": write_eva,
}


@pytest.fixture(scope="module")
def ids(phantom_store: Path) -> list[str]:
    return [str(one) for one in AttentionStore.open(phantom_store).ids]


def settings(store: Path, folder: Path, out: Path, **changes: Any) -> MapsSettings:
    return MapsSettings(**{"store": store, "features": folder, "out": out, "components": 3, **changes})


@pytest.mark.parametrize("name", WRITERS)
def test_all_formats_give_the_same_maps(phantom_store: Path, ids: list[str], tmp_path: Path, name: str):
    """The values are those of the tiles: the first components are recomputed here from the features themselves."""
    folder = WRITERS[name](tmp_path / "features", ids)
    report = maps(settings(phantom_store, folder, tmp_path / "s.zarr"))
    assert report.format == name
    assert verify_store(tmp_path / "s.zarr") == []
    base, made = AttentionStore.open(phantom_store), AttentionStore.open(tmp_path / "s.zarr")
    assert made.grid == (6, 8)
    assert made.heads == ["F0", "F1", "F2"]
    assert report.built.covered == 1
    values = [values_at(tiles_of(36, 48, 6), number) for number in range(len(ids))]
    every = np.concatenate(values).astype(np.float64)
    centred = every - every.mean(axis=0)
    _, deviations, axes = np.linalg.svd(centred / np.sqrt(len(every)), full_matrices=False)
    for number in range(len(ids)):
        np.testing.assert_array_equal(made[number].image, base[number].image)
        np.testing.assert_array_equal(made[number].mask, base[number].mask)
        z = np.log(made[number].attention.astype(np.float64)) + 4
        expected = ((values[number] - every.mean(axis=0)) @ axes[:3].T / deviations[:3]).T.reshape(3, 6, 8)
        signs = np.sign((z * expected).sum(axis=(1, 2)))[:, None, None]
        np.testing.assert_allclose(z, np.clip(signs * expected, -4, 4), atol=5e-3)
    assert report.built.components.explained == pytest.approx((deviations[:3] ** 2).sum() / (deviations**2).sum())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("trident", {"slide_axis": True}),
        ("slide2vec", {"ending": ".npz"}),
        ("slide2vec-dense", {"regions": True}),
        ("eva", {"levels": False}),
        ("eva", {"crops": True}),
    ],
)
def test_other_forms_of_the_files_give_the_same_store(
    phantom_store: Path, ids: list[str], tmp_path: Path, name: str, change: dict[str, Any]
):
    for folder, options in (("a", {}), ("b", change)):
        maps(settings(phantom_store, WRITERS[name](tmp_path / folder, ids, **options), tmp_path / f"{folder}.zarr"))
    one, other = (AttentionStore.open(tmp_path / f"{folder}.zarr") for folder in "ab")
    np.testing.assert_allclose(one.read(range(16)).attention, other.read(range(16)).attention, rtol=2e-3)


def test_two_embeddings_of_an_image_need_their_places(phantom_store: Path, ids: list[str], tmp_path: Path):
    folder = write_eva(tmp_path / "features", ids, crops=True)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",coords", ",other"))
    with pytest.raises(InputProblemsError, match="metadata_keys"):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,0,0,5", "0,nan,5,5"])
def test_places_of_crops_that_cannot_be_read_are_refused(
    phantom_store: Path, ids: list[str], tmp_path: Path, text: str
):
    folder = write_eva(tmp_path / "features", ids, crops=True)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("24,18,24,18", text, 1))
    with pytest.raises(InputProblemsError, match="coords"):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))


def test_levels_of_one_grid_are_joined(ids: list[str], tmp_path: Path):
    folder = write_eva(tmp_path / "features", ids)
    grid = torch.arange(96.0).reshape(2, 6, 8)
    torch.save([grid, grid + 1000], folder / "images" / f"{ids[0]}-0.pt")
    read = find_features(folder, "eva", None).read(ids[0])
    np.testing.assert_array_equal(read.values, np.concatenate([grid, grid + 1000]).reshape(4, 48).T)


def test_clams_folder_and_an_encoder_without_a_name_are_read(phantom_store: Path, ids: list[str], tmp_path: Path):
    folder = write_trident(tmp_path / "out" / "h5_files", ids)
    for file in folder.iterdir():
        with h5py.File(file, "a") as content:
            del content["coords"].attrs["patch_size_level0"]
            content["features"].attrs["encoder"] = "None"
    report = maps(settings(phantom_store, tmp_path / "out", tmp_path / "s.zarr", tile_side=6))
    assert report.built.covered == 1
    assert AttentionStore.open(tmp_path / "s.zarr").recipe["model"] == "features:trident"


def test_coordinates_of_one_class_are_found_in_a_moved_folder(phantom_store: Path, ids: list[str], tmp_path: Path):
    made = write_slide2vec(tmp_path / "made", ids)
    for part in ("tile_embeddings", "tiles"):
        (tmp_path / "out" / part).mkdir(parents=True)
        (made / part).rename(tmp_path / "out" / part / "tumor")
    report = maps(settings(phantom_store, tmp_path / "out" / "tile_embeddings" / "tumor", tmp_path / "s.zarr"))
    assert report.built.covered == 1


def test_a_network_is_trained_and_scored_and_does_not_predict(
    phantom_store: Path, phantoms: Path, ids: list[str], tmp_path: Path, memo: Path
):
    store = tmp_path / "s.zarr"
    maps(settings(phantom_store, write_trident(tmp_path / "features", ids), store))
    train(train_settings(store, tmp_path / "run", epochs=1))
    report = evaluate(EvaluateSettings(store=store, run=tmp_path / "run", out=tmp_path / "report", overlays=1))
    assert (tmp_path / "report" / "metrics.json").is_file()
    assert "Dice" in str(report)
    with pytest.raises(CheckpointError, match="features:uni_v1"):
        predict(PredictSettings(images=phantoms / "images", run=tmp_path / "run", out=tmp_path / "p", memo=memo))
    assert not (tmp_path / "p").exists()


def test_tiles_of_a_slide_get_the_features_of_their_place(phantoms: Path, memo: Path, ids: list[str], tmp_path: Path):
    base = tmp_path / "tiles.zarr"
    extract(extract_settings(phantoms, base, memo, image_size=(24, 24), tile=(24, 24)))
    folder = write_trident(tmp_path / "features", ids)
    report = maps(settings(base, folder, tmp_path / "s.zarr", components=1))
    made = AttentionStore.open(tmp_path / "s.zarr")
    assert made.grid == (4, 4)
    everything = fit(np.concatenate([values_at(tiles_of(36, 48, 6), number) for number in range(len(ids))]), 1)
    for sample in made:
        number = ids.index(str(sample.parent))
        places = tiles_of(36, 48, 6)
        values = as_maps(everything.apply(values_at(places, number)))[:, 0].reshape(6, 8)
        assert sample.row is not None
        assert sample.column is not None
        part = values[sample.row // 6 : sample.row // 6 + 4, sample.column // 6 : sample.column // 6 + 4]
        np.testing.assert_allclose(sample.attention[0], part, rtol=5e-3)
    assert report.built.covered == 1


def test_images_without_features_are_named_or_left_out(phantom_store: Path, ids: list[str], tmp_path: Path):
    folder = write_trident(tmp_path / "features", [*ids[1:], "another"])
    wanted = settings(phantom_store, folder, tmp_path / "s.zarr")
    with pytest.raises(InputProblemsError, match=f"{ids[0]}: has no features"):
        maps(wanted)
    assert not (tmp_path / "s.zarr").exists()
    report = maps(settings(phantom_store, folder, tmp_path / "s.zarr", on_error="skip"))
    assert (report.built.left_out, report.built.unused) == ([ids[0]], ["another"])
    made = AttentionStore.open(tmp_path / "s.zarr")
    assert ids[0] not in made.ids.tolist()
    assert {"where": ids[0], "what": "has no features"} in made.description.skipped


def _no_coordinates(file: Path) -> None:
    with h5py.File(file, "a") as content:
        del content["coords"]


def _fewer_coordinates(file: Path) -> None:
    with h5py.File(file, "a") as content:
        kept = content["coords"][1:]
        del content["coords"]
        content["coords"] = kept


def _nan(file: Path) -> None:
    with h5py.File(file, "a") as content:
        content["features"][3, 0] = np.nan


def _no_side(file: Path) -> None:
    with h5py.File(file, "a") as content:
        del content["coords"].attrs["patch_size_level0"]


def _elsewhere(file: Path) -> None:
    with h5py.File(file, "a") as content:
        del content["features"]
        content["features"] = h5py.ExternalLink(str(file.with_name("other.h5x")), "/features")
    with h5py.File(file.with_name("other.h5x"), "w") as content:
        content["features"] = np.zeros((48, 12), np.float32)


def _other_dimensions(file: Path) -> None:
    with h5py.File(file, "a") as content:
        kept = content["features"][:, :5]
        del content["features"]
        content["features"] = kept


def _text(file: Path) -> None:
    file.write_text("<html>")


def _empty(file: Path) -> None:
    with h5py.File(file, "a") as content:
        del content["features"], content["coords"]
        content["features"], content["coords"] = np.zeros((0, 12), np.float32), np.zeros((0, 2), np.int64)
        content["coords"].attrs["patch_size_level0"] = 6


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (_no_coordinates, "no data set `coords`"),
        (_fewer_coordinates, r"shape \(47, 2\)"),
        (_nan, "not finite"),
        (_no_side, "--tile-side"),
        (_elsewhere, "in another file"),
        (_other_dimensions, "of 5 dimensions"),
        (_text, "cannot be read as HDF5"),
        (_empty, "no tile of the image"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(
    phantom_store: Path, ids: list[str], tmp_path: Path, fault: Any, words: str
):
    folder = write_trident(tmp_path / "features", ids)
    fault(folder / f"{ids[5]}.h5")
    with pytest.raises(InputProblemsError, match=words) as refused:
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))
    assert f"{ids[5]}.h5" in str(refused.value)
    assert not (tmp_path / "s.zarr").exists()


class _Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["slide2vec", "eva"])
def test_a_pickle_that_would_run_code_is_refused(phantom_store: Path, ids: list[str], tmp_path: Path, name: str):
    folder = WRITERS[name](tmp_path / "features", ids)
    file = find_features(folder, name, None).files[ids[2]]
    with file.open("wb") as opened:
        pickle.dump(_Evil(tmp_path / "ran"), opened)
    with pytest.raises(InputProblemsError, match=re.escape(file.name)):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(3), torch.zeros(3)],
        [torch.zeros(3, 2, 2), torch.zeros(3, 1, 1)],
        [],
        {"a": torch.zeros(3)},
        torch.zeros(2, 3, 4, 5),
        torch.zeros(3, 0, 2),
    ],
)
def test_other_content_of_a_pt_file_is_refused(phantom_store: Path, ids: list[str], tmp_path: Path, content: Any):
    folder = write_eva(tmp_path / "features", ids)
    torch.save(content, folder / "images" / f"{ids[0]}-0.pt")
    with pytest.raises(InputProblemsError, match=rf"{ids[0]}-0\.pt"):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))


def test_a_manifest_names_no_file_outside_its_folder(phantom_store: Path, ids: list[str], tmp_path: Path):
    folder = write_eva(tmp_path / "features", ids)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(f"images/{ids[0]}-0.pt", "../outside.pt"))
    with pytest.raises(InputProblemsError, match="outside the folder"):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"components": 13}, "--components 13: .* have 4"),
        ({"components": 0}, "from 1 to 32"),
        ({"grid": (33, 8)}, "--grid 33,8"),
        ({"format": "eva"}, "no features in the format eva"),
    ],
)
def test_impossible_settings_are_refused(
    phantom_store: Path, ids: list[str], tmp_path: Path, changes: dict[str, Any], words: str
):
    folder = write_trident(tmp_path / "features", ids)
    with pytest.raises(UsageError, match=words):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr", **changes))
    assert not (tmp_path / "s.zarr").exists()


def test_features_far_away_from_the_images_are_refused(phantom_store: Path, ids: list[str], tmp_path: Path):
    folder = write_trident(tmp_path / "features", ids)
    for file in folder.iterdir():
        with h5py.File(file, "a") as content:
            content["coords"][...] += 5000
    with pytest.raises(UsageError, match="level 0"):
        maps(settings(phantom_store, folder, tmp_path / "s.zarr"))
    assert not (tmp_path / "s.zarr").exists()


def test_the_store_that_is_read_is_not_replaced(phantom_store: Path, ids: list[str], tmp_path: Path):
    folder = write_trident(tmp_path / "features", ids)
    with pytest.raises(PipelineError, match="--store"):
        maps(settings(phantom_store, folder, phantom_store))

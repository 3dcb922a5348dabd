"""Dense embeddings of slide2vec: their geometry, and files or folders that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.errors import InputProblemsError, UsageError
from stages.features.formats import find_features
from stages.maps import run as maps
from stages.settings.features import MapsSettings
from store import AttentionStore
from tests.stages.features.made_features import write_slide2vec, write_slide2vec_dense

IDS = ["a", "b"]


def _change(meta: Path, **values: Any) -> None:
    described = {**json.loads(meta.read_text()), **values}
    meta.write_text(json.dumps({name: value for name, value in described.items() if value is not None}))


def test_a_padded_border_reaches_beyond_the_image(tmp_path: Path):
    """30 x 20 pixels in patches of 8 are 4 x 3 patches, the last ones of which are partly padding."""
    folder = write_slide2vec_dense(tmp_path / "f", IDS) / "dense_image_embeddings"
    torch.save(torch.arange(2.0 * 4 * 3).reshape(2, 4, 3), folder / "a.pt")
    _change(folder / "a.meta.json", target_size=[30, 20], patch_size=[8, 8], encoded_size=[32, 24], pad=[2, 4])
    features = find_features(folder, "auto", None).read("a")
    assert features.relative
    assert features.size == (8 / 30, 8 / 20)
    np.testing.assert_allclose(features.left, np.tile([0, 8 / 20, 16 / 20], 4))
    np.testing.assert_allclose(features.top, np.repeat([0, 8 / 30, 16 / 30, 24 / 30], 3))
    np.testing.assert_array_equal(features.values, np.arange(24).reshape(2, 12).T)


def test_regions_are_placed_in_pixels_of_level_0(tmp_path: Path):
    """A patch has 12 encoded pixels; two of them are one pixel of level 0. The name of a file is its place."""
    folder = write_slide2vec_dense(tmp_path / "f", IDS, regions=True)
    features = find_features(folder, "auto", None).read("a")
    assert not features.relative
    assert features.size == (6, 6)
    assert set(zip(features.left.tolist(), features.top.tolist(), strict=True)) == {
        (x, y) for x in range(0, 48, 6) for y in range(0, 36, 6)
    }


def test_regions_of_one_class_are_a_folder_of_their_own(tmp_path: Path):
    made = write_slide2vec_dense(tmp_path / "made", IDS, regions=True)
    (tmp_path / "out" / "dense_embeddings").mkdir(parents=True)
    (made / "dense_embeddings").rename(tmp_path / "out" / "dense_embeddings" / "tumour")
    found = find_features(tmp_path / "out" / "dense_embeddings" / "tumour", "auto", None)
    assert (found.format, sorted(found.files)) == ("slide2vec-dense", IDS)


def test_a_grid_whose_description_is_missing_is_not_complete(tmp_path: Path):
    folder = write_slide2vec_dense(tmp_path / "f", IDS)
    (folder / "dense_image_embeddings" / "b.meta.json").unlink()
    assert list(find_features(folder, "auto", None).files) == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: _change(meta, target_size=None), "no `target_size`"),
        (lambda meta: _change(meta, patch_size=[12]), "no `patch_size`"),
        (lambda meta: _change(meta, patch_size=[12, 0]), "no `patch_size`"),
        (lambda meta: _change(meta, source_spacing_um=None), "no `source_spacing_um`"),
        (lambda meta: _change(meta, read_spacing_um="0.5"), "no `read_spacing_um`"),
        (lambda meta: _change(meta, target_size=[36, 72]), "grid of 3 x 4, which is not that of the sizes"),
        (lambda meta: _change(meta, read_size=[18, 24]), "another size or dimension"),
        (lambda meta: meta.write_text("{"), "no `target_size`"),
        (lambda meta: torch.save(torch.zeros(12), meta.with_name("0_0.pt")), r"shape \(12,\)"),
        (lambda meta: torch.save(torch.zeros(5, 3, 4), meta.with_name("0_0.pt")), "another size or dimension"),
        (lambda meta: torch.save(torch.full((12, 3, 4), torch.nan), meta.with_name("0_0.pt")), "not finite"),
    ],
)
def test_a_grid_that_cannot_be_placed_is_named(tmp_path: Path, change: Callable[[Path], object], message: str):
    folder = write_slide2vec_dense(tmp_path / "f", IDS, regions=True)
    change(folder / "dense_embeddings" / "a" / "0_0.meta.json")
    with pytest.raises(InputProblemsError, match=message):
        find_features(folder, "auto", None).read("a")


def test_a_folder_with_features_of_several_kinds_is_refused(tmp_path: Path):
    """The program cannot know which ones are meant."""
    folder = write_slide2vec(tmp_path / "f", IDS)
    write_slide2vec_dense(folder, IDS)
    with pytest.raises(UsageError, match=r"several formats \(slide2vec, slide2vec-dense\)"):
        find_features(folder, "auto", None)
    assert find_features(folder, "slide2vec", None).format == "slide2vec"
    assert find_features(folder / "dense_image_embeddings", "auto", None).format == "slide2vec-dense"
    write_slide2vec_dense(folder, IDS, regions=True)
    with pytest.raises(UsageError, match="holds dense_image_embeddings and dense_embeddings"):
        find_features(folder, "slide2vec-dense", None)
    with pytest.raises(UsageError, match="no features"):
        find_features(folder / "dense_embeddings" / "a", "auto", None)


def test_the_recipe_depends_on_every_file_of_an_image(phantom_store: Path, tmp_path: Path):
    """The same values at other places are other maps."""
    ids = [str(one) for one in AttentionStore.open(phantom_store).ids]
    digests = set()
    for name in ("one", "two"):
        folder = write_slide2vec(tmp_path / name, ids)
        if name == "two":
            place = folder / "tiles" / f"{ids[0]}.coordinates.npz"
            arrays = dict(np.load(place))
            np.savez(place, x=arrays["x"][::-1], y=arrays["y"])
        maps(MapsSettings(store=phantom_store, features=folder, out=tmp_path / f"{name}.zarr", components=3))
        digests.add(AttentionStore.open(tmp_path / f"{name}.zarr").description.recipe_sha256)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("licence", "shown"), [("CC-BY-NC-ND-4.0", "CC-BY-NC-ND-4.0"), ("", "unknown (the terms of the encoder virchow2")]
)
def test_the_licence_of_the_encoder_is_kept(phantom_store: Path, tmp_path: Path, licence: str, shown: str):
    """In the store, in what the command prints and in the report for programs."""
    folder = write_slide2vec_dense(tmp_path / "f", [str(one) for one in AttentionStore.open(phantom_store).ids])
    settings = MapsSettings(
        store=phantom_store, features=folder, out=tmp_path / "s.zarr", components=3, licence=licence
    )
    report = maps(settings)
    recorded = AttentionStore.open(tmp_path / "s.zarr").description.weights_licence
    assert recorded.startswith(shown)
    assert f"licence of the encoder: {recorded}" in str(report)
    assert report.to_json()["licence"] == recorded


@pytest.mark.parametrize(
    ("regions", "said", "shown"), [(False, "virchow2", "virchow2"), (True, "", "not named by the files of features")]
)
def test_the_command_says_whether_the_features_name_their_encoder(
    phantom_store: Path, tmp_path: Path, said: str, shown: str, *, regions: bool
):
    """slide2vec's descriptions of regions do not, so nothing shows a mixture of two encoders."""
    ids = [str(one) for one in AttentionStore.open(phantom_store).ids]
    folder = write_slide2vec_dense(tmp_path / "f", ids, regions=regions)
    report = maps(MapsSettings(store=phantom_store, features=folder, out=tmp_path / "s.zarr", components=3))
    assert f"encoder: {shown}" in str(report)
    assert report.to_json()["encoder"] == said

"""Files that do not belong together do not become one store: two encoders, or two files of one slide."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from stages.errors import InputProblemsError
from stages.maps import run as maps
from stages.settings.features import MapsSettings
from store import AttentionStore
from tests.stages.features.made_features import write_slide2vec, write_trident


@pytest.fixture(scope="module")
def ids(phantom_store: Path) -> list[str]:
    return [str(one) for one in AttentionStore.open(phantom_store).ids]


def test_features_of_two_encoders_are_not_mixed(phantom_store: Path, ids: list[str], tmp_path: Path):
    """They have the same width, so nothing else would show it."""
    trident = write_trident(tmp_path / "trident", ids)
    with h5py.File(trident / f"{ids[1]}.h5", "a") as file:
        file["features"].attrs["encoder"] = "uni_v2"
    slide2vec = write_slide2vec(tmp_path / "slide2vec", ids)
    meta = slide2vec / "tile_embeddings" / f"{ids[1]}.meta.json"
    meta.write_text(meta.read_text().replace("prost40m", "virchow"))
    for folder in (trident, slide2vec):
        with pytest.raises(InputProblemsError, match="features of one encoder") as caught:
            maps(MapsSettings(store=phantom_store, features=folder, out=tmp_path / "s.zarr", components=3))
        assert [ids[1] in problem.where for problem in caught.value.problems] == [True]
        assert not (tmp_path / "s.zarr").exists()


def test_a_file_without_the_name_of_its_encoder_hides_no_mixture(phantom_store: Path, ids: list[str], tmp_path: Path):
    """The first file that has a name is compared with the others, wherever it is."""
    folder = write_trident(tmp_path / "trident", ids)
    for identifier, name in zip(sorted(ids)[:3], ("", "None", "uni_v2"), strict=True):
        with h5py.File(folder / f"{identifier}.h5", "a") as file:
            file["features"].attrs["encoder"] = name
    with pytest.raises(InputProblemsError, match="features of one encoder"):
        maps(MapsSettings(store=phantom_store, features=folder, out=tmp_path / "s.zarr", components=3))
    assert not (tmp_path / "s.zarr").exists()


def test_two_files_of_one_slide_are_refused(phantom_store: Path, ids: list[str], tmp_path: Path):
    """One of them is from an earlier run, and the program cannot know which."""
    folder = write_slide2vec(tmp_path / "slide2vec", ids)
    np.savez(folder / "tile_embeddings" / f"{ids[2]}.npz", features=np.zeros((48, 12), np.float32))
    with pytest.raises(InputProblemsError, match="Remove the other"):
        maps(MapsSettings(store=phantom_store, features=folder, out=tmp_path / "s.zarr", components=3))

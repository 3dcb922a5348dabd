"""Test that kept features and kept fits give the same stores without the transformer, and that damage is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.errors import UsageError
from store import AttentionStore
from tests.benchmarks.evidence import features_cache
from tests.benchmarks.evidence.features_cache import Features
from tests.benchmarks.evidence.stores import derive_store, fit_positions
from tests.benchmarks.evidence.stores_maps import Inputs


@pytest.fixture
def inputs(phantom_store: Path, phantoms: Path, tmp_path: Path) -> Inputs:
    base = AttentionStore.open(phantom_store)
    fit = fit_positions(base, None, most=5, seed=0)
    return Inputs(base=base, images=phantoms / "images", fit=fit, cache=tmp_path / "cache")


def maps_of(store: Path) -> bytes:
    opened = AttentionStore.open(store)
    return bytes(opened.read_array("attention", np.arange(len(opened))).tobytes())


@pytest.fixture
def no_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every use of the transformer an error."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(features_cache, "patch_features", refuse)


def test_a_store_is_the_same_with_and_without_a_cache(inputs: Inputs, tmp_path: Path) -> None:
    for number, given in enumerate((replace(inputs, cache=None), inputs, inputs)):  # none, empty, filled
        derive_store("tokens:3", given, tmp_path / f"{number}.zarr")
    assert maps_of(tmp_path / "0.zarr") == maps_of(tmp_path / "1.zarr") == maps_of(tmp_path / "2.zarr")


def test_a_filled_cache_serves_other_reductions_without_the_transformer(
    inputs: Inputs, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    derive_store("tokens:3", inputs, tmp_path / "one.zarr")
    request.getfixturevalue("no_transformer")
    derive_store("tokens:5+white", inputs, tmp_path / "two.zarr")
    with pytest.raises(AssertionError):
        derive_store("keys:3", inputs, tmp_path / "three.zarr")  # other features


def test_only_missing_samples_are_computed(inputs: Inputs, request: pytest.FixtureRequest) -> None:
    features = Features(inputs, inputs.extractor, "tokens")
    first = features.read(np.array([3, 1]))
    joined = features.read(np.array([0, 1, 3]))
    assert (joined[[2, 1]] == first).all()
    request.getfixturevalue("no_transformer")
    assert (features.read(np.array([0])) == joined[:1]).all()
    with pytest.raises(AssertionError):
        features.read(np.array([2]))


@pytest.mark.parametrize("damage", ["cut", "empty", "flags", "other"])
def test_a_damaged_cache_is_an_error_that_says_what_to_do(damage: str, inputs: Inputs) -> None:
    features = Features(inputs, inputs.extractor, "tokens")
    features.read(np.array([0]))
    assert inputs.cache is not None
    flags, values = sorted(inputs.cache.iterdir(), key=lambda path: path.stat().st_size)
    if damage == "flags":
        flags.unlink()
    elif damage == "other":
        np.save(values, np.zeros((3, 2)))
    else:
        values.write_bytes(b"" if damage == "empty" else values.read_bytes()[:200])
    with pytest.raises(UsageError, match="Delete the folder of --cache"):
        features.read(np.array([0]))


def test_a_kept_fit_is_used_for_another_store(inputs: Inputs, tmp_path: Path) -> None:
    kept = replace(inputs, fitted=tmp_path / "fits" / "tokens3.npz")
    derive_store("tokens:3", kept, tmp_path / "first.zarr")
    other = replace(kept, fit=np.array([9, 11]))  # another fit, if it were made
    derive_store("tokens:3", other, tmp_path / "second.zarr")
    derive_store("tokens:3", replace(other, fitted=None), tmp_path / "third.zarr")
    assert maps_of(tmp_path / "first.zarr") == maps_of(tmp_path / "second.zarr")
    assert maps_of(tmp_path / "first.zarr") != maps_of(tmp_path / "third.zarr")
    facts = [AttentionStore.open(tmp_path / f"{name}.zarr").recipe["derived"] for name in ("first", "second", "third")]
    assert facts[0] == facts[1]
    assert facts[0]["fitted_sha256"] != facts[2]["fitted_sha256"]
    assert facts[0]["fit_images"] == 5


def test_kept_prototypes_are_used_too(inputs: Inputs, tmp_path: Path) -> None:
    kept = replace(inputs, fitted=tmp_path / "prototypes.npz")
    derive_store("prototypes:2", kept, tmp_path / "first.zarr")
    derive_store("prototypes:2", replace(kept, seed=5), tmp_path / "second.zarr")
    assert maps_of(tmp_path / "first.zarr") == maps_of(tmp_path / "second.zarr")


@pytest.mark.parametrize("name", ["tokens:4", "tokens:3+white", "keys:3", "tokens:3+untrained", "prototypes:2"])
def test_a_fit_of_something_else_is_refused(
    name: str, phantoms: Path, memo: Path, tmp_path: Path, inputs: Inputs
) -> None:
    from stages.extract import run
    from tests.conftest import extract_settings

    kept = replace(inputs, fitted=tmp_path / "fit.npz")
    derive_store("tokens:3", kept, tmp_path / "first.zarr")
    if name.endswith("untrained"):  # differs only if the transformer is a trained one
        run(extract_settings(phantoms, tmp_path / "trained.zarr", memo, model="dino_phantom_tiny8"))
        kept = replace(kept, base=AttentionStore.open(tmp_path / "trained.zarr"))
        name = "tokens:3"
    with pytest.raises(UsageError, match="holds a fit of"):
        derive_store(name, kept, tmp_path / "second.zarr")


def test_a_file_that_is_no_fit_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    file = tmp_path / "fit.npz"
    for content in (b"", b"PK\x03\x04", b"text"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"fit\.npz: cannot be read"):
            derive_store("tokens:3", replace(inputs, fitted=file), tmp_path / "new.zarr")
    np.savez(file, mean=np.zeros(3))
    with pytest.raises(UsageError, match=r"fit\.npz: cannot be read"):
        derive_store("tokens:3", replace(inputs, fitted=file), tmp_path / "new.zarr")

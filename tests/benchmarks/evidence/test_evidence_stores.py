"""Test derived stores: what stays the same, what each kind holds, what is refused, and that training reads them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from stages.errors import UsageError
from store import AttentionStore
from store.check import verify_store
from tests.benchmarks.evidence import controls, stores
from tests.benchmarks.evidence.arms import ARMS, BASE_STORE, arms_of
from tests.benchmarks.evidence.stores import derive_store, fit_positions
from tests.benchmarks.evidence.stores_kinds import ALIASES, KINDS, make_maps, parse_kind
from tests.benchmarks.evidence.stores_maps import Inputs
from tests.conftest import extract_settings, train_settings

COLUMNS = ("sample", "digest", "height", "width", "group", "labelled", "objects", "lost_objects", "perceptual_hash")

NAMES = [
    "attention",
    "untrained",
    "standard",
    "standard+8bit",
    "last:1",
    "shuffled",
    "colours+8bit",
    "colours+white",
    "tokens:5",
    "tokens4:5+white",
    "queries:4+8bit",
    "keys:4",
    "values:4+untrained",
    "both:3",
    "random:3",
    "imagenet:3+8bit",
    "patchmean",
    "prototypes:2",
]


@pytest.fixture
def inputs(phantom_store: Path, phantoms: Path) -> Inputs:
    base = AttentionStore.open(phantom_store)
    return Inputs(base=base, images=phantoms / "images", fit=fit_positions(base, None, most=8, seed=0))


@pytest.fixture
def inputs_of(inputs: Inputs, encoder_weights: Path) -> Callable[[str], Inputs]:
    """Return what gives the inputs of a kind of maps: that of photographs needs weights."""
    with_weights = dataclasses.replace(inputs, weights=encoder_weights)
    return lambda name: with_weights if name.startswith("imagenet") else inputs


def maps_of(store: Path | AttentionStore) -> Any:
    opened = AttentionStore.open(store) if isinstance(store, Path) else store
    return opened.read_array("attention", np.arange(len(opened)))


@pytest.mark.parametrize("name", NAMES)
def test_everything_but_the_maps_stays_the_same(name: str, inputs_of: Callable[[str], Inputs], tmp_path: Path) -> None:
    inputs = inputs_of(name)
    made = derive_store(name, inputs, tmp_path / "new.zarr")
    base, new = inputs.base, AttentionStore.open(tmp_path / "new.zarr")
    everything = np.arange(len(base))
    for array in ("image", "mask"):
        assert (new.read_array(array, everything) == base.read_array(array, everything)).all()
    for column in COLUMNS:
        assert list(new.column(column)) == list(base.column(column))
    assert new.classes == base.classes
    assert new.description.masks == base.description.masks
    maps = maps_of(new).astype(np.float32)
    assert maps.shape[1:] == (made.count, *made.grid)
    assert len(set(new.heads)) == made.count
    assert list(new.recipe["heads"]) == new.heads
    assert tuple(new.recipe["grid"]) == new.grid
    assert new.recipe["derived"]["maps"] == name
    assert np.median(maps.std(axis=(2, 3)), axis=0).min() > 0, "a map is flat in most images"
    assert (maps.min() < 0) == made.signed
    assert made.kilobytes * 1000 == maps[0].size * (1 if name.endswith("8bit") else 2)


def test_every_kind_is_tested() -> None:
    assert {parse_kind(name).kind for name in NAMES} == set(KINDS)


def test_attention_computed_again_equals_the_stores_bit_for_bit(inputs: Inputs, tmp_path: Path) -> None:
    derive_store("attention", inputs, tmp_path / "new.zarr")
    assert maps_of(tmp_path / "new.zarr").tobytes() == maps_of(inputs.base).tobytes()


def test_untrained_maps_are_those_of_the_untrained_model(inputs: Inputs, tmp_path: Path) -> None:
    # The phantoms' store was extracted with this model, so random weights of its architecture change nothing.
    derive_store("untrained", inputs, tmp_path / "new.zarr")
    assert maps_of(tmp_path / "new.zarr").tobytes() == maps_of(inputs.base).tobytes()


def test_untrained_maps_differ_from_those_of_a_trained_transformer(phantoms: Path, memo: Path, tmp_path: Path) -> None:
    from stages.extract import run

    run(extract_settings(phantoms, tmp_path / "trained.zarr", memo, model="dino_phantom_tiny8"))
    base = AttentionStore.open(tmp_path / "trained.zarr")
    derive_store("untrained", Inputs(base=base, images=phantoms / "images"), tmp_path / "new.zarr")
    assert not np.allclose(maps_of(tmp_path / "new.zarr"), maps_of(base), atol=0.1)


def test_probabilities_make_a_sound_store_and_other_values_only_break_their_own_rules(
    inputs: Inputs, tmp_path: Path
) -> None:
    derive_store("patchmean", inputs, tmp_path / "mean.zarr")
    assert verify_store(tmp_path / "mean.zarr") == []
    derive_store("tokens:3", inputs, tmp_path / "tokens.zarr")
    faults = verify_store(tmp_path / "tokens.zarr")
    assert faults
    assert all(fault.startswith("`attention` ") for fault in faults)


def test_both_are_the_standard_maps_and_the_components(inputs: Inputs, tmp_path: Path) -> None:
    for name, path in (("both:3", "both"), ("standard", "standard"), ("tokens:3", "tokens")):
        derive_store(name, inputs, tmp_path / f"{path}.zarr")
    both, standard, tokens = (maps_of(tmp_path / f"{path}.zarr") for path in ("both", "standard", "tokens"))
    assert (both == np.concatenate([standard, tokens], axis=1)).all()


def test_a_derived_store_can_be_shuffled(inputs: Inputs, tmp_path: Path) -> None:
    derive_store("tokens:3", inputs, tmp_path / "tokens.zarr")
    tokens = AttentionStore.open(tmp_path / "tokens.zarr")
    made = derive_store("shuffled", Inputs(base=tokens, seed=1), tmp_path / "new.zarr")
    others = controls.other_samples([str(group) for group in tokens.column("group")], 1)
    assert made.signed
    assert (maps_of(tmp_path / "new.zarr") == maps_of(tokens)[others]).all()
    with pytest.raises(UsageError, match="is a derived store"):
        derive_store("attention", Inputs(base=tokens, images=inputs.images), tmp_path / "again.zarr")


def test_a_network_is_trained_and_scored_on_a_derived_store(inputs: Inputs, tmp_path: Path) -> None:
    from stages import evaluate, train
    from stages.settings import EvaluateSettings

    derive_store("tokens:3+white", inputs, tmp_path / "new.zarr")
    run = tmp_path / "run"
    train.run(train_settings(tmp_path / "new.zarr", run, epochs=1, attention_norm="none"))
    evaluate.run(EvaluateSettings(store=tmp_path / "new.zarr", run=run))


def test_arms_of_the_protocol_scale_derived_maps_as_they_must_be(inputs_of: Callable[[str], Inputs]) -> None:
    """Values around zero would be cut off by the logarithm that is the default."""
    checked = set()
    for spec in arms_of(list(ARMS)).values():
        found = re.fullmatch(r"([a-z-]+?4?)(white)?([0-9]*)", spec.store.replace("4-", "4"))
        assert found is not None
        name, white, number = found.groups()
        if spec.store == BASE_STORE or name not in {*KINDS, *ALIASES}:
            continue
        kind = name + (f":{number}" if number else "") + ("+white" if white else "")
        signed = make_maps(parse_kind(kind), inputs_of(kind)).signed
        assert (spec.settings.get("attention_norm") == "none") == signed, spec.name
        checked.add(spec.store)
    assert {"shuffled", "colours", "colourswhite", "untrained", "tokens16", "keyswhite16", "imagenet32"} <= checked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("token:8", "there is no such kind"),
        ("tokens", r"how many\? Add a number: tokens:8"),
        ("tokens:0", "there is no such kind"),
        ("colours:3", "takes no number"),
        ("standard+white", "does not take the option white. It takes 8bit"),
        ("shuffled+8bit", "does not take the option 8bit. It takes none"),
        ("tokens:8+wide", "does not take the option wide"),
        ("random:8+white", "not whitened"),
        ("tokens:97", "97 components: the features have 96 dimensions"),
    ],
)
def test_a_kind_that_does_not_exist_is_refused(name: str, message: str, inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        derive_store(name, inputs, tmp_path / "new.zarr")
    assert not (tmp_path / "new.zarr").exists()


def test_only_the_images_of_the_store_are_accepted(inputs: Inputs, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give their folder with --images"):
        derive_store("tokens:3", Inputs(base=inputs.base, fit=inputs.fit), tmp_path / "new.zarr")
    changed = tmp_path / "images"
    changed.mkdir()
    files = sorted((phantoms / "images").iterdir())
    for file, content in zip(files, [*files[1:], files[0]], strict=True):
        (changed / file.name).write_bytes(content.read_bytes())
    wrong = Inputs(base=inputs.base, images=changed, fit=inputs.fit)
    with pytest.raises(UsageError, match="is another image than"):
        derive_store("attention", wrong, tmp_path / "new.zarr")
    (changed / files[3].name).unlink()
    missing = Inputs(base=inputs.base, images=changed, fit=inputs.fit)
    with pytest.raises(UsageError, match=f"has no image of the samples {files[3].stem} of"):
        derive_store("attention", missing, tmp_path / "new.zarr")


def test_an_extracted_store_is_never_replaced(inputs: Inputs, make_store: Callable[..., Path], tmp_path: Path) -> None:
    other = make_store(2)
    before = (other / "zarr.json").read_bytes()
    for taken in (other, inputs.base.path):
        with pytest.raises(UsageError):
            derive_store("colours", inputs, taken)
    assert (other / "zarr.json").read_bytes() == before
    for _ in range(2):  # a derived one is
        derive_store("colours", inputs, tmp_path / "new.zarr")


def test_components_are_fitted_to_the_named_images_only(inputs: Inputs, tmp_path: Path) -> None:
    base = inputs.base
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{base.ids[5]}\n\n{base.ids[2]}\n{base.ids[5]}\n")
    assert fit_positions(base, ids, most=9, seed=0).tolist() == [2, 5]
    assert len(fit_positions(base, None, most=9, seed=0)) == 9
    assert len(fit_positions(base, None, most=99, seed=0)) == len(base)
    for text in ("", "nobody\n"):
        ids.write_text(text)
        with pytest.raises(UsageError, match=r"ids\.txt"):
            fit_positions(base, ids, most=9, seed=0)


def test_the_command_prints_size_and_arm_and_reports_errors_without_a_traceback(
    inputs: Inputs, phantoms: Path, tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command()(stores.main)
    arguments = ["--store", str(inputs.base.path), "--images", str(phantoms / "images"), "--device", "cpu"]
    out = tmp_path / "new.zarr"
    done = CliRunner().invoke(app, [*arguments, "--maps", "tokens:3", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "kB a sample: 0.14 of maps; 0.29 in the store" in done.output
    assert f"--arm NAME=dual,store={out},attention_norm=none" in done.output
    assert "images of all splits" in done.output
    for kind, fitted in (("colours", False), ("colours+white", True), ("standard", False)):
        derived = CliRunner().invoke(app, [*arguments, "--maps", kind, "--out", str(out)])
        assert ("images of all splits" in derived.output) == fitted, derived.output
    refused = CliRunner().invoke(app, [*arguments, "--maps", "nothing", "--out", str(out)])
    assert refused.exit_code == 2
    assert "there is no such kind of maps" in refused.output

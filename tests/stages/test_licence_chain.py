"""A stated licence, and one that is not known, are on everything that is made from the weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.inspection import describe_store
from stages import evaluate, export, extract, predict, train
from stages.attention.architectures import build_transformer, find_architecture
from stages.attention.naming import licence_beside
from stages.errors import UsageError
from stages.exporting.description import describe
from stages.exporting.loading import load
from stages.outputs.kinds import MODEL_FILE
from stages.prediction.licence_file import LICENCE_FILE
from stages.runs.licences import NOT_USED, licence_in
from stages.settings import EvaluateSettings, ExportSettings, PredictSettings
from store import AttentionStore
from store.writer import new_store
from tests.conftest import extract_settings, train_settings

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")

TERMS = "Terms of the hospital: no commercial use"
UNKNOWN = "unknown (a file of your own; the published weights of dino_phantom_tiny8: Apache-2.0)"


@dataclass(frozen=True)
class Chain:
    """Hold a store, a run and predictions of weights of the user."""

    licence: str
    store: Path
    run: Path
    predictions: Path
    images: Path
    weights: Path


def own_weights(folder: Path) -> Path:
    """Write weights that fit a model of the table, and are not the published ones."""
    torch.manual_seed(0)
    path = folder / "own.pth"
    torch.save(build_transformer(find_architecture("vit_tiny_patch8"), 64).state_dict(), path)
    return path


@pytest.fixture(scope="module", params=[TERMS, ""], ids=["stated", "unknown"])
def chain(
    request: pytest.FixtureRequest, phantoms: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    weights, model = own_weights(folder), "dino_phantom_tiny8"
    settings = extract_settings(phantoms, folder / "s.zarr", memo, model=model, weights=weights, licence=request.param)
    made = Chain(request.param or UNKNOWN, settings.store, folder / "run", folder / "out", folder / "new", weights)
    assert f"licence: {made.licence}" in str(extract.plan(settings))
    assert f"licence of the weights: {made.licence}" in str(extract.run(settings))
    assert made.licence in str(train.run(train_settings(made.store, made.run, steps=2, epochs=None)))
    made.images.mkdir()
    for image in sorted((phantoms / "images").iterdir())[:2]:
        (made.images / image.name).write_bytes(image.read_bytes())
    report = predict.run(
        PredictSettings(images=made.images, run=made.run, out=made.predictions, memo=memo, weights=weights)
    )
    assert f"licence of the transformer's weights: {made.licence}" in str(report)
    return made


def test_the_store_the_page_and_the_predictions_have_it(chain: Chain, tmp_path: Path):
    assert describe_store(chain.store, stats=False, run=chain.run)["weights_licence"] == chain.licence
    evaluate.run(EvaluateSettings(store=chain.store, run=chain.run, out=tmp_path / "report", overlays=0))
    assert chain.licence in (tmp_path / "report" / "report.html").read_text()
    written = (chain.predictions / LICENCE_FILE).read_text()
    assert f"licence: {chain.licence}\n" in written
    assert ("no known licence" in written) == (chain.licence == UNKNOWN)


def test_a_run_shows_it_beside_that_of_the_store(chain: Chain, tmp_path: Path):
    """A run may come from another store. One of images alone needs none, and a folder without a model names none."""
    other = replace_licence(chain.run, tmp_path / "other", "CC BY-NC 4.0")
    alone = tmp_path / "alone"
    train.run(train_settings(chain.store, alone, steps=2, epochs=None, branches="image"))
    for run, licence in ((chain.run, chain.licence), (other, "CC BY-NC 4.0"), (alone, NOT_USED)):
        described = describe_store(chain.store, stats=False, run=run)
        assert (described["weights_licence"], described["run_licence"]) == (chain.licence, licence)
    shown = CliRunner().invoke(app, ["inspect", str(chain.store), "--run", str(other)]).output
    assert "CC BY-NC 4.0" in next(line for line in shown.splitlines() if "licence of the run" in line)
    (alone / MODEL_FILE).write_bytes(b"no model")
    assert licence_in(alone) == ""


def test_the_summary_of_a_cross_validation_has_it_once(chain: Chain, tmp_path: Path):
    report = train.run(train_settings(chain.store, tmp_path / "folds", steps=2, epochs=None, folds=2))
    assert str(report).count(f": {chain.licence}") == 1


def test_exported_networks_have_it(chain: Chain, tmp_path: Path):
    """In the description that `onnx` and `torch` carry, in the texts of a bundle, and in what the command prints."""
    settings = ExportSettings(run=chain.run, weights=chain.weights, format="monai-bundle", out=tmp_path / "m")
    assert describe(load(settings))["transformer"]["licence"] == chain.licence
    assert chain.licence in str(export.run(settings))
    for name in ("LICENSE", "docs/README.md", "configs/metadata.json"):
        assert chain.licence in (tmp_path / "m" / name).read_text()


@pytest.mark.parametrize("form", ["coco", "fiftyone", "geojson", "ome-zarr"])
def test_exported_predictions_have_it(chain: Chain, tmp_path: Path, form: str):
    export.run(
        ExportSettings(
            run=chain.run, predictions=chain.predictions, images=chain.images, format=form, out=tmp_path / "out"
        )
    )
    assert f"licence: {chain.licence}\n" in (tmp_path / "out" / LICENCE_FILE).read_text()
    described = json.loads((tmp_path / "out" / "export.json").read_text())["diamant_pipeline"]
    assert described["weights_licence"] == chain.licence


def test_predictions_of_several_runs_in_one_folder_have_the_licences_of_all(chain: Chain, tmp_path: Path, memo: Path):
    """Also where a later run needs no notice, and where a run is repeated; an export of them has all, too."""
    out = tmp_path / "out"
    other = replace_licence(chain.run, tmp_path / "other", "CC BY-NC 4.0")
    alone = train_settings(chain.store, tmp_path / "alone", steps=2, epochs=None, branches="image")
    train.run(alone)
    runs = {chain.run: chain.weights, other: chain.weights, tmp_path / "alone": None}
    for run, weights in [*runs.items(), (chain.run, chain.weights)]:
        predict.run(PredictSettings(images=chain.images, run=run, out=out, memo=memo, weights=weights))
    written = (out / LICENCE_FILE).read_text()
    assert [line for line in written.splitlines() if line.startswith("licence")] == [
        f"licence: {chain.licence}",
        "licence: CC BY-NC 4.0",
    ]
    export.run(
        ExportSettings(
            run=tmp_path / "alone", predictions=out, images=chain.images, format="geojson", out=tmp_path / "e"
        )
    )
    assert (tmp_path / "e" / LICENCE_FILE).read_text() == written


def replace_licence(run: Path, to: Path, licence: str) -> Path:
    """Copy a run, with another licence of its transformer's weights."""
    shutil.copytree(run, to)
    file = to / "model.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    described = {name: json.loads(text) for name, text in metadata.items()}
    changed = {name: json.dumps({**one, "weights_licence": licence}) for name, one in described.items()}
    save_file(load_file(file), file, {**metadata, **changed})
    return to


def test_a_run_on_the_image_alone_has_no_licence_of_a_transformer(chain: Chain, tmp_path: Path, memo: Path):
    settings = train_settings(chain.store, tmp_path / "run", steps=2, epochs=None, branches="image")
    assert "licence" not in str(train.run(settings))
    report = predict.run(PredictSettings(images=chain.images, run=tmp_path / "run", out=tmp_path / "out", memo=memo))
    assert "licence of the transformer's weights: none needed" in str(report)
    assert not (tmp_path / "out" / LICENCE_FILE).exists()


def test_images_are_added_without_stating_the_licence_again(phantoms: Path, tmp_path: Path, memo: Path):
    """The weights are the same, so what the store records still holds. Another statement is refused."""
    images, names = tmp_path / "images", sorted(path.name for path in (phantoms / "images").iterdir())
    images.mkdir()
    weights = own_weights(tmp_path)
    settings = {"images": images, "masks": None, "model": "dino_phantom_tiny8", "weights": weights, "append": True}
    for count, licence in ((6, TERMS), (8, "")):
        for name in names[:count]:
            (images / name).write_bytes((phantoms / "images" / name).read_bytes())
        changed = extract_settings(phantoms, tmp_path / "s.zarr", memo, **settings, licence=licence)
        assert f"licence: {TERMS}" in str(extract.plan(changed))
        assert f"licence of the weights: {TERMS}" in str(extract.run(changed))
        store = AttentionStore.open(tmp_path / "s.zarr")
        assert (len(store), store.description.weights_licence) == (count, TERMS)
    (images / names[8]).write_bytes((phantoms / "images" / names[8]).read_bytes())
    with pytest.raises(UsageError, match="weights_licence"):
        extract.run(extract_settings(phantoms, tmp_path / "s.zarr", memo, **settings, licence="MIT"))


def test_a_file_of_a_bundle_keeps_the_licence_that_the_bundle_states(tmp_path: Path):
    """A file that was exchanged after the bundle was made has another digest, and then nothing is known."""
    (tmp_path / "weights").mkdir()
    file = own_weights(tmp_path / "weights")
    manifest = {
        "bundle": 1,
        "weights": [{"file": "own.pth", "model": "", "licence": TERMS, "source": ""}],
        "files": {"weights/own.pth": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": 1}},
    }
    (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
    assert licence_beside(file) == TERMS
    for damaged in ({}, {**manifest, "files": []}, {**manifest, "weights": [1]}, {**manifest, "files": {file.name: 1}}):
        (tmp_path / "MANIFEST.json").write_text(json.dumps(damaged))
        assert licence_beside(file) == ""
    (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
    file.write_bytes(b"other weights")
    assert licence_beside(file) == ""


def test_a_rewritten_store_keeps_it(chain: Chain, tmp_path: Path):
    """`upgrade` and `merge` write the layout of the store that they read."""
    from store.upgrade import layout_of

    store = AttentionStore.open(chain.store)
    with new_store(tmp_path / "again.zarr", layout=layout_of(store), recipe=store.recipe) as writer:
        writer.append(store[0])
    assert AttentionStore.open(tmp_path / "again.zarr").description.weights_licence == chain.licence

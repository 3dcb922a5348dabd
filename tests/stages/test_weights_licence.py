"""The licence of the transformer's weights travels with the store, the run, the report and the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.inspection import describe_store
from stages import extract, predict, train
from stages.attention.architectures import build_transformer, find_architecture
from stages.errors import UsageError
from stages.outputs.kinds import MODEL_FILE
from stages.prediction.licence_file import LICENCE_FILE
from stages.runs.licences import UNKNOWN
from stages.runs.tensor_file import load_tensors
from stages.segmentation.checkpoint import METADATA_KEY
from stages.settings import PredictSettings
from store import AttentionStore
from tests.conftest import extract_settings, train_settings

_TERMS = "Terms of the hospital: no commercial use"


def _weights(folder: Path) -> Path:
    import torch

    torch.manual_seed(0)
    path = folder / "own.pth"
    torch.save(build_transformer(find_architecture("vit_tiny_patch8"), 64).state_dict(), path)
    return path


def _extract(phantoms: Path, folder: Path, memo: Path, **changes: Any) -> extract.ExtractionReport:
    return extract.run(extract_settings(phantoms, folder / "s.zarr", memo, **changes))


def test_a_stated_licence_travels_to_store_run_and_predictions(phantoms: Path, tmp_path: Path, memo: Path) -> None:
    """Each of the three says it by itself, and the commands print it."""
    report = _extract(phantoms, tmp_path, memo, model="vit_tiny_patch8", weights=_weights(tmp_path), licence=_TERMS)
    assert f"licence of the weights: {_TERMS}" in str(report)
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.description.weights_licence == _TERMS
    assert _TERMS not in str(store.recipe), "the maps do not depend on it"
    assert describe_store(store.path, stats=False)["weights_licence"] == _TERMS

    train.run(train_settings(store.path, tmp_path / "run", steps=2))
    _, card = load_tensors(tmp_path / "run" / MODEL_FILE, key=METADATA_KEY, remedy="")
    assert card["weights_licence"] == _TERMS

    settings = PredictSettings(
        images=phantoms / "images" / "phantom_0000.png", run=tmp_path / "run", out=tmp_path / "out", memo=memo,
        weights=tmp_path / "own.pth",
    )  # fmt: skip
    for _ in range(2):  # the file of an earlier prediction may be replaced
        assert f"licence of the transformer's weights: {_TERMS}" in str(predict.run(settings))
    assert f"licence: {_TERMS}" in (tmp_path / "out" / LICENCE_FILE).read_text()
    (tmp_path / "out" / LICENCE_FILE).write_text("notes of the user")
    with pytest.raises(UsageError, match=rf"{LICENCE_FILE} there was not written by `predict`"):
        predict.run(settings)


def test_the_store_of_a_model_of_the_table_is_as_before(phantom_store: Path, trained: Path) -> None:
    """The name says the licence; the description and the card have no new key, so older programs read them."""
    store = AttentionStore.open(phantom_store)
    assert "weights_licence" not in store.description.to_dict()
    _, card = load_tensors(trained / MODEL_FILE, key=METADATA_KEY, remedy="")
    assert "weights_licence" not in card
    assert describe_store(phantom_store, stats=False)["weights_licence"] == "none needed"


def test_a_licence_that_nobody_states_is_unknown(phantoms: Path, tmp_path: Path, memo: Path) -> None:
    """No licence is invented, and nothing is recorded."""
    report = _extract(phantoms, tmp_path, memo, model="vit_tiny_patch8", weights=_weights(tmp_path))
    assert f"licence of the weights: {UNKNOWN}" in str(report)
    assert AttentionStore.open(tmp_path / "s.zarr").description.weights_licence == ""

"""Long licences are kept whole from `pretrain` to a store, or refused before anything is computed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stages import extract, pretrain
from stages.attention.card import METADATA_KEY, read_card
from stages.errors import UsageError
from stages.settings import ExtractSettings, PretrainSettings
from store import AttentionStore
from tests.conftest import extract_settings, pretrain_settings

END = "; initial weights: CC-BY-NC-ND-4.0 of the second hospital"


@pytest.fixture(scope="module")
def settings(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainSettings:
    """Return the settings of a training that was run: one step, with a licence of 990 characters."""
    out = tmp_path_factory.mktemp("first") / "first.safetensors"
    found: PretrainSettings = pretrain_settings(phantoms / "images", out, licence="y" * 990)
    pretrain.run(found)
    return found


def _with_licence(file: Path, out: Path, licence: str) -> Path:
    """Write a copy of a weights file whose card states another licence, as an older version could."""
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    card = {**json.loads(metadata[METADATA_KEY]), "licence": licence}
    save_file(load_file(file), out, {**metadata, METADATA_KEY: json.dumps(card)})
    return out


def _extract(phantoms: Path, memo: Path, file: Path, *, named: bool, licence: str = "") -> ExtractSettings:
    """Return the settings of an extraction with a file, by itself or as the weights of a model."""
    weights = {"model": str(file)} if named else {"model": "vit_tiny_patch8", "weights": file}
    store = file.with_suffix(".zarr")
    return extract_settings(
        phantoms, store, memo, image_size=(16, 16), attention_size=(16, 16), licence=licence, **weights
    )


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("length", [590, 601, 1000])
def test_a_store_has_the_whole_licence_of_a_pretrained_file(
    settings: PretrainSettings, phantoms: Path, memo: Path, tmp_path: Path, length: int, *, named: bool
):
    licence = f"{'z' * (length - len(END))}{END}"
    file = _with_licence(settings.out, tmp_path / "w.safetensors", licence)
    extraction = _extract(phantoms, memo, file, named=named)
    extract.run(extraction)
    assert AttentionStore.open(extraction.store).description.weights_licence == licence


@pytest.mark.parametrize("named", [True, False])
def test_a_file_with_a_longer_licence_needs_a_shorter_one(
    settings: PretrainSettings, phantoms: Path, memo: Path, tmp_path: Path, *, named: bool
):
    """Nothing is written, and with `--licence` the file can be used. The estimate says the same."""
    file = _with_licence(settings.out, tmp_path / "w.safetensors", "z" * 1001)
    for refused in (extract.run, extract.plan):
        with pytest.raises(UsageError, match=r"1,001 characters, and 1,000 can be kept. State a shorter one"):
            refused(_extract(phantoms, memo, file, named=named))
    extraction = _extract(phantoms, memo, file, named=named, licence="the terms of both hospitals")
    assert not extraction.store.exists()
    extract.run(extraction)
    assert AttentionStore.open(extraction.store).description.weights_licence == "the terms of both hospitals"


@pytest.mark.parametrize("stated", ["x" * 600, "not stated"])
def test_pretraining_from_weights_is_refused_if_both_licences_do_not_fit(
    settings: PretrainSettings, phantoms: Path, tmp_path: Path, stated: str
):
    """Before any image is read. A shorter text is kept with that of the initial weights, whole."""
    further = replace(settings, out=tmp_path / "second.safetensors", init=str(settings.out), licence=stated)
    with pytest.raises(UsageError, match=r"with that of --init, the weights would have one of 1,\d{3} characters"):
        pretrain.run(replace(further, images=phantoms / "none"))
    assert list(tmp_path.iterdir()) == []
    short = _with_licence(settings.out, tmp_path / "short.safetensors", "w" * (1000 - len(stated) - 19))
    pretrain.run(replace(further, init=str(short)))
    card = read_card(further.out)
    assert card is not None
    assert card.licence == f"{stated}; initial weights: {'w' * (1000 - len(stated) - 19)}"

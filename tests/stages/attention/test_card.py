"""The card in a weights file: a later version reads an old card, and an old version says when a card is too new."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from stages.attention import card as card_module
from stages.attention.card import METADATA_KEY, Card, read_card
from stages.attention.models import MODELS
from stages.errors import WeightsError

_SHIPPED = Path(MODELS["dino_phantom_tiny8"].file)
"""A weights file that version 0.1.0 wrote."""


@dataclass(frozen=True, kw_only=True)
class _LaterCard(Card):
    """The card of a later version: it has one more field, with a default."""

    later: int = 7


def _write(path: Path, **changes: Any) -> Path:
    card = read_card(_SHIPPED)
    assert card is not None
    raw = json.dumps(json.loads(card.to_json()) | changes)
    save_file({"cls_token": torch.zeros(1)}, path, metadata={METADATA_KEY: raw})
    return path


def test_a_card_comes_back_as_it_was_written(tmp_path):
    assert read_card(_write(tmp_path / "a.safetensors")) == read_card(_SHIPPED)


def test_a_version_with_one_more_field_reads_an_older_card(monkeypatch):
    """The new field takes its default and the others keep their values."""
    older = read_card(_SHIPPED)
    assert older is not None
    monkeypatch.setattr(card_module, "Card", _LaterCard)
    assert read_card(_SHIPPED) == _LaterCard(
        **{field.name: getattr(older, field.name) for field in dataclasses.fields(older)}
    )


def test_a_key_that_this_version_does_not_know_is_ignored(tmp_path):
    """A later version may add information to a card of the same version."""
    assert read_card(_write(tmp_path / "a.safetensors", later=8)) == read_card(_SHIPPED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"version": 2}, "version 2; this program reads 1. Update", id="newer_version"),
        pytest.param({"version": 0}, "damaged", id="version_that_never_was"),
        pytest.param({"version": "1"}, "damaged", id="version_as_text"),
        pytest.param({"heads": "many"}, "damaged", id="wrong_type"),
        pytest.param({"heads": None}, "damaged", id="no_value"),
    ],
)
def test_a_card_that_cannot_be_read_is_an_error(tmp_path, changes, message):
    """The error names the file and says what to do."""
    path = _write(tmp_path / "a.safetensors", **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)


def test_a_card_without_a_required_key_is_damaged(tmp_path):
    card = read_card(_SHIPPED)
    assert card is not None
    raw = json.loads(card.to_json())
    del raw["heads"]
    save_file({"cls_token": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={METADATA_KEY: json.dumps(raw)})
    with pytest.raises(WeightsError, match="damaged"):
        read_card(tmp_path / "a.safetensors")

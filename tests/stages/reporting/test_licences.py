"""Licences of the transformers' weights."""

from __future__ import annotations

from stages.attention.models import MODELS
from stages.reporting.licences import LICENCES, licence_of


def test_the_page_names_the_licence_that_the_table_of_models_has() -> None:
    assert {name: entry.licence for name, entry in MODELS.items()} == LICENCES


def test_an_unknown_model_has_no_invented_licence() -> None:
    assert licence_of("my_own").startswith("not known")

"""Licences of the transformers' weights."""

from __future__ import annotations

from stages.attention.models import MODELS
from stages.runs.licences import LICENCES, UNKNOWN, licence_of, licence_to_record, needs_notice


def test_the_page_names_the_licence_that_the_table_of_models_has() -> None:
    assert {name: entry.licence for name, entry in MODELS.items()} == LICENCES


def test_an_unknown_model_has_no_invented_licence() -> None:
    assert licence_of({"model": "my_own"}, "") == UNKNOWN
    assert UNKNOWN.startswith("unknown")


def test_what_is_recorded_comes_first():
    """A model of our table may be computed with the user's own weights."""
    assert licence_of({"model": "dino_vits8"}, "CC0-1.0") == "CC0-1.0"
    assert licence_of({"model": "dino_vits8"}, "") == "Apache-2.0"


def test_only_what_the_name_does_not_say_is_recorded():
    """So the bytes of stores of our models stay those of older versions."""
    assert licence_to_record("dino_vits8", "Apache-2.0") == ""
    assert licence_to_record("dino_vits8", "CC0-1.0") == "CC0-1.0"
    assert licence_to_record("vit_base_patch16_224.mae", "CC-BY-NC-4.0") == "CC-BY-NC-4.0"
    assert licence_to_record("vit_tiny_patch8", "not stated") == ""


def test_a_licence_with_conditions_needs_a_notice():
    """Permissive ones do not, and of an unknown one there is nothing to say."""
    assert needs_notice(LICENCES["dinov3_vits16"])
    assert needs_notice("CC-BY-NC-4.0 (no commercial use)")
    assert not any(map(needs_notice, ("Apache-2.0", "MIT", "none needed", UNKNOWN)))

"""Licences of the transformers' weights."""

from __future__ import annotations

import pytest

from stages.attention.models import MODELS
from stages.errors import UsageError
from stages.runs.licences import (
    LICENCES,
    NOT_STATED,
    NOT_USED,
    UNKNOWN,
    derived_licence,
    is_unknown,
    licence_of,
    licence_of_run,
    licence_to_record,
    needs_notice,
    unknown_file_of,
)
from store.description import LONGEST_LICENCE


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
    """Permissive ones do not. An unknown one may have conditions."""
    assert needs_notice(LICENCES["dinov3_vits16"])
    assert needs_notice("CC-BY-NC-4.0 (no commercial use)")
    assert all(map(needs_notice, (UNKNOWN, NOT_STATED, unknown_file_of("dino_vits8", "Apache-2.0"))))
    assert not any(map(needs_notice, ("Apache-2.0", "MIT", "none needed", NOT_USED)))


def test_a_run_without_attention_needs_no_weights():
    assert licence_of_run({"model": "dinov3_vits16"}, "CC0-1.0", branches="image") == NOT_USED
    assert licence_of_run({"model": "dinov3_vits16"}, "CC0-1.0", branches="dual") == "CC0-1.0"


def test_an_unstated_licence_is_not_that_of_the_model_of_the_table():
    """A file of `pretrain` may be computed under the name of a model of the table."""
    recorded = licence_to_record("dino_vits8", NOT_STATED)
    assert licence_of({"model": "dino_vits8"}, recorded) == UNKNOWN


def test_the_published_licence_is_named_where_the_file_is_the_users_own():
    text = unknown_file_of("dinov3_vits16", LICENCES["dinov3_vits16"])
    assert is_unknown(text)
    assert "dinov3_vits16: DINOv3 License)" in text


@pytest.mark.parametrize(
    ("stated", "initial", "expected"),
    [
        ("CC0-1.0", "", "CC0-1.0"),
        ("CC0-1.0", "none needed", "CC0-1.0"),
        ("Apache-2.0", "Apache-2.0", "Apache-2.0"),
        ("CC0-1.0", "DINOv3 License", "CC0-1.0; initial weights: DINOv3 License"),
        (NOT_STATED, "Apache-2.0", "not stated; initial weights: Apache-2.0"),
    ],
)
def test_weights_that_were_trained_further_keep_the_licence_of_the_initial_ones(stated, initial, expected):
    assert derived_licence(stated, initial) == expected


def test_a_licence_is_recorded_whole_or_refused():
    """A text that is cut would lose its end, where the licence of initial weights is."""
    assert licence_to_record("vit_tiny_patch8", "x" * LONGEST_LICENCE) == "x" * LONGEST_LICENCE
    with pytest.raises(UsageError, match=r"a licence of 1,001 characters, and 1,000 can be kept"):
        licence_to_record("vit_tiny_patch8", "x" * (LONGEST_LICENCE + 1))

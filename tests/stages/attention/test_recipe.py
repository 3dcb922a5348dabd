"""The recipe: it survives JSON, has one digest, and refuses keys that it does not know."""

from __future__ import annotations

import dataclasses
import json

import pytest

from stages.attention.recipe import ALWAYS_HASHED, Recipe
from stages.errors import CheckpointError


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        model="dino_vits8",
        timm_id="vit_small_patch8_224.dino",
        weights_sha256="ab" * 32,
        layers=(10, 11),
        heads=("L10H0", "L11H0"),
        input_size=(224, 448),
        patch=8,
        grid=(28, 56),
        keys=1569,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        precision="float32",
        position_embedding="bicubic-antialias",
    )


def test_recipe_survives_json(recipe):
    """The recipe that is read from a store's JSON is the same, and so is its digest."""
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.sha256 == recipe.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "cd" * 32},
        {"layers": (11, 10)},
        {"input_size": (448, 224)},
        {"precision": "bfloat16"},
        {"mean": (0.5, 0.5, 0.5)},
        {"position_embedding": "native"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_difference_changes_the_digest(recipe, change):
    """Two extractions whose maps could differ never share a memo."""
    assert dataclasses.replace(recipe, **change).sha256 != recipe.sha256


def test_digest_does_not_depend_on_the_order_of_keys(recipe):
    """A JSON file with another order of keys is the same recipe."""
    backwards = dict(reversed(recipe.to_dict().items()))
    assert Recipe.from_dict(backwards).sha256 == recipe.sha256


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"grid": None}, "grid", id="missing_value"),
        pytest.param({"layers": ["last"]}, "layers", id="wrong_type"),
        pytest.param({"patch": "8"}, "patch", id="number_as_text"),
        pytest.param({"stored_as": "probability float32"}, "stored_as", id="another_unit"),
        pytest.param({"mean": [0.5, 0.5]}, "mean", id="wrong_length"),
    ],
)
def test_foreign_recipe_is_refused_and_the_key_named(recipe, change, named):
    """A value of the wrong type is an error that names its key."""
    with pytest.raises(CheckpointError, match=named):
        Recipe.from_dict({**recipe.to_dict(), **change})


def test_missing_key_is_refused(recipe):
    """A recipe without the digest of its weights is an error."""
    raw = recipe.to_dict()
    del raw["weights_sha256"]
    with pytest.raises(CheckpointError, match="weights_sha256"):
        Recipe.from_dict(raw)


def test_a_key_of_a_newer_version_is_refused_and_named(recipe):
    """The maps depend on it, so it is not ignored. The message says to update."""
    with pytest.raises(CheckpointError, match=r"colour, which this version does not know.*Update"):
        Recipe.from_dict({**recipe.to_dict(), "colour": 1})


def test_every_field_after_the_first_version_has_a_default():
    """Without a default an old recipe could not be read."""
    later = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name not in ALWAYS_HASHED}
    assert dataclasses.MISSING not in later.values()
    assert {field.name for field in dataclasses.fields(Recipe)} >= ALWAYS_HASHED


def test_fields_of_the_first_version_are_hashed_also_at_their_default(recipe):
    """Version 0.1.0 hashed them all. Leaving one out would change the digests of its memos, stores and runs."""
    assert recipe.to_dict().keys() == ALWAYS_HASHED

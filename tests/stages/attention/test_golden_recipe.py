"""A new recipe field at its default changes no digest, so the store and the memo of version 0.1.0 stay usable."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import CheckpointError

GOLDEN = Path(__file__).parents[2] / "golden" / "v1"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
STORE = json.loads((GOLDEN / "store.zarr" / "zarr.json").read_text(encoding="utf-8"))["attributes"]["attention_store"]


@dataclass(frozen=True, kw_only=True)
class LaterRecipe(Recipe):
    """The recipe of a later version: it has two more fields, with defaults."""

    smoothing: float = 0.0
    offset: tuple[int, int] = (0, 0)


CHANGES: list[dict[str, Any]] = [{"smoothing": 0.5}, {"offset": (4, 0)}]


def _memo(folder: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "memo", folder / "memo"))


@pytest.mark.parametrize("version", [Recipe, LaterRecipe])
def test_the_digest_of_the_golden_store_stays_the_same(version):
    recipe = version.from_dict(STORE["recipe"])
    assert recipe.to_dict() == STORE["recipe"]
    assert recipe.sha256 == STORE["recipe_sha256"] == EXPECTED["recipe_sha256"]


@pytest.mark.parametrize("version", [Recipe, LaterRecipe])
def test_the_golden_memo_is_found_and_gives_its_maps(version, tmp_path):
    """The file has the same name, its recipe is accepted, and no map would be computed again."""
    folder = _memo(tmp_path)
    recipe = version.from_dict(STORE["recipe"])
    with AttentionMemo(folder, recipe) as memo:
        assert memo.path.name in {file.name for file in (GOLDEN / "memo").iterdir()}
        maps = memo.get_many(EXPECTED["columns"]["digest"])
    assert len(maps) == EXPECTED["memo"]["digests"]
    content = b"".join(maps[digest].astype("<f2").tobytes() for digest in sorted(maps))
    assert hashlib.sha256(content).hexdigest() == EXPECTED["memo"]["sha256"]


def test_the_golden_memo_takes_more_maps(tmp_path):
    """A later version adds to the memo. It does not begin a new one."""
    recipe = LaterRecipe.from_dict(STORE["recipe"])
    with AttentionMemo(_memo(tmp_path), recipe) as memo:
        memo.put_many({"f" * 64: np.ones((len(recipe.heads), *recipe.grid), np.float16)})
        assert len(memo) == EXPECTED["memo"]["digests"] + 1


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_another_value_of_a_later_field_is_another_recipe(change, tmp_path):
    """It has its own digest and its own memo file, and it is equal after a round trip through JSON."""
    recipe = dataclasses.replace(LaterRecipe.from_dict(STORE["recipe"]), **change)
    assert recipe.sha256 != STORE["recipe_sha256"]
    assert LaterRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with AttentionMemo(_memo(tmp_path), recipe) as memo:
        assert memo.get_many(EXPECTED["columns"]["digest"]) == {}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_this_version_refuses_a_recipe_that_needs_a_later_field(change):
    recipe = dataclasses.replace(LaterRecipe.from_dict(STORE["recipe"]), **change)
    with pytest.raises(CheckpointError, match=f"{next(iter(change))}, which this version does not know"):
        Recipe.from_dict(recipe.to_dict())

"""Test the pool: which images are in it, that no test image is, and how large images are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stages.errors import UsageError
from stages.imaging.decoding import read_image
from store import AttentionStore
from tests.benchmarks.evidence import pools
from tests.benchmarks.evidence.datasets import DATASETS
from tests.benchmarks.evidence.pools import pool_of, tiles_of, write_pool
from tests.benchmarks.evidence.splits import draw_split, is_held_out

HALF = replace(DATASETS["isic"], held_out=500, test=4)


def test_no_image_of_the_pool_is_ever_a_test_image(phantoms: Path, phantom_store: Path) -> None:
    pool = {sample.id for sample in pool_of(phantoms / "images", HALF)}
    store = AttentionStore.open(phantom_store)
    ids = [str(id_) for id_ in store.ids]
    assert 0 < len(pool) < len(ids)
    assert pool == {id_ for id_ in ids if not is_held_out(id_, 500)}
    for number in range(3):
        split_of = draw_split(ids, [str(one) for one in store.column("perceptual_hash")], HALF, number)
        assert not {id_ for id_, split in split_of.items() if split == "test"} & pool


def test_images_are_copied_unchanged_without_tiles(phantoms: Path, tmp_path: Path) -> None:
    pool = pool_of(phantoms / "images", HALF)
    assert write_pool(pool, tmp_path / "new" / "pool", tile=None) == len(pool)
    for sample in pool:
        assert (tmp_path / "new" / "pool" / sample.image.name).read_bytes() == sample.image.read_bytes()


def test_tiles_are_parts_of_the_image(phantoms: Path, tmp_path: Path) -> None:
    pool = pool_of(phantoms / "images", HALF)
    write_pool(pool, tmp_path / "pool", tile=32)  # the images have 36 × 48
    pixels = read_image(pool[0].image).pixels
    tiles = {path.stem.removeprefix(pool[0].id): path for path in (tmp_path / "pool").glob(f"{pool[0].id}_*")}
    assert set(tiles) == {"_0_0"}
    assert (read_image(tiles["_0_0"]).pixels == pixels[:32, :32]).all()
    write_pool(pool, tmp_path / "finer", tile=24)
    assert (read_image(tmp_path / "finer" / f"{pool[0].id}_24_0.png").pixels == pixels[:24, 24:]).all()


@given(height=st.integers(1, 90), width=st.integers(1, 90), side=st.integers(1, 100))
def test_tiles_lie_inside_and_leave_less_than_half_a_tile_uncovered(height: int, width: int, side: int) -> None:
    covered = np.zeros((height, width), bool)
    for tile in tiles_of((height, width), side):
        left, top, right, bottom = tile.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left, bottom - top) == (min(side, width), min(side, height))
        covered[top:bottom, left:right] = True
    assert covered[: max(1, height - side // 2), : max(1, width - side // 2)].all()


def test_the_last_tile_is_moved_to_the_edge() -> None:
    assert [(tile.x, tile.box) for tile in tiles_of((256, 400), 256)] == [
        (0, (0, 0, 256, 256)),
        (256, (144, 0, 400, 256)),
    ]
    assert [tile.x for tile in tiles_of((256, 384), 256)] == [0]


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(phantoms: Path, tmp_path: Path) -> None:
    pool = pool_of(phantoms / "images", HALF)
    with pytest.raises(UsageError, match="exists"):
        write_pool(pool, tmp_path, tile=None)
    with pytest.raises(FileNotFoundError):
        write_pool([replace(pool[0], image=tmp_path / "gone.png")], tmp_path / "pool", tile=None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="all 16 images are held out"):
        pool_of(phantoms / "images", replace(HALF, held_out=1000))


def test_the_command_writes_ids_for_the_fit_of_components(phantoms: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(pools.main)
    arguments = ["--data", "nuclei", "--images", str(phantoms / "images")]
    done = CliRunner().invoke(app, [*arguments, "--ids", str(tmp_path / "ids.txt"), "--out", str(tmp_path / "pool")])
    assert done.exit_code == 0, done.output
    named = (tmp_path / "ids.txt").read_text().splitlines()
    assert named == [sample.id for sample in pool_of(phantoms / "images", DATASETS["nuclei"])]
    assert f"{len(named)} files of {len(named)} images" in done.output
    for wrong, message in ((arguments, "nothing to write"), (["--data", "x", *arguments[2:]], "no data set")):
        refused = CliRunner().invoke(app, wrong)
        assert refused.exit_code == 2
        assert message in refused.output

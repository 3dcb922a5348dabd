"""Test the splits of the evidence: sizes, the pool, look-alikes, and that `compare` accepts the tables."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages.comparison.arms import parse_arm, shared_settings
from stages.comparison.plan import plan_of
from stages.errors import UsageError
from stages.settings import CompareSettings, TrainSettings
from store import AttentionStore
from store.writer import Layout, new_store
from tests.benchmarks.evidence.datasets import DATASETS, DataSet
from tests.benchmarks.evidence.splits import VAL, draw_split, is_held_out, look_alikes, write_splits
from tests.conftest import RECIPE, random_sample

IDS = [f"image-{number:04d}" for number in range(400)]
SMALL = replace(DATASETS["isic"], test=60)


def hashes_with(*alike: tuple[int, int]) -> list[str]:
    """Return hashes that are far from each other, except those of the pairs, which are equal."""
    hashes = [hashlib.sha256(id_.encode()).hexdigest()[:16] for id_ in IDS]
    for one, other in alike:
        hashes[other] = hashes[one]
    return hashes


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_split_has_the_sizes_it_states_and_no_test_image_of_the_pool(number: int) -> None:
    split_of = draw_split(IDS, hashes_with(), SMALL, number)
    counts = Counter(split_of.values())
    assert counts == {"test": 60, "val": round(VAL * 340), "train": 340 - round(VAL * 340)}
    held = {id_ for id_ in IDS if is_held_out(id_, 300)}
    assert {id_ for id_, split in split_of.items() if split == "test"} <= held
    assert not {id_ for id_, split in split_of.items() if split == "val"} & held


def test_splits_differ_and_are_the_same_every_time() -> None:
    first = draw_split(IDS, hashes_with(), SMALL, 0)
    assert first == draw_split(IDS, hashes_with(), SMALL, 0)
    assert first != draw_split(IDS, hashes_with(), SMALL, 1)


def test_look_alikes_are_in_one_split_also_through_a_chain() -> None:
    """With a twin in the pool a held-out image is no test image: the transformer has seen its twin."""
    held = [position for position, id_ in enumerate(IDS) if is_held_out(id_, 300)]
    pool = [position for position, id_ in enumerate(IDS) if not is_held_out(id_, 300)]
    pairs = [(held[0], pool[0]), (pool[0], held[1]), (held[2], held[3]), (pool[1], pool[2])]
    hashes = hashes_with(*pairs)
    assert sorted(map(len, look_alikes(IDS, hashes)))[-3:] == [2, 2, 3]
    for number in range(6):
        split_of = draw_split(IDS, hashes, SMALL, number)
        for one, other in pairs:
            assert split_of[IDS[one]] == split_of[IDS[other]]
        assert split_of[IDS[held[0]]] == "train"


def test_the_rule_of_the_pool_never_changes() -> None:
    """Transformers were pretrained by it; another rule would put images they have seen among the test images."""
    assert [is_held_out(id_, 300) for id_ in ("ISIC_0000000", "ISIC_0000003", "ISIC_0000014")] == [True, False, False]
    assert sum(is_held_out(id_, 300) for id_ in IDS) == 121


def test_other_sources_are_only_tested_and_none_of_their_twins_is_trained_on() -> None:
    sources = replace(SMALL, test=60, sources=((0, 49), (350, 399)))
    split_of = draw_split(IDS, hashes_with((10, 120), (220, 230)), sources, 0)
    tested = {id_ for id_, split in split_of.items() if split == "test"}
    of_sources = [set(IDS[:50]), set(IDS[350:])]
    assert [len(tested & source) for source in of_sources] == [30, 30]
    assert set(IDS) - set(split_of) == (set.union(*of_sources) - tested) | {IDS[120]}
    assert IDS[10] not in tested
    assert Counter(split_of.values())["val"] == round(VAL * (len(split_of) - 60))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UsageError, match=r"372 test images.*are held out"):
        draw_split(IDS, hashes_with(), DATASETS["isic"], 0)
    with pytest.raises(UsageError, match=r"60 test images.*are of its sources"):
        draw_split(IDS, hashes_with(), replace(SMALL, sources=((0, 20),)), 0)


def test_compare_takes_the_table(layout: Layout, tmp_path: Path) -> None:
    """`--common split_csv=FILE` gives the runs the splits of the table, with only the drawn labels in train."""
    path = tmp_path / "tiny.zarr"
    with new_store(path, layout=replace(layout, columns=("perceptual_hash",)), recipe=RECIPE) as writer:
        for index in range(40):
            sample = random_sample(index, layout)
            writer.append(replace(sample, group=sample.id, perceptual_hash=hashes_with()[index]))
    tiny = DataSet(name="tiny", held_out=500, test=8, labels=("4",), everything=27, search_labels=4, image="noise")
    tables = write_splits(AttentionStore.open(path), tiny, tmp_path / "splits")
    assert [table.name for table in tables] == ["tiny-0.csv", "tiny-1.csv", "tiny-2.csv"]
    (only,) = write_splits(AttentionStore.open(path), replace(tiny, splits=(1,)), tmp_path / "one")
    assert only.read_bytes() == tables[1].read_bytes()
    settings = CompareSettings(
        store=path, out=tmp_path / "out", labels=("4",), seeds=("0",), steps=1, common=(f"split_csv={tables[1]}",)
    )
    shared = shared_settings(settings, TrainSettings(batch_size=2))
    (job,) = plan_of(settings, [parse_arm("one", "image", shared)], shared).jobs
    assert Counter(job.splits) == {"test": 8, "val": 5, "train": 4, "": 23}
    wanted = dict(line.split(",") for line in tables[1].read_text().splitlines()[1:])
    ids = [sample.id for sample in (random_sample(index, layout) for index in range(40))]
    assert all(split in ("", wanted[id_]) for id_, split in zip(ids, job.splits, strict=True))


def test_a_store_without_picture_hashes_is_refused(make_store: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="picture hashes"):
        write_splits(AttentionStore.open(make_store(4)), SMALL, tmp_path)

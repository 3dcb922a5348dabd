"""The data set for other training code: values, choice of samples, errors, and use by torch's own `DataLoader`."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stages.segmentation.chosen_samples import Splits, choose_samples
from stages.segmentation.normalisation import normalise_attention, normalise_image
from stages.segmentation.run_splits import read_run_splits, split_names
from stages.segmentation.split_tables import write_splits
from stages.segmentation.torch_dataset import SegmentationDataset
from stages.settings import TrainSettings
from stages.train import run as train
from store import AttentionStore, StoreCorruptError, UsageError
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample, train_settings

MakeStore = Callable[..., Path]


def test_a_sample_is_the_stored_one_as_tensors(make_store: MakeStore):
    path = make_store(5)
    stored, sample = AttentionStore.open(path)[3], SegmentationDataset(path, attention_norm="none")[3]
    assert (sample["id"], int(sample["index"])) == ("sample-003", 3)
    assert {name: sample[name].dtype for name in ("image", "attention", "mask")} == {
        "image": torch.float32,
        "attention": torch.float32,
        "mask": torch.int64,
    }
    np.testing.assert_array_equal(sample["image"].numpy(), np.moveaxis(stored.image, -1, 0) / np.float32(255))
    np.testing.assert_array_equal(sample["attention"].numpy(), stored.attention)
    np.testing.assert_array_equal(sample["mask"].numpy(), stored.mask)


def test_maps_and_images_are_scaled_and_sized_as_asked_for(make_store: MakeStore):
    path = make_store(3)
    store = AttentionStore.open(path)
    sample = SegmentationDataset(path, attention_size=store.size, image_scale="imagenet")[1]
    assert sample["attention"].shape == (2, 10, 14)
    batch = store.read([1])
    image = normalise_image(torch.from_numpy(batch.image).movedim(-1, 1).float())
    torch.testing.assert_close(sample["image"], image[0], rtol=0, atol=0)
    plain = SegmentationDataset(path)[1]["attention"]
    maps = normalise_attention(torch.from_numpy(batch.attention).float(), "log")
    torch.testing.assert_close(plain, maps[0], rtol=0, atol=0)


def test_a_batch_is_the_stacked_samples_and_is_read_by_one_call(make_store: MakeStore, monkeypatch):
    samples = SegmentationDataset(make_store(6), indices=[5, 1, 4, 2])
    calls: list[list[int]] = []
    original = AttentionStore.read
    monkeypatch.setattr(
        AttentionStore, "read", lambda self, wanted: calls.append(list(wanted)) or original(self, wanted)
    )
    (batch,) = DataLoader(samples, batch_size=4)
    assert calls == [[5, 1, 4, 2]]
    assert batch["id"] == ["sample-005", "sample-001", "sample-004", "sample-002"]
    single = [samples[number] for number in range(4)]
    for name in ("image", "attention", "mask", "index"):
        torch.testing.assert_close(batch[name], torch.stack([sample[name] for sample in single]), rtol=0, atol=0)
        torch.testing.assert_close(samples.batch(range(4))[name], batch[name], rtol=0, atol=0)


@pytest.fixture
def half_labelled(tmp_path: Path, layout: Layout) -> Path:
    """Return a store of 24 samples; every third has no mask."""
    path = tmp_path / "half.zarr"
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index in range(24):
            sample = random_sample(index, layout)
            without = {"mask": np.full(layout.size, 255, np.uint8), "labelled": False} if index % 3 == 0 else {}
            writer.append(replace(sample, **without))
    return path


def test_samples_without_a_mask_are_left_out_unless_they_are_asked_for(half_labelled: Path):
    assert SegmentationDataset(half_labelled).indices.tolist() == [index for index in range(24) if index % 3]
    both = SegmentationDataset(half_labelled, include_unlabelled=True)
    assert len(both) == 24
    assert (both[0]["mask"] == 255).all()


def test_the_split_unlabelled_never_shows_a_mask(half_labelled: Path):
    """The labels that `labels` leaves out are in the store, and must not be learnt from by mistake."""
    samples = SegmentationDataset(half_labelled, split="unlabelled", splits=Splits(labels=4))
    assert AttentionStore.open(half_labelled).labelled[samples.indices].any()
    assert (samples.batch(range(len(samples)))["mask"] == 255).all()


@pytest.mark.parametrize("rule", ["exact", "hash"])
def test_the_splits_are_those_of_train(phantom_store: Path, tmp_path: Path, rule: str):
    """Trained with the same numbers, a run records the samples that the rule gives; and they are found in the run."""
    out = tmp_path / "run"
    settings = train_settings(phantom_store, out, epochs=1, labels=5, seed=3, split_seed=2, split_rule=rule)
    train(settings)
    store = AttentionStore.open(phantom_store)
    recorded = split_names(read_run_splits(out / "splits.csv").codes)
    ours = Splits(rule=rule, seed=2, val=0.25, test=0.25, labels=5, labels_seed=3)
    for split in ("train", "val", "test"):
        expected = [index for index, name in enumerate(recorded) if name == split]
        assert choose_samples(store, split, ours).tolist() == expected
        assert choose_samples(store, split, Splits(run=out)).tolist() == expected


def test_the_defaults_of_the_splits_are_those_of_train():
    ours, train_defaults = Splits(), TrainSettings()
    assert (ours.rule, ours.seed, ours.val, ours.test, ours.labels, ours.labels_seed) == (
        train_defaults.split_rule,
        train_defaults.split_seed,
        train_defaults.val,
        train_defaults.test,
        train_defaults.labels,
        train_defaults.seed,
    )


def test_a_table_of_splits_can_be_given(make_store: MakeStore, tmp_path: Path):
    table = tmp_path / "splits.csv"
    table.write_text("id,split\nsample-000,train\nsample-001,train\nsample-004,val\n")
    samples = SegmentationDataset(make_store(6), split="val", splits=Splits(csv=table))
    assert [sample["id"] for sample in samples] == ["sample-004"]


def overlapping_store(folder: Path, layout: Layout) -> Path:
    """Return a store of two samples with three labels that may overlap."""
    labels = replace(layout, classes=["skin", "a", "b", "c"], multilabel=True)
    with new_store(folder / "s.zarr", layout=labels, recipe=RECIPE) as writer:
        for index in range(2):
            sample = random_sample(index, labels)
            mask = np.resize(np.array([0, 1, 2, 5, 7, 255], np.uint8), labels.size)
            writer.append(replace(sample, mask=mask))
    return folder / "s.zarr"


def test_labels_that_may_overlap_become_one_channel_each(tmp_path: Path, layout: Layout):
    mask = SegmentationDataset(overlapping_store(tmp_path, layout))[0]["mask"]
    assert (mask.dtype, mask.shape) == (torch.float32, (3, *layout.size))
    assert mask[:, 0, :6].T.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1], [255, 255, 255]]


def test_a_pickled_data_set_opens_the_same_store_and_no_other(make_store: MakeStore):
    path = make_store(4)
    pickled = pickle.dumps(SegmentationDataset(path, indices=[2, 0]))
    again = pickle.loads(pickled)  # noqa: S301 - made one line above
    assert [sample["id"] for sample in again] == ["sample-002", "sample-000"]
    other = make_store(4, name="other.zarr", seed=1)
    shutil.rmtree(path)
    other.rename(path)
    late = pickle.loads(pickled)  # noqa: S301 - made above
    with pytest.raises(StoreCorruptError, match="was replaced"):
        late[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"indices": [0, 9]}, "no sample 9. The store has positions 0 to 3"),
        ({"indices": [-1]}, "no sample -1"),
        ({"indices": [0.5]}, "row of positions"),
        ({"indices": [[0]]}, "row of positions"),
        ({"indices": []}, "no sample to read"),
        ({"indices": [0], "split": "val"}, "indices and split"),
        ({"splits": Splits(val=0.5)}, "say which part"),
        ({"split": "validation"}, "split 'validation' is not known. Choose one of: train, val, test, unlabelled"),
        ({"split": "val", "splits": Splits(val=0)}, "in the split `val` of these splits"),
        ({"split": "train", "splits": Splits(val=0.6, test=0.6)}, "leave nothing to train on"),
        ({"attention_norm": "softmax"}, "attention_norm 'softmax'"),
        ({"attention_size": (0, 4)}, "attention_size"),
        ({"image_scale": "bytes"}, "image_scale 'bytes'"),
    ],
    ids=str,
)
def test_a_wrong_request_says_what_is_wrong(make_store: MakeStore, arguments: dict[str, object], words: str):
    with pytest.raises(UsageError, match=words.replace(".", r"\.")):
        SegmentationDataset(make_store(4), **arguments)


@pytest.mark.parametrize(
    "values", [{"run": "r", "seed": 1}, {"val": 1.0}, {"test": -0.1}, {"seed": -1}, {"labels": 0}], ids=str
)
def test_splits_that_cannot_be_are_refused(values: dict[str, object]):
    with pytest.raises(UsageError, match="Splits: "):
        Splits(**values)


def test_a_run_of_another_store_has_no_sample_here(make_store: MakeStore, trained: Path):
    path = make_store(4)
    with pytest.raises(UsageError, match=f"{path}: none of its samples is in the split `test` of the run {trained}"):
        SegmentationDataset(path, split="test", splits=Splits(run=trained))


def test_a_tile_that_the_run_left_out_is_not_taken_for_another_tile_of_its_image(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
):
    """All tiles of an image have its digest. A renamed one is found by it; one with a row of its own has its split."""
    path, run = tmp_path / "tiles.zarr", tmp_path / "run"
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index in range(4):
            writer.append(replace(random_sample(index, layout), digest="0" * 63 + str(index // 2), group="one"))
    run.mkdir()
    store = AttentionStore.open(path)
    write_splits(run / "splits.csv", store, ["train", "", "", "train"])
    table = (run / "splits.csv").read_text().replace("sample-003", "earlier-name")
    (run / "splits.csv").write_text(table)
    card = SimpleNamespace(splits_sha256="")
    monkeypatch.setattr("stages.segmentation.chosen_samples.load_model", lambda *_: (None, card))
    assert choose_samples(store, "train", Splits(run=run)).tolist() == [0, 3]


def test_every_process_opens_the_store_itself(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """A forked process must not share the connections of its parent."""
    samples = SegmentationDataset(make_store(2))
    first = samples.store
    assert samples.store is first
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert samples.store is not first
    assert samples.store is samples.store


def test_a_sample_outside_the_data_set_is_an_index_error(make_store: MakeStore):
    samples = SegmentationDataset(make_store(4), indices=[1, 2])
    assert samples[-1]["id"] == "sample-002"
    for number in (2, -3):
        with pytest.raises(IndexError, match=f"no sample {number}; the data set has 2"):
            samples[number]


def test_a_store_without_masks_has_no_splits(tmp_path: Path, layout: Layout):
    with new_store(tmp_path / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        writer.append(replace(random_sample(0, layout), mask=np.full(layout.size, 255, np.uint8), labelled=False))
    with pytest.raises(UsageError, match="no sample has a mask"):
        SegmentationDataset(tmp_path / "s.zarr", split="train")

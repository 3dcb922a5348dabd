"""Training: repeatable to the bit, resumable to the bit, from the store alone, and choosing on validation only."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stages import extract
from stages.errors import CheckpointError, PipelineError, UsageError
from stages.segmentation.checkpoint import load_model, require_fit
from stages.segmentation.losses import LOSSES
from stages.segmentation.trainer import SegmentationTrainer
from stages.train import run
from store import AttentionStore
from tests.conftest import extract_settings, train_settings
from tests.stages.compared_runs import history, same_weights, weights

ROOT = Path(__file__).parents[2]


def test_a_run_leaves_model_history_and_splits(phantom_store: Path, trained: Path):
    """The model's metadata says all that is needed to use it; the history has a row per epoch."""
    store = AttentionStore.open(phantom_store)
    with safe_open(trained / "model.safetensors", framework="pt") as file:
        card = json.loads(file.metadata()["diamant"])
    assert card["classes"] == store.classes
    assert card["recipe"] == store.recipe
    assert card["recipe_sha256"] == store.description.recipe_sha256
    assert card["network"]["branches"] == "dual"
    epochs = history(trained)
    assert [row["epoch"] for row in epochs] == ["1", "2", "3"]
    assert float(epochs[-1]["loss"]) < float(epochs[0]["loss"])
    assert card["val_dice"] == max(float(row["val_dice"]) for row in epochs)
    with (trained / "splits.csv").open() as file:
        splits = {row["split"] for row in csv.DictReader(file)}
    assert splits == {"train", "val", "test"}
    assert not list(trained.parent.glob(".*"))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(phantom_store: Path, tmp_path: Path):
    """Bit for bit on a CPU, whatever the global generators were at; history and model file too."""
    torch.manual_seed(1)
    run(train_settings(phantom_store, tmp_path / "a"))
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 - to show that it does not matter
    run(train_settings(phantom_store, tmp_path / "b"))
    run(train_settings(phantom_store, tmp_path / "c", seed=1))
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")
    for name in ("model.safetensors", "history.csv", "splits.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_training_leaves_the_global_generator_alone(phantom_store: Path, tmp_path: Path):
    """A library must not reseed its caller."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(train_settings(phantom_store, tmp_path / "a", epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_a_single_step_learns_something(phantom_store: Path, tmp_path: Path):
    """Neither the first nor the last step has a learning rate of zero, so even one step counts."""
    from stages.segmentation.splits import split_by_hash

    settings = train_settings(phantom_store, tmp_path / "a", epochs=1, batch_size=16)
    store = AttentionStore.open(phantom_store)
    splits = split_by_hash(store, seed=0, val=settings.val, test=settings.test)
    untrained = SegmentationTrainer(settings, store, splits, torch.device("cpu")).model.head.weight
    run(settings)
    assert not torch.equal(weights(tmp_path / "a")["head.weight"], untrained)


@pytest.mark.parametrize(
    ("size", "batch_size", "trains"),
    [((32, 32), 1, False), ((16, 24), 2, False), ((32, 32), 3, True), ((36, 32), 1, True)],
)
def test_a_batch_of_one_small_image_is_refused_with_what_to_do(
    phantoms: Path, tmp_path: Path, size: tuple[int, int], batch_size: int, *, trains: bool
):
    """Normalisation over a single value is torch's bare ValueError. Seven samples in pairs leave one alone."""
    store = tmp_path / "s.zarr"
    extract.run(extract_settings(phantoms, store, tmp_path / "memo", image_size=size, attention_size=(32, 32)))
    settings = train_settings(store, tmp_path / "a", epochs=1, batch_size=batch_size)
    if trains:
        run(settings)
        assert math.isfinite(float(history(settings.out)[0]["loss"]))
        return
    with pytest.raises(
        UsageError, match=rf"7 .* in batches of {batch_size} leave .* of one.* {size[1]} (?s:.*)--batch"
    ):
        run(settings)
    assert not settings.out.exists()


def test_two_trainings_into_one_folder_do_not_destroy_each_other(phantom_store: Path, tmp_path: Path):
    """The second one is told to wait; the first goes on."""
    from store.disk.publish import exclusive_folder

    with exclusive_folder(tmp_path / ".a.training", "training"):
        (tmp_path / ".a.training" / "theirs").write_text("epochs of work")
        with pytest.raises(PipelineError, match="another process is training here"):
            run(train_settings(phantom_store, tmp_path / "a"))
        assert (tmp_path / ".a.training" / "theirs").exists()
    run(train_settings(phantom_store, tmp_path / "a", epochs=1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_failed_run_leaves_the_previous_model(phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Training anew over an old run replaces it only at the end."""
    run(train_settings(phantom_store, tmp_path / "a"))
    before = (tmp_path / "a" / "model.safetensors").read_bytes()

    def fail(_trainer: SegmentationTrainer) -> float:
        raise RuntimeError("the power went out")

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTrainer, "_validate", fail)
        with pytest.raises(RuntimeError, match="power"):
            run(train_settings(phantom_store, tmp_path / "a", seed=9))
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == before
    run(train_settings(phantom_store, tmp_path / "a", seed=9))
    assert (tmp_path / "a" / "model.safetensors").read_bytes() != before


def test_a_loss_that_is_not_a_number_stops_with_advice(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A diverged run says so and what to change."""
    monkeypatch.setitem(LOSSES, "dice_ce", lambda logits, _: logits.sum() * torch.tensor(float("nan")))
    with pytest.raises(PipelineError, match="lower --lr"):
        run(train_settings(phantom_store, tmp_path / "a"))


def test_it_trains_with_the_transformer_made_unimportable(phantom_store: Path, tmp_path: Path):
    """The promise: no `stages.attention`, no timm, no transformers in a process that trains and evaluates."""
    program = (
        "import sys\n"
        "class Forbidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'timm', 'transformers', 'monai'} or name.startswith('stages.attention'):\n"
        "            raise ImportError(name + ' must not be imported')\n"
        "sys.meta_path.insert(0, Forbidden())\n"
        "from pathlib import Path; from tests.conftest import train_settings\n"
        "from stages import evaluate, train; from stages.settings import EvaluateSettings\n"
        "store, out = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "train.run(train_settings(store, out / 'run', epochs=1))\n"
        "evaluate.run(EvaluateSettings(store=store, run=out / 'run', out=out / 'report'))\n"
    )
    subprocess.run([sys.executable, "-c", program, phantom_store, tmp_path], check=True, cwd=ROOT)
    assert (tmp_path / "report" / "metrics.json").is_file()


@pytest.mark.parametrize("branches", ["dual", "image", "attention"])
def test_every_kind_of_network_learns(phantom_store: Path, tmp_path: Path, branches):
    """The loss goes down for each choice of branches."""
    run(train_settings(phantom_store, tmp_path / "a", branches=branches, epochs=24, lr=5e-3, augment="none"))
    losses = [float(row["loss"]) for row in history(tmp_path / "a")]
    assert losses[-1] < 0.9 * losses[0]


def test_several_classes_and_ignored_pixels(phantoms: Path, tmp_path: Path, memo: Path):
    """Three classes by value, one of them ignored, from extraction to a trained model."""
    from PIL import Image

    from stages.extract import run as extract

    (tmp_path / "masks").mkdir()
    for file in sorted((phantoms / "masks").iterdir()):
        values = np.asarray(Image.open(file)).copy()
        values[:, :20] //= 2  # 127: the left half of a lesion is another class
        values[:4] = 7  # to be ignored
        Image.fromarray(values).save(tmp_path / "masks" / file.name)
    classes = {"skin": 0, "left": 127, "right": 255, "ignore": 7}
    store_path = tmp_path / "s.zarr"
    extract(extract_settings(phantoms, store_path, memo, masks=tmp_path / "masks", classes=classes))
    store = AttentionStore.open(store_path)
    assert store.classes == ["skin", "left", "right"]
    assert set(np.unique(store.read(range(16)).mask)) == {0, 1, 2, 255}
    run(train_settings(store_path, tmp_path / "run"))
    model, card = load_model(tmp_path / "run", torch.device("cpu"))
    assert card.classes == ["skin", "left", "right"]
    assert model.config.classes == 3


def test_a_store_without_masks_cannot_be_trained_from(phantoms: Path, tmp_path: Path, memo: Path):
    """The message says what is missing."""
    from stages.extract import run as extract

    extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, masks=None))
    with pytest.raises(UsageError, match="no sample has a mask"):
        run(train_settings(tmp_path / "s.zarr", tmp_path / "a"))


def test_a_folder_that_is_no_run_is_not_replaced(phantom_store: Path, tmp_path: Path):
    """A mistyped --out must not cost anybody their data."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("three years")
    with pytest.raises(UsageError, match="did not write"):
        run(train_settings(phantom_store, tmp_path / "precious"))
    assert (tmp_path / "precious" / "thesis.txt").exists()


def test_a_model_of_another_recipe_is_refused(trained: Path, phantoms: Path, tmp_path: Path, memo: Path):
    """What differs is named, value by value."""
    from stages.extract import run as extract

    extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, layers=(-2,)))
    _, card = load_model(trained, torch.device("cpu"))
    with pytest.raises(CheckpointError, match=r"layers: .*5.* in the run, .*4.* in the store"):
        require_fit(card, trained, AttentionStore.open(tmp_path / "s.zarr"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "pickle", "nan"])
def test_a_damaged_model_is_refused(trained: Path, tmp_path: Path, damage):
    """Each is a clear error, and a pickle is never executed."""
    import pickle

    from safetensors.torch import load_file, save_file

    content = (trained / "model.safetensors").read_bytes()
    target = tmp_path / "model.safetensors"
    marker = tmp_path / "executed"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    if damage == "truncated":
        target.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        save_file({"weight": torch.zeros(2)}, target)
    elif damage == "pickle":
        target.write_bytes(pickle.dumps(Malicious()))
    elif damage == "nan":
        with safe_open(trained / "model.safetensors", framework="pt") as file:
            metadata = file.metadata()
        tensors = load_file(trained / "model.safetensors")
        tensors["head.weight"][0] = float("nan")
        save_file(tensors, target, metadata)
    with pytest.raises(CheckpointError, match="finite" if damage == "nan" else "model.safetensors"):
        load_model(tmp_path, torch.device("cpu"))
    assert not marker.exists()

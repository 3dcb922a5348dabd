"""Training: repeatable bit for bit, from the store alone; and the model files that are refused."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stages import extract
from stages.errors import CheckpointError, PipelineError, UsageError
from stages.segmentation.checkpoint import load_model, require_fit
from stages.segmentation.fusions import FUSIONS, Fusion
from stages.segmentation.losses import LOSSES
from stages.segmentation.normalisation import NORMALISATIONS
from stages.segmentation.trainer import SegmentationTrainer
from stages.train import run
from store import AttentionStore
from tests.conftest import extract_settings, train_settings
from tests.stages.compared_runs import history, same_weights, weights

ROOT = Path(__file__).parents[2]


def test_a_run_leaves_model_history_and_splits(phantom_store: Path, trained: Path):
    """The model's metadata has all that is needed to use it, and the history has a row per epoch."""
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
    """On a CPU weights, history and model file are bit-identical, for any state of the global generators."""
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
    """Torch would raise a bare ValueError for a single value to normalise. Seven samples in pairs leave one alone."""
    store = tmp_path / "s.zarr"
    extract.run(extract_settings(phantoms, store, tmp_path / "memo", image_size=size, attention_size=(32, 32)))
    settings = train_settings(store, tmp_path / "a", epochs=1, batch_size=batch_size, test=0.3)  # 7 of 16 to train on
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
    """The second one is refused, with a message to wait; the first goes on."""
    from store.disk.publish import exclusive_folder

    with exclusive_folder(tmp_path / ".a.training", "training"):
        theirs = tmp_path / ".a.training" / "state.safetensors"
        theirs.write_text("epochs of work")
        with pytest.raises(PipelineError, match="another process is training here"):
            run(train_settings(phantom_store, tmp_path / "a"))
        assert theirs.read_text() == "epochs of work"
    run(train_settings(phantom_store, tmp_path / "a", epochs=1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_failed_run_leaves_the_previous_model(phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A new training replaces an old run only at the end."""
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


def test_nothing_can_fail_once_the_run_is_in_place(phantom_store: Path, tmp_path: Path, monkeypatch):
    """A failed command leaves the previous run. So all that the report needs is read before the training."""
    run(train_settings(phantom_store, tmp_path / "run", epochs=1))
    before = (tmp_path / "run" / "state.safetensors").read_bytes()

    def failing(*_arguments: object) -> None:
        raise PipelineError("the store cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr("stages.train.across_splits", failing)
        with pytest.raises(PipelineError, match="the store cannot be read"):
            run(train_settings(phantom_store, tmp_path / "run", epochs=1, seed=1))
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before
    monkeypatch.setattr("stages.segmentation.checkpoint.load_tensors", failing)
    assert run(train_settings(phantom_store, tmp_path / "run", epochs=1, seed=1)).best_epoch == 1


def test_a_loss_that_is_not_a_number_stops_with_advice(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The message says what to change."""
    monkeypatch.setitem(LOSSES, "dice_ce", lambda logits, _: logits.sum() * torch.tensor(float("nan")))
    with pytest.raises(PipelineError, match="lower --lr"):
        run(train_settings(phantom_store, tmp_path / "a"))


def test_it_trains_with_the_transformer_made_unimportable(phantom_store: Path, tmp_path: Path):
    """A process that trains and evaluates imports neither `stages.attention` nor timm nor transformers."""
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
    """Three classes and an ignored value are handled from extraction to a trained model."""
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
    """A mistyped --out must not destroy data."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("three years")
    with pytest.raises(UsageError, match="did not write"):
        run(train_settings(phantom_store, tmp_path / "precious"))
    assert (tmp_path / "precious" / "thesis.txt").exists()


def test_a_model_of_another_recipe_is_refused(trained: Path, phantoms: Path, tmp_path: Path, memo: Path):
    """The message lists the differing fields of the recipe with both values."""
    from stages.extract import run as extract

    extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, layers=(-2,)))
    _, card = load_model(trained, torch.device("cpu"))
    with pytest.raises(CheckpointError, match=r"layers: .*5.* in the run, .*4.* in the store"):
        require_fit(card, trained, AttentionStore.open(tmp_path / "s.zarr"))


def test_new_entries_of_the_tables_are_trained_with(phantom_store: Path, tmp_path: Path, monkeypatch):
    """A loss, a fusion and a normalisation need one table entry each. The model is loaded like any other."""
    used = []

    class Sum(torch.nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((channels, 1, 1), 2.0))

        def forward(self, image: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
            return image + self.weight * attention

    def loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        used.append("loss")
        return torch.nn.functional.cross_entropy(logits, mask.clamp(max=1).long())

    def halved(attention: torch.Tensor) -> torch.Tensor:
        used.append("norm")
        return attention / 2

    monkeypatch.setitem(LOSSES, "new_loss", loss)
    monkeypatch.setitem(FUSIONS, "new_fusion", Fusion(lambda shared: shared[-2:], Sum))
    monkeypatch.setitem(NORMALISATIONS, "new_norm", halved)
    names = {"loss": "new_loss", "fusion": "new_fusion", "attention_norm": "new_norm"}
    run(train_settings(phantom_store, tmp_path / "a", **names))
    assert set(used) == {"loss", "norm"}
    model, card = load_model(tmp_path / "a", torch.device("cpu"))
    assert (card.network.fusion, card.attention_norm) == ("new_fusion", "new_norm")
    assert [name for name, _ in model.fusions.named_parameters()] == ["3.weight", "4.weight"]
    for table, name in ((FUSIONS, "new_fusion"), (NORMALISATIONS, "new_norm")):
        with monkeypatch.context() as patch:
            patch.delitem(table, name)
            with pytest.raises(CheckpointError, match=rf"'{name}' is not known(?s:.*)Update the program"):
                load_model(tmp_path / "a", torch.device("cpu"))


def _with_card(run_folder: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Copy the model of a run with a change to its card."""
    from safetensors.torch import load_file, save_file

    with safe_open(run_folder / "model.safetensors", framework="pt") as file:
        card = json.loads(file.metadata()["diamant"])
    change(card)
    save_file(load_file(run_folder / "model.safetensors"), target / "model.safetensors", {"diamant": json.dumps(card)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda card: card.update(colour_space="lab"), "newer version .* colour_space", id="key"),
        pytest.param(lambda card: card["network"].update(levels=6), "newer version .* levels", id="network"),
        pytest.param(lambda card: card.update(version=2), "version 2; this program reads 1", id="version"),
        pytest.param(lambda card: card["network"].update(width=10**6), "do not fit", id="width"),
        pytest.param(lambda card: card.pop("classes"), "do not fit", id="missing"),
    ],
)
def test_a_card_that_cannot_be_trusted_is_refused(trained: Path, tmp_path: Path, change, message):
    """A key that this version does not know may change the predictions, so it is not ignored."""
    _with_card(trained, tmp_path, change)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path, torch.device("cpu"))


def test_a_model_from_before_a_field_was_added_is_read(trained: Path, tmp_path: Path):
    """The first models did not record their splits."""
    _with_card(trained, tmp_path, lambda card: card.pop("splits_sha256"))
    assert load_model(tmp_path, torch.device("cpu"))[1].splits_sha256 == ""


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

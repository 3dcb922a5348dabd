"""The stage `pretrain`: its files, exact resuming, refused settings, and extraction with its weights."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pipeline.cli import app
from stages import pretrain
from stages.attention.card import read_card
from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.attention.weights import load_transformer
from stages.errors import (
    CheckpointError,
    InputProblemsError,
    PipelineError,
    UnknownModelError,
    UsageError,
    WeightsError,
)
from stages.runtime.progress import Progress
from stages.settings import PretrainSettings
from tests.conftest import extract_settings


def _settings(phantoms: Path, out: Path, **changes: Any) -> PretrainSettings:
    values: dict[str, Any] = {
        "images": phantoms / "images",
        "masks": phantoms / "masks",
        "out": out,
        "image_size": 32,
        "global_crop": 16,
        "local_crop": 8,
        "steps": 4,
        "batch_size": 4,
        "prototypes": 16,
        "head_width": 16,
        "watch_every": 2,
        "device": "cpu",
        "description": "sixteen phantoms",
        "licence": "CC0-1.0",
    }
    return PretrainSettings(**{**values, **changes})


@pytest.fixture(scope="module")
def pretrained(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file that the tests share and do not change."""
    out = tmp_path_factory.mktemp("pretrained") / "tiny.safetensors"
    pretrain.run(_settings(phantoms, out))
    return out


def test_a_run_leaves_weights_with_their_record_a_history_and_a_picture(pretrained):
    """The run leaves three files and no hidden ones. The record has settings and data, but no path."""
    assert sorted(path.name for path in pretrained.parent.iterdir()) == [
        "tiny.heads.png",
        "tiny.history.csv",
        "tiny.safetensors",
    ]
    card = read_card(pretrained)
    assert card is not None
    assert (card.arch, card.patch, card.heads, card.dim, card.depth, card.size) == ("vit_tiny_patch8", 8, 6, 96, 6, 16)
    assert (card.images, card.steps, card.seed) == (16, 4, 0)
    assert (card.description, card.licence) == ("sixteen phantoms", "CC0-1.0")
    assert card.settings["batch_size"] == 4
    assert str(pretrained.parent) not in card.to_json()
    assert "images/" not in card.to_json()
    history = pretrained.with_name("tiny.history.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(history.splitlines()))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(float(row["loss"]) > 0 and float(row["separation_H5"]) >= 0 for row in rows)
    with Image.open(pretrained.with_name("tiny.heads.png")) as picture:
        assert picture.width > 6 * 128


def test_the_command_is_the_stage(pretrained, phantoms, tmp_path):
    """`pipeline pretrain` with the same options writes the same bytes."""
    settings = _settings(phantoms, tmp_path / "again.safetensors")
    given = {name: value for name, value in asdict(settings).items() if value != getattr(PretrainSettings(), name)}
    options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    result = CliRunner().invoke(app, ["pretrain", *options])
    assert result.exit_code == 0, result.output
    assert settings.out.read_bytes() == pretrained.read_bytes()


def test_training_moves_the_weights(pretrained, phantoms, tmp_path):
    """The teacher's weights differ from its initial ones."""
    pretrain.run(_settings(phantoms, tmp_path / "still.safetensors", lr=1e-12, weight_decay=0.0, weight_decay_end=0.0))
    still, moved = load_file(tmp_path / "still.safetensors"), load_file(pretrained)
    assert not torch.allclose(still["blocks.5.attn.qkv.weight"], moved["blocks.5.attn.qkv.weight"], atol=1e-6)


class _StopAfter(Progress):
    """Interrupt a run, as Ctrl-C does, after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def task(self, description: str, total: int, unit: str = "images") -> Any:
        stop = self

        class _Task:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                return None

            def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002
                if description == "pretraining":
                    stop.left -= steps
                    if stop.left < 0:
                        raise KeyboardInterrupt

        _ = total, unit
        return _Task()


@pytest.mark.parametrize("centring", ["sinkhorn", "centre"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(phantoms, tmp_path, centring):
    """A run that is interrupted in step 4 of 5 and resumed gives the files of an uninterrupted run, bit for bit."""
    whole = _settings(phantoms, tmp_path / "whole" / "a.safetensors", steps=5, centring=centring, freeze_last=0.5)
    broken = replace(whole, out=tmp_path / "broken" / "a.safetensors")
    pretrain.run(whole)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(broken, _StopAfter(3))
    assert not broken.out.exists(), "the output appears when the run is done"
    assert (broken.out.parent / ".a.safetensors.pretraining" / "state.safetensors").is_file()
    pretrain.run(replace(broken, resume=True))
    for name in ("a.safetensors", "a.history.csv", "a.heads.png"):
        assert (broken.out.parent / name).read_bytes() == (whole.out.parent / name).read_bytes(), name


def test_a_state_of_version_0_1_0_is_resumed_to_the_same_bytes(phantoms, tmp_path):
    """That version wrote the settings under the key `told`, and no version number."""
    out = tmp_path / "a.safetensors"
    settings = _settings(phantoms, out)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(settings, _StopAfter(3))
    state = tmp_path / ".a.safetensors.pretraining" / "state.safetensors"
    with safe_open(state, framework="pt") as file:
        metadata = json.loads(file.metadata()["diamant_pretraining"])
    old = {"step": 2, "history": metadata["history"], "told": metadata["settings"]}
    old["param_groups"] = metadata["param_groups"]
    save_file(load_file(state), state, {"diamant_pretraining": json.dumps(old)})
    with pytest.raises(CheckpointError, match=r"clip: was 3\.0, now 2\.0"):
        pretrain.run(replace(settings, resume=True, clip=2.0))
    pretrain.run(replace(settings, resume=True))
    pretrain.run(_settings(phantoms, tmp_path / "whole.safetensors"))
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_resuming_a_finished_run_does_nothing_and_another_run_is_refused(pretrained, phantoms):
    """The file stays unchanged; with other settings the message names them."""
    before = pretrained.read_bytes()
    report = pretrain.run(_settings(phantoms, pretrained, resume=True))
    assert pretrained.read_bytes() == before
    assert "4 steps on 16 images" in str(report)
    with pytest.raises(CheckpointError, match=r"lr: was 0\.001, now 0\.5"):
        pretrain.run(_settings(phantoms, pretrained, resume=True, lr=0.5))


def test_a_run_can_start_from_weights(pretrained, phantoms, tmp_path):
    """After a step with a learning rate of almost zero, the weights are the initial ones, from a file or a name."""
    nothing = {"lr": 1e-12, "weight_decay": 0.0, "weight_decay_end": 0.0, "steps": 1, "licence": "MIT"}
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(pretrained), plain)  # without its description
    for init, expected, licence in (
        (str(pretrained), load_file(pretrained), "MIT; initial weights: CC0-1.0"),
        (str(plain), load_file(pretrained), "MIT; initial weights: unknown (a file that does not state it)"),
        ("untrained_tiny8", load_transformer("untrained_tiny8", input_size=(16, 16)).module.state_dict(), "MIT"),
    ):
        out = tmp_path / "warm.safetensors"
        pretrain.run(_settings(phantoms, out, init=init, **nothing))
        torch.testing.assert_close(load_file(out), dict(expected), atol=1e-6, rtol=0)
        card = read_card(out)
        assert card is not None
        assert card.init_sha256
        assert card.licence == licence
    with pytest.raises(WeightsError, match="another architecture than vit_mini_patch8"):
        pretrain.run(_settings(phantoms, tmp_path / "x.safetensors", arch="vit_mini_patch8", init="untrained_tiny8"))


def test_a_pretrained_file_is_a_model_for_extract_and_predict(pretrained, phantoms, tmp_path, memo):
    """`--model FILE` is enough. The recipe names the architecture, has no path, and an extractor can follow it."""
    from stages import extract
    from store import AttentionStore

    settings = extract_settings(phantoms, tmp_path / "s.zarr", memo, model=str(pretrained))
    extract.run(settings)
    recipe = Recipe.from_dict(AttentionStore.open(tmp_path / "s.zarr").recipe)
    assert recipe.model == "vit_tiny_patch8"
    assert recipe.heads == tuple(f"L5H{head}" for head in range(6))
    assert str(pretrained.parent) not in json.dumps(recipe.to_dict())
    again = AttentionExtractor.from_recipe(recipe, weights=pretrained, device="cpu", batch_size=1)
    assert again.recipe == recipe
    with pytest.raises(WeightsError, match="--weights FILE"):
        AttentionExtractor.from_recipe(recipe, weights=None, device="cpu", batch_size=1)


def test_a_collapsed_run_stops_and_says_so(phantoms, tmp_path):
    """Equal images give equal predictions, which is a collapse; the history so far stays in the working folder."""
    images = tmp_path / "same"
    images.mkdir()
    for index in range(4):
        Image.new("RGB", (32, 32), (90, 90, 90)).save(images / f"{index}.png")
    out = tmp_path / "collapsed.safetensors"
    settings = _settings(phantoms, out, images=images, masks=None, steps=40, watch_every=1, batch_norm=False, warmup=0)
    with pytest.raises(PipelineError, match="has collapsed"):
        pretrain.run(replace(settings, teacher_temperature=5.0, lr=1e-9))
    assert not out.exists()
    assert (tmp_path / ".collapsed.safetensors.pretraining" / "history.csv").is_file()


def test_a_loss_that_is_not_a_number_stops_the_run(phantoms, tmp_path):
    """No file is written; the message says what to lower."""
    settings = _settings(phantoms, tmp_path / "nan.safetensors", lr=1e30, warmup=0, freeze_last=0)
    with pytest.raises(PipelineError, match="lower --lr"):
        pretrain.run(settings)
    assert not settings.out.exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        pytest.param({"batch_size": 17}, UsageError, "16 images, fewer than a batch of 17", id="few_images"),
        pytest.param({"arch": "vit_tiny_patch88"}, UnknownModelError, "vit_tiny_patch8", id="near_name"),
        pytest.param({"arch": "resnet18"}, UnknownModelError, "no plain ViT", id="no_vit"),
        pytest.param({"image_size": 36}, UsageError, "--image-size 36.*Try 32", id="image_size"),
        pytest.param({"local_crop": 12}, UsageError, "--local-crop 12", id="local_crop"),
        pytest.param({"init": "nowhere.pth"}, WeightsError, "no such weights file", id="init"),
        pytest.param({"out": Path("weights.pth")}, UsageError, "safetensors", id="ending"),
    ],
)
def test_settings_that_make_no_sense_are_refused(phantoms, tmp_path, changes, error, message):
    """The message names the setting and the remedy. Nothing is written."""
    with pytest.raises(error, match=message):
        pretrain.run(replace(_settings(phantoms, tmp_path / "x.safetensors"), **changes))
    assert not list(tmp_path.iterdir())


def test_all_broken_images_are_reported_together(phantoms, tmp_path):
    """Two broken files among good ones give two problems."""
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((phantoms / "images").iterdir())[:6]:
        (images / path.name).write_bytes(path.read_bytes())
    for name in ("broken_a.png", "broken_b.png"):
        (images / name).write_bytes(b"not a picture")
    with pytest.raises(InputProblemsError) as caught:
        pretrain.run(_settings(phantoms, tmp_path / "x.safetensors", images=images, masks=None))
    assert [Path(problem.where).name for problem in caught.value.problems] == ["broken_a.png", "broken_b.png"]


def test_masks_of_other_images_are_ignored(phantoms, tmp_path):
    """Images chosen from a larger set can be watched with the masks of the whole set."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(8):
        shutil.copy(phantoms / "images" / f"phantom_{number:04}.png", images)
    pretrain.run(_settings(phantoms, tmp_path / "w.safetensors", images=images, batch_size=8))
    assert (tmp_path / "w.safetensors").exists()


def test_a_file_of_another_program_is_not_replaced(phantoms, tmp_path):
    """A file without our record stays unchanged."""
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"precious")
    with pytest.raises(UsageError, match="did not write"):
        pretrain.run(_settings(phantoms, out))
    assert out.read_bytes() == b"precious"

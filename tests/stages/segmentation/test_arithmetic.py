"""Tiny images are trained on in float32: torch computes wrong gradients for them in bfloat16 on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from stages import compare
from stages.errors import UsageError
from stages.segmentation.arithmetic import arithmetic_of
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from store import AttentionStore
from tests.conftest import train_settings
from tests.stages.small_comparison import BASE, compare_settings

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SETTINGS = TrainSettings(width=2)


def config(size: tuple[int, int], stem: str) -> NetworkConfig:
    return NetworkConfig(
        size=size, grid=(2, 3), heads=2, classes=2, branches="dual", width=2, blocks="plain", fusion="levels", stem=stem
    )  # fmt: skip


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this machine one with AMX."""
    monkeypatch.setattr("stages.runs.precision.has_amx", lambda: True)


@pytest.mark.parametrize(("stem", "narrowest"), [("light", 16), ("full", 8)])
@pytest.mark.usefixtures("amx")
def test_the_limit_is_where_a_convolution_of_stride_2_has_one_column(stem: str, narrowest: int):
    """The limit is computed from the network itself: the narrowest input of any convolution with stride 2."""
    for columns in (narrowest, narrowest + 1):
        made = config((40, columns), stem)
        assert (min(widths_at_stride_2(made)) == 1) is (columns == narrowest)
        assert arithmetic_of(SETTINGS, made, CPU) == ("float32" if columns == narrowest else "bfloat16")
        assert arithmetic_of(SETTINGS, made, CUDA) == "bfloat16"


def widths_at_stride_2(made: NetworkConfig) -> list[int]:
    """Return the columns of the input of every convolution with stride 2 of a network."""
    widths: list[int] = []
    model = Segmenter(made).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.stride[0] == 2:
            module.register_forward_pre_hook(lambda _, given: widths.append(given[0].shape[-1]))
    model(torch.zeros(1, 3, *made.size), torch.zeros(1, 2, *made.attention_size))
    return widths


def test_bfloat16_is_refused_for_tiny_images(make_store: Callable[..., Path], tmp_path: Path):
    """The message names the store and its size, also for an arm of a comparison."""
    path = make_store(12)
    with pytest.raises(UsageError, match=r"10 x 14 cannot .*\n.*--precision float32"):
        SegmentationTrainer(
            train_settings(path, tmp_path / "run", precision="bfloat16"), AttentionStore.open(path), ["train"] * 12, CPU
        )
    base = replace(BASE, precision="bfloat16")
    with pytest.raises(UsageError, match=r"arm dual: .*10 x 14 cannot"):
        compare.plan(compare_settings(path, tmp_path / "a"), base)


@pytest.mark.usefixtures("amx")
def test_a_run_on_tiny_images_says_nothing_of_another_machine(make_store: Callable[..., Path], tmp_path: Path):
    """`auto` is float32 here although the processor has AMX: that is no continuation of a run from elsewhere."""
    path = make_store(4)
    trainer = SegmentationTrainer(train_settings(path, tmp_path / "run"), AttentionStore.open(path), ["train"] * 4, CPU)
    assert trainer.identity().values["arithmetic"] == "float32"
    trainer.history = [{"epoch": 1, "loss": 1.0, "val_dice": None, "lr": 0.1}]
    assert trainer.report().notes == []

"""Training checkpoints of DINO, DINOv2 and DINOv3: which network is taken, and checkpoints in several files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stages.attention.architectures import build_transformer, find_architecture
from stages.attention.weight_files import read_weights, tensors_sha256
from stages.attention.weights import load_transformer
from stages.errors import WeightsError

_BLOCKS_PER_CHUNK = 4


@pytest.fixture(scope="module")
def tiny() -> dict[str, Tensor]:
    """Return the tensors of a vit_tiny_patch8."""
    torch.manual_seed(3)
    state = build_transformer(find_architecture("vit_tiny_patch8"), 32).state_dict()
    return {name: value + torch.rand(()) for name, value in state.items()}


def _prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _chunked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the blocks as DINOv2's training does: number of the chunk, then number of the block over all chunks."""
    renamed = {}
    for name, value in tensors.items():
        first, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        renamed[f"blocks.{int(number) // _BLOCKS_PER_CHUNK}.{rest}" if first == "blocks" else name] = value
    return renamed


def _other(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value + 1 for name, value in tensors.items()}


def _layouts(tiny: dict[str, Tensor]) -> dict[str, tuple[dict[str, object], str]]:
    """Return checkpoints that hold the tensors, and the description of what is taken."""
    heads = {"dino_head.mlp.0.weight": torch.zeros(3, 3), "ibot_head.last_layer.weight": torch.zeros(3)}
    student = _prefixed(_other(tiny), "student.backbone.")
    return {
        "published": (dict(tiny), ""),
        "chunked": (dict(_chunked(tiny)), ""),
        "dino": (
            {"student": _prefixed(_other(tiny), "module.backbone."), "teacher": _prefixed(tiny, "backbone.")},
            "taken from the file: teacher.backbone; left out: student",
        ),
        "dinov2_eval": (
            {"teacher": _prefixed(_chunked(tiny), "backbone.") | heads},
            "taken from the file: teacher.backbone; left out: dino_head, ibot_head",
        ),
        "dinov2_training": (
            {"model": student | _prefixed(_chunked(tiny), "teacher.backbone.") | _prefixed(heads, "teacher.")},
            "taken from the file: teacher.backbone; left out: student, dino_head, ibot_head",
        ),
        "dinov3_distilled": (
            {"model": student | _prefixed(_other(tiny), "teacher.backbone.") | _prefixed(tiny, "model_ema.backbone.")},
            "taken from the file: model_ema.backbone; left out: student, teacher",
        ),
        "student_alone": (
            {"student": _prefixed(tiny, "backbone.") | heads},
            "taken from the file: student.backbone; left out: dino_head, ibot_head",
        ),
        "compiled": (dict(_prefixed(_prefixed(tiny, "_orig_mod."), "backbone.")), ""),
        "wrapped_by_fsdp": (
            {"backbone." + name.replace("blocks.", "blocks._fsdp_wrapped_module."): one for name, one in tiny.items()},
            "",
        ),
    }  # fmt: skip


_NAMES = (
    "published", "chunked", "dino", "dinov2_eval", "dinov2_training", "dinov3_distilled", "student_alone", "compiled",
    "wrapped_by_fsdp",
)  # fmt: skip


@pytest.mark.parametrize("layout", _NAMES)
def test_the_right_network_is_taken_and_named(tiny, tmp_path, layout):
    """Every layout gives the tensors of the one network, and the line says which it is and what was left out."""
    checkpoint, line = _layouts(tiny)[layout]
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    found = read_weights(tmp_path / "checkpoint.pth")
    assert tensors_sha256(found.tensors) == tensors_sha256(tiny)
    assert found.part == line
    transformer = load_transformer("vit_tiny_patch8", input_size=(32, 32), weights=tmp_path / "checkpoint.pth")
    assert (transformer.weights_sha256, transformer.part) == (tensors_sha256(tiny), line)


def test_every_layout_is_tested(tiny):
    """Otherwise a new one could be forgotten."""
    assert set(_NAMES) == _layouts(tiny).keys()


def test_a_safetensors_checkpoint_is_read_in_the_same_way(tiny, tmp_path):
    """Names decide, in both kinds of files."""
    save_file(
        _prefixed(_chunked(tiny), "teacher.backbone.") | _prefixed(_other(tiny), "student.backbone."),
        tmp_path / "c.safetensors",
    )
    found = read_weights(tmp_path / "c.safetensors")
    assert tensors_sha256(found.tensors) == tensors_sha256(tiny)
    assert found.part == "taken from the file: teacher.backbone; left out: student"


def test_a_block_in_two_chunks_is_refused(tiny, tmp_path):
    """One of the two would be dropped without a word."""
    torch.save(_chunked(tiny) | {"blocks.1.0.norm1.bias": torch.zeros(96)}, tmp_path / "twice.pth")
    with pytest.raises(WeightsError, match=r"two chunks hold blocks\.0\.norm1\.bias"):
        read_weights(tmp_path / "twice.pth")


def test_a_chunked_checkpoint_that_lacks_a_block_is_refused(tiny, tmp_path):
    """The message names the tensors."""
    named = {name: value for name, value in _chunked(tiny).items() if not name.startswith("blocks.0.2.")}
    torch.save(named, tmp_path / "gap.pth")
    with pytest.raises(WeightsError, match=r"missing: blocks\.2\."):
        load_transformer("vit_tiny_patch8", input_size=(32, 32), weights=tmp_path / "gap.pth")


@pytest.mark.parametrize(
    ("names", "given", "advice"),
    [
        pytest.param([".metadata", "__0_0.distcp"], ".", "dcp_to_torch", id="dcp_folder"),
        pytest.param([".metadata", "__0_0.distcp"], "__0_0.distcp", "dcp_to_torch", id="dcp_file"),
        pytest.param(["model_0001.rank_0.pth"], "model_0001.rank_0.pth", r"teacher_checkpoint\.pth", id="fsdp"),
        pytest.param(["model.safetensors.index.json"], ".", "no index of weights files", id="damaged_index_in_folder"),
        pytest.param(
            ["model-00001-of-00002.safetensors"], "model-00001-of-00002.safetensors", "Pass the folder", id="piece"
        ),
        pytest.param(["model.safetensors.index.json"], "model.safetensors.index.json", "no index", id="damaged_index"),
    ],
)
def test_a_checkpoint_in_several_files_gets_advice(tmp_path: Path, names: list[str], given: str, advice: str) -> None:
    """The message says what to do."""
    for name in names:
        (tmp_path / name).write_bytes(b"{}  some bytes of no meaning")
    with pytest.raises(WeightsError, match=advice):
        read_weights(tmp_path / given)

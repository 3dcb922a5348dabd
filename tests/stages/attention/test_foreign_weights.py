"""Weights files of any origin: kinds of tensors, promises of sizes, and content that refers to itself."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from stages.attention.architectures import build_transformer, find_architecture
from stages.attention.weight_files import read_tensors, tensors_sha256
from stages.attention.weights import load_transformer
from stages.errors import WeightsError
from tests.stages.attention.hostile_weights import View, rezipped, save_pickle, zipped_pickle

NAME = "blocks.0.attn.qkv.weight"


def _refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


KINDS_OF_TENSORS = {
    "int8": (lambda: torch.zeros(3, dtype=torch.int8), "int8"),
    "uint8": (lambda: torch.zeros(3, dtype=torch.uint8), "uint8"),
    "int64": (lambda: torch.zeros(3, dtype=torch.int64), "int64"),
    "bool": (lambda: torch.zeros(3, dtype=torch.bool), "bool"),
    "complex64": (lambda: torch.zeros(3, dtype=torch.complex64), "complex64"),
    "float8_e4m3fn": (lambda: torch.zeros(3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "float8_e5m2": (lambda: torch.zeros(3).to(torch.float8_e5m2), "float8_e5m2"),
    "meta": (lambda: torch.zeros(3, device="meta"), "meta"),
    "sparse": (lambda: torch.eye(3).to_sparse(), "sparse_coo"),
    "compressed_rows": (lambda: torch.eye(3).to_sparse_csr(), "sparse_csr"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrapper", [(), ("teacher",), ("state_dict",), ("model", "state_dict")], ids="-".join)
@pytest.mark.parametrize("kind", KINDS_OF_TENSORS)
def test_tensors_of_other_kinds_are_refused_by_name_and_kind(tmp_path: Path, kind: str, wrapper: tuple[str, ...]):
    """The message names the file, the tensor and its kind, whatever dictionaries are around it."""
    make, shown = KINDS_OF_TENSORS[kind]
    content: dict[str, Any] = {"cls_token": torch.zeros(1), f"module.{NAME}" if wrapper else NAME: make()}
    if wrapper:
        content["module.cls_token"] = content.pop("cls_token")
    for key in reversed(wrapper):
        content = {key: content, "epoch": 3}
    save_pickle(tmp_path / "w.pth", content)
    message = _refusal(tmp_path / "w.pth")
    assert f"the tensor {NAME} " in message
    assert shown in message
    assert "float32" in message


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_are_refused(tmp_path: Path):
    """Newer versions of torch may not be able to quantise; then there is nothing to test."""
    try:
        tensor = torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)
    except (AttributeError, RuntimeError):
        pytest.skip("torch cannot quantise here")
    save_pickle(tmp_path / "w.pth", {NAME: tensor})
    assert "is quantised (qint8)" in _refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "bool", "complex64", "float8_e4m3fn"])
def test_tensors_of_other_kinds_are_refused_in_safetensors(tmp_path: Path, kind: str):
    """The type is read from the header, under the name inside the transformer."""
    make, _ = KINDS_OF_TENSORS[kind]
    save_file({f"backbone.{NAME}": make(), "backbone.cls_token": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert f"the tensor {NAME} is of type " in _refusal(tmp_path / "w.safetensors")


def test_odd_tensors_beside_the_transformer_are_ignored(tmp_path: Path):
    """Projection heads and counters of a training checkpoint have integers, and are not loaded."""
    sound = {"module.cls_token": torch.ones(3)}
    odd = {"module.head.mlp.1.num_batches_tracked": torch.tensor(7), "steps": torch.tensor(9)}
    save_pickle(tmp_path / "w.pth", {"teacher": sound | odd})
    save_file(sound | odd, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert read_tensors(tmp_path / name).keys() == {"cls_token"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_of_16_bits_and_more_is_read(tmp_path: Path, dtype: torch.dtype):
    values = {"cls_token": torch.arange(6, dtype=dtype).reshape(2, 3)}
    save_pickle(tmp_path / "w.pth", values)
    save_file(values, tmp_path / "w.safetensors")
    digests = {tensors_sha256(read_tensors(tmp_path / name)) for name in ("w.pth", "w.safetensors")}
    assert digests == {tensors_sha256(values)}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "view",
    [
        pytest.param(View((2**40,), (1,)), id="longer_than_its_storage"),
        pytest.param(View((1000,), (1,)), id="a_little_longer"),
        pytest.param(View((4,), (1,), 100), id="beyond_the_end"),
        pytest.param(View((4,), (1,), -1), id="before_the_start"),
        pytest.param(View((4,), (-1,)), id="negative_stride"),
        pytest.param(View((-4,), (1,)), id="negative_size"),
        pytest.param(View((2**40,), (0,)), id="one_number_repeated"),
        pytest.param(View((3, 3), (1, 1)), id="overlapping_rows"),
        pytest.param(View((2**21, 2**21), (0, 1)), id="overlapping_and_huge"),
    ],
)
def test_a_tensor_that_reaches_outside_of_its_bytes_is_refused(tmp_path, view, zipped):
    """Neither the memory beside a tensor is read, nor memory allocated for what it promises."""
    save_pickle(tmp_path / "w.pth", {NAME: view}, zipped=zipped)
    _refusal(tmp_path / "w.pth")


def test_a_storage_that_promises_more_than_the_file_has_is_refused(tmp_path: Path):
    """Read without a map of the file, torch would believe the pickle and read the memory behind the entry."""
    save_pickle(tmp_path / "w.pth", {NAME: torch.zeros(100)})
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        pickled = archive.read(name)
    promised = pickled.replace(b"Kd", b"J" + struct.pack("<i", 2**28))
    assert promised != pickled
    rezipped(tmp_path / "w.pth", {"data.pkl": promised})
    _refusal(tmp_path / "w.pth")


def _self_reference(key: str) -> dict[str, Any]:
    content: dict[str, Any] = {"cls_token": torch.zeros(1)}
    content[key] = content
    return content


def _cycle_of_two() -> dict[str, Any]:
    first: dict[str, Any] = {}
    first["teacher"] = {"state_dict": first}
    return first


def _deep(levels: int) -> dict[str, Any]:
    content: dict[str, Any] = {"cls_token": torch.zeros(1)}
    for _ in range(levels):
        content = {"model": content}
    return content


@pytest.mark.parametrize(
    "content",
    [
        *(pytest.param(_self_reference(key), id=key) for key in ("teacher", "state_dict", "model", "student")),
        pytest.param(_cycle_of_two(), id="cycle_of_two"),
        pytest.param(_deep(200), id="deep"),
    ],
)
def test_a_dictionary_that_holds_itself_is_an_error(tmp_path: Path, content: dict[str, Any]):
    """Before, the search for the innermost dictionary never ended."""
    save_pickle(tmp_path / "w.pth", content)
    assert "a dictionary holds itself" in _refusal(tmp_path / "w.pth")


def test_lists_nested_deep_are_no_problem(tmp_path: Path):
    """A pickle of a hundred thousand lists, one in the other, beside the weights."""
    nested = b"]q\x01" + b"]" * 100_000 + b"a" * 100_000
    zipped_pickle(tmp_path / "w.pth", b"\x80\x02}q\x00X\x01\x00\x00\x00a" + nested + b"s.")
    assert "holds no tensors" in _refusal(tmp_path / "w.pth")


def test_attributes_in_a_pickle_do_not_hide_methods(tmp_path: Path):
    """A pickle can give an ordered dictionary or a tensor an attribute called like one of its methods."""

    class Named(OrderedDict):  # type: ignore[type-arg]
        def __reduce__(self) -> tuple[Any, ...]:
            return OrderedDict, (), {"get": 1, "items": 2, "keys": 3}, None, iter(self.items())

    tensor = torch.ones(3)
    tensor.numel = tensor.detach = tensor.element_size = 5  # type: ignore[method-assign, assignment]
    save_pickle(tmp_path / "w.pth", Named(cls_token=tensor))
    assert read_tensors(tmp_path / "w.pth")["cls_token"].numel() == 3


def _tiny() -> dict[str, torch.Tensor]:
    return {
        name: value.clone()
        for name, value in build_transformer(find_architecture("vit_tiny_patch8"), 16).state_dict().items()
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"norm.bias": torch.full((96,), float("nan"))}, "norm.bias holds NaN", id="nan"),
        pytest.param({"norm.bias": torch.full((96,), -float("inf"))}, "norm.bias holds NaN or infinity", id="infinity"),
        pytest.param(
            {"norm.bias": torch.full((96,), 1e300, dtype=torch.float64)}, "too large for float32", id="too_large"
        ),
        pytest.param({"norm.bias": torch.zeros(0)}, r"norm.bias (0,)", id="zero_size"),
        pytest.param({"norm.bias": torch.tensor(1.0)}, r"norm.bias ()", id="no_axes"),
        pytest.param({"pos_embed": torch.zeros(1, 0, 96)}, "0 position embeddings", id="no_positions"),
        pytest.param({"pos_embed": torch.zeros(1, 2**40, 0)}, "vit_tiny_patch8", id="positions_of_no_width"),
        pytest.param({"pos_embed": torch.zeros(5)}, "vit_tiny_patch8", id="positions_flat"),
        pytest.param({"patch_embed.proj.weight": torch.zeros(96, 3, 4, 8)}, "4x8", id="patches_not_square"),
        pytest.param({"patch_embed.proj.weight": torch.zeros(0, 3, 8, 8)}, "looks like", id="patches_of_no_width"),
        pytest.param(
            {"patch_embed.proj.weight": torch.zeros(96, 9, 8, 8)},
            "patch_embed.proj.weight (96, 9, 8, 8)",
            id="channels",
        ),
        pytest.param(
            {"mask_token": torch.zeros(2), "register_tokens": torch.zeros(2)}, "vit_tiny_patch8", id="publishers_names"
        ),
        pytest.param({"visual.class_embedding": torch.zeros(2)}, "vit_tiny_patch8", id="other_publishers_name"),
        pytest.param({"encoder": torch.zeros(2)}, "vit_tiny_patch8", id="tensor_for_a_dictionary"),
        pytest.param({"blocks.99999999999.x": torch.zeros(2)}, "vit_tiny_patch8", id="block_number"),
        pytest.param({f"blocks.{'9' * 6000}.x": torch.zeros(2)}, "vit_tiny_patch8", id="block_number_of_many_digits"),
        pytest.param({"x" * 100_000: torch.zeros(2)}, "xxx…", id="long_name"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, torch.Tensor], words: str):
    """Names, shapes and values are checked before a transformer with memory for its weights is built."""
    save_pickle(tmp_path / "w.pth", _tiny() | changes)
    with pytest.raises(WeightsError) as caught:
        load_transformer("vit_tiny_patch8", input_size=(16, 16), weights=tmp_path / "w.pth")
    assert words in str(caught.value)
    assert "w.pth" in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_pickles_of_small_and_odd_bytes_are_errors(tmp_path: Path):
    """A few starts of pickles that end in the middle of an instruction."""
    whole = io.BytesIO()
    torch.save({"cls_token": torch.zeros(4)}, whole, _use_new_zipfile_serialization=False)
    for content in (
        b"\x80",
        b"\x80\x02",
        b"\x80\x05.",
        pickle.dumps([1]),
        whole.getvalue()[:60],
        b"PK",
        b"PK\3\4",
        b"PK\5\6",
    ):
        (tmp_path / "w.pth").write_bytes(content)
        _refusal(tmp_path / "w.pth")

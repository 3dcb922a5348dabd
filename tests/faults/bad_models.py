"""List the kinds of bad models and of weights files in the layouts of other programs: `KINDS`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stages.attention.architectures import build_transformer, find_architecture
from tests.faults.bad_weights_files import PTH, SAFE
from tests.faults.kinds import Kind
from tests.stages.attention.hostile_weights import save_pickle

TINY = f"extract --model vit_tiny_patch8 --weights {SAFE}"
TINY_PTH = f"extract --model vit_tiny_patch8 --weights {PTH}"
DIM = 96
QUERY = "encoder.layer.3.attention.attention.query.weight"
_NAMES = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "attn.proj": "attention.output.dense",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def published() -> dict[str, Tensor]:
    """Return sound weights of the tiny architecture under the publisher's names."""
    module = build_transformer(find_architecture("vit_tiny_patch8"), 16)
    return {name: value.contiguous() for name, value in module.state_dict().items()}


def of_transformers() -> dict[str, Tensor]:
    """Return the same as transformers' `ViTModel` names them."""
    named: dict[str, Tensor] = {}
    for name, value in published().items():
        found = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+?)(\.weight|\.bias)?", name)
        assert found is not None
        start = "" if found[1] is None else f"encoder.layer.{found[1]}."
        ending = found[3] or ""
        if found[2] == "attn.qkv":
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            named |= {f"{start}attention.attention.{part}{ending}": piece.clone() for part, piece in parts}
        else:
            named[f"{start}{_NAMES[found[2]]}{ending}"] = value
    return named


def with_changes(layout: Callable[[], dict[str, Tensor]], **changes: Tensor | None) -> Callable[[Path], object]:
    """Return a function that writes weights with some tensors added, changed, or left out (None).

    Args:
        layout: Makes the sound weights.
        **changes: By name, with `__` in place of dots.
    """

    def write(room: Path) -> None:
        new = {name.replace("__", "."): value for name, value in changes.items()}
        tensors = {name: value for name, value in layout().items() if name not in new}
        save_file(tensors | {name: value for name, value in new.items() if value is not None}, room / SAFE)

    return write


def _resnet(room: Path) -> None:
    save_file(
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, room / SAFE
    )


def _beit(room: Path) -> None:
    bias = {f"encoder.layer.{block}.lambda_1": torch.zeros(DIM) for block in range(6)}
    save_file(of_transformers() | bias, room / SAFE)


def _clip(room: Path) -> None:
    names = {"vision_model.embeddings.class_embedding": torch.zeros(DIM)}
    save_file(names | {"vision_model.embeddings.patch_embedding.weight": torch.zeros(DIM, 3, 8, 8)}, room / SAFE)


def _chunk_twice(room: Path) -> None:
    tensors = published()
    save_pickle(room / PTH, tensors | {"blocks.1.0.norm1.bias": tensors["blocks.0.norm1.bias"]})


def _code(room: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.mkdir, (Path("harmed"),)

    torch.save(
        {"teacher": {f"backbone.{name}": value for name, value in published().items()}, "config": Runs()}, room / PTH
    )


def _distributed(room: Path) -> None:
    (room / "ckpt").mkdir()
    (room / "ckpt" / ".metadata").write_bytes(b"x")
    (room / "ckpt" / "__0_0.distcp").write_bytes(b"x")


def _rank(room: Path) -> None:
    (room / "model_0009.rank_0.pth").write_bytes(b"PK\x03\x04 x")


def _hub_folder(config: str, index: str = "") -> Callable[[Path], object]:
    """Return a function that writes a folder of the model hub with a description, and an index of weights files."""

    def write(room: Path) -> None:
        (room / "hub").mkdir()
        (room / "hub" / "config.json").write_text(config)
        if index:
            (room / "hub" / "model.safetensors.index.json").write_text(index)

    return write


_TINY_CONFIG = '{"architecture": "vit_tiny_patch16_224", "model_args": {"depth": 2}}'


def _nothing(room: Path) -> None:
    """Leave the room as it is: the fault is in the command."""


def _kind(name: str, fault: str, make: Callable[[Path], object], command: str, status: int, *words: str) -> Kind:
    return Kind(f"model_{name}", fault, make, command, status, words)


KINDS = [
    _kind("sound_transformers", "weights as transformers names them, which are fine", with_changes(of_transformers), TINY, 0),
    _kind("mixed_layouts", "names of transformers and of the publisher in one file",
          with_changes(of_transformers, blocks__0__norm1__bias=torch.zeros(DIM)), TINY, 1, SAFE, "mixes the names", "blocks.0.norm1.bias"),
    _kind("no_query", "transformers' file without a query", with_changes(of_transformers, **{QUERY: None}), TINY, 1, SAFE, "lacks", QUERY),
    _kind("no_norm", "transformers' file without the last norm", with_changes(of_transformers, layernorm__bias=None), TINY, 1,
          SAFE, "missing: layernorm.bias"),
    _kind("wrong_size", "transformers' file with a tensor of another size",
          with_changes(of_transformers, encoder__layer__2__output__dense__bias=torch.zeros(5)), TINY, 1,
          SAFE, "encoder.layer.2.output.dense.bias (5,)"),
    _kind("uneven_parts", "query and key of different sizes", with_changes(of_transformers, **{QUERY: torch.zeros(DIM, 7)}), TINY, 1,
          SAFE, "differ in shape", QUERY),
    _kind("nan", "transformers' file with NaN",
          with_changes(of_transformers, encoder__layer__0__layernorm_before__weight=torch.full((DIM,), torch.nan)), TINY, 1,
          SAFE, "encoder.layer.0.layernorm_before.weight", "NaN"),
    _kind("beit", "transformers' file of another family (BEiT)", _beit, TINY, 1, SAFE, "not of this model", "encoder.layer.0.lambda_1"),
    _kind("clip", "transformers' file of another family (CLIP)", _clip, TINY, 1, SAFE, "not the weights of a ViT"),
    _kind("resnet", "weights of a ResNet", _resnet, TINY, 1, SAFE, "not the weights of a ViT", "conv1.weight"),
    _kind("chunk_twice", "one block in two chunks of a training checkpoint", _chunk_twice, TINY_PTH, 1, PTH, "two chunks hold blocks.0.norm1.bias"),
    _kind("code", "training checkpoint that would run code", _code, TINY_PTH, 1, PTH, "could run code"),
    _kind("distributed", "distributed checkpoint in a folder", _distributed, "extract --model vit_tiny_patch8 --weights ckpt", 1, "ckpt", "dcp_to_torch"),
    _kind("rank", "part of one process of FSDP", _rank, "extract --model vit_tiny_patch8 --weights model_0009.rank_0.pth", 1,
          "rank_0.pth", "teacher_checkpoint.pth"),
    _kind("unknown_tag", "weights that timm does not have", _nothing, "extract --model vit_base_patch16_224.mea", 2, "'mea'", "vit_base_patch16_224.mae"),
    _kind("almost_timm", "misspelt name of timm", _nothing, "extract --model timm/deit_tny_patch16_224", 2, "not known", "deit_tiny_patch16_224"),
    _kind("windowed", "model with attention in windows", _nothing, "extract --model swin_tiny_patch4_window7_224.ms_in1k", 2, "no plain ViT"),
    _kind("no_cls", "ViT without a CLS token", _nothing, "extract --model vit_base_patch16_siglip_224.webli", 2, "no CLS token"),
    _kind("averaged", "ViT whose CLS token is not used", _nothing, "extract --model eva02_tiny_patch14_224.mim_in22k", 2, "CLS token was not trained"),
    _kind("hub_address", "address of a hub in place of a name", _nothing, "extract --model hf-hub:timm/vit_base_patch16_224.mae", 2, "not known"),
    _kind("hub_argument", "folder of the hub with an argument that is not known",
          _hub_folder('{"architecture": "vit_tiny_patch16_224", "model_args": {"windows": 7}}'), "extract --model hub", 1, "config.json", "windows = 7"),
    _kind("hub_broken", "folder of the hub whose description is cut", _hub_folder('{"architecture": "vit'), "extract --model hub", 1, "config.json", "JSON"),
    _kind("hub_empty", "folder of the hub without weights", _hub_folder(_TINY_CONFIG), "extract --model hub", 1, "hub", "folder without weights"),
    _kind("hub_outside", "index of weights files that names a file outside",
          _hub_folder(_TINY_CONFIG, '{"weight_map": {"x": "../secret.bin"}}'), "extract --model hub", 1, "index.json", "no file of its folder"),
    _kind("options", "name of a model with an option that does not exist", _nothing, "extract --model vit_tiny_patch16_224:dept=2", 2, "dept=2"),
    _kind("position_rule", "rule of position embeddings that does not exist", _nothing, "extract --position-embedding bilinear", 2, "position", "bilinear"),
    _kind("timm_pattern", "`models --timm` without a match", _nothing, "models --timm resnet18", 2, "resnet18", "attention can be read"),
]  # fmt: skip

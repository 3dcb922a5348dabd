"""Rename the tensors of Hugging Face transformers' files of DINO, DINOv2 and DINOv3 to the publishers' names.

Three classes of transformers have the same networks as the publishers' own files, under other names: `ViTModel` (DINO),
`Dinov2Model` and `Dinov2WithRegistersModel` (DINOv2), and `DINOv3ViTModel`. The tables below hold the names that files
have (`encoder.layer.0.attention.attention.query.weight`) and those that transformers 5 has in memory
(`encoder.layer.0.attention.q_proj.weight`). Query, key and value are joined. What only trains or classifies is left
out: the mask token of ViT, poolers, classifiers, the decoder of a masked autoencoder.

The result is the publisher's layout, which timm's own functions read. So the same weights have the same digest whether
they come from the publisher, from timm or from transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stages.attention.foreign_text import quoted
from stages.errors import WeightsError

__all__ = ["Arranged", "arrange"]

_PREFIXES = ("vit.", "dinov2.", "dinov2_with_registers.", "dinov3_vit.")
_LEFT_OUT = ("pooler.", "classifier.", "decoder.")
_BLOCK = re.compile(
    r"((?:encoder\.layer|model\.layer|layer|layers)\.)([0-9]{1,4})\.(.+)\.(weight|bias|lambda1)", re.DOTALL
)
_OURS = re.compile(r"blocks\.([0-9]{1,4})\.(.+)", re.DOTALL)
_ENDINGS = ("weight", "bias")

_WHOLE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
    "embeddings.mask_token": "mask_token",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
"""Tensors outside of the blocks. The register tokens have another name in each family; see `_registers`."""

_IN_BLOCK = {
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "norm1": "norm1",
    "norm2": "norm2",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.w12",
    "mlp.weights_out": "mlp.w3",
}
_GATED_V3 = {"mlp.gate_proj": "mlp.w1", "mlp.up_proj": "mlp.w2", "mlp.down_proj": "mlp.w3"}
_PLAIN_V3 = {"mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2"}
_JOINED = (
    (("attention.attention.query", "attention.attention.key", "attention.attention.value"), "attn.qkv"),
    (("attention.q_proj", "attention.k_proj", "attention.v_proj"), "attn.qkv"),
    (("mlp.gate_proj", "mlp.up_proj"), "mlp.w12"),  # DINOv2 as transformers 5 has it in memory
)
"""Parts that are one tensor for the publisher, in the order in which they are joined along the first axis."""


@dataclass(frozen=True)
class Arranged:
    """Hold tensors in the publisher's layout, and their names in the file."""

    tensors: dict[str, Tensor]
    origin: Mapping[str, str]
    """Names in the file by the publisher's names; empty if they are the same."""
    family: str = ""
    """Class of transformers that the file is from, in words; "" for other files."""

    def in_file(self, name: str) -> str:
        """Return the name in the file of a tensor that timm or the publisher calls `name`."""
        if not self.origin:
            return name
        for timms, theirs in (
            ("gamma_1", "ls1.gamma"),
            ("gamma_2", "ls2.gamma"),
            ("q_bias", "qkv.bias"),
            ("v_bias", "qkv.bias"),
        ):
            name = name.replace(timms, theirs)
        if name == "reg_token":
            return "embeddings.register_tokens"
        if name in self.origin:
            return self.origin[name]
        found = _OURS.fullmatch(name)
        if found is None:
            return next((theirs for theirs, ours in _WHOLE.items() if ours == name), name)
        # A block that is missing altogether has the names of the first one.
        first = self.origin.get(f"blocks.0.{found[2]}")
        return name if first is None else re.sub(r"\.0\.", f".{found[1]}.", first, count=1)


def arrange(source: Path, tensors: Mapping[str, Tensor]) -> Arranged:
    """Return the tensors in the publisher's layout, if they are in that of transformers; else as they are.

    Args:
        source: The file, for messages.
        tensors: All tensors of a file, without the prefixes and heads of training checkpoints.

    Raises:
        WeightsError: the file mixes two layouts, or lacks a tensor that other blocks have. The message has the names
            of the file.
    """
    prefix = next((known for known in _PREFIXES if f"{known}embeddings.cls_token" in tensors), "")
    named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if "embeddings.cls_token" not in named and not any(_BLOCK.fullmatch(name) for name in named):
        return Arranged(dict(tensors), {})
    if strange := sorted(name for name in tensors if name.startswith("blocks.") or name in {"cls_token", "pos_embed"}):
        raise WeightsError(
            f"{source}: mixes the names of transformers with those of other programs ({quoted(strange[0])}). "
            "Save the model again with one program."
        )
    named = {name: tensor for name, tensor in named.items() if not name.startswith(_LEFT_OUT)}
    family = _family(named)
    whole, blocks = _sorted_by_block(named, family)
    _require_equal_blocks(source, prefix, blocks, named)
    arranged: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for ours, (theirs, tensor) in whole.items():
        arranged[ours], origin[ours] = tensor, prefix + theirs
    for number, (start, parts) in blocks.items():
        for ours, pieces in _joined(parts, family, named).items():
            name = f"blocks.{number}.{ours}"
            arranged[name] = _join(source, f"{prefix}{start}{number}.", pieces, family)
            origin[name] = f"{prefix}{start}{number}.{_shown(list(pieces))}"
    if family == _V2:
        arranged.setdefault("mask_token", torch.zeros(1))  # timm's function recognises DINOv2 by it, and drops it
    return Arranged(arranged, origin, family)


_V1, _V2, _V3 = "ViTModel", "Dinov2Model", "DINOv3ViTModel"


def _family(named: Mapping[str, Tensor]) -> str:
    if "embeddings.patch_embeddings.weight" in named:
        return _V3
    return _V2 if any("layer_scale1" in name for name in named) else _V1


def _sorted_by_block(
    named: Mapping[str, Tensor], family: str
) -> tuple[dict[str, tuple[str, Tensor]], dict[int, tuple[str, dict[str, Tensor]]]]:
    """Return the tensors outside of blocks by the publisher's name, and those of every block by the file's names.

    A name that is in no table stays as it is, so that the check against the model refuses it.
    """
    whole: dict[str, tuple[str, Tensor]] = {}
    blocks: dict[int, tuple[str, dict[str, Tensor]]] = {}
    for name, tensor in named.items():
        if (found := _BLOCK.fullmatch(name)) is not None:
            blocks.setdefault(int(found[2]), (found[1], {}))[1][f"{found[3]}.{found[4]}"] = tensor
        elif name == "embeddings.register_tokens":
            whole["storage_tokens" if family == _V3 else "register_tokens"] = (name, tensor)
        elif not (name == "embeddings.mask_token" and family == _V1):
            whole[_WHOLE.get(name, name)] = (name, tensor)
    return whole, dict(sorted(blocks.items()))


def _require_equal_blocks(
    source: Path, prefix: str, blocks: Mapping[int, tuple[str, Mapping[str, Tensor]]], named: Mapping[str, Tensor]
) -> None:
    """Refuse a file in which a block lacks a tensor that another one has, or which lacks a whole block."""
    starts = {found[1] for name in named if (found := _BLOCK.fullmatch(name)) is not None}
    start = min(starts, default="encoder.layer.")
    everywhere = {name for _, parts in blocks.values() for name in parts}
    missing = [
        f"{prefix}{start}{number}.{name}"
        for number in range(max(blocks, default=-1) + 1)
        for name in sorted(everywhere)
        if number not in blocks or name not in blocks[number][1]
    ]
    if "embeddings.cls_token" not in named:
        missing.insert(0, f"{prefix}embeddings.cls_token")
    if len(starts) > 1:
        raise WeightsError(f"{source}: has blocks under two names ({' and '.join(sorted(starts))}). Save it again.")
    if missing:
        shown = ", ".join(map(quoted, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")  # noqa: PLR2004 - as many as are shown
        raise WeightsError(f"{source}: lacks {shown}. The file is incomplete: save the model or get the file again.")


def _joined(
    parts: Mapping[str, Tensor], family: str, named: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor | None]]:
    """Return what makes up each of the publisher's tensors of a block, by the file's names; None: zeros."""
    gated = any(".mlp.gate_proj." in name for name in named)
    table = _IN_BLOCK | ((_GATED_V3 if gated else _PLAIN_V3) if family == _V3 else {"mlp.down_proj": "mlp.w3"})
    pieces: dict[str, dict[str, Tensor | None]] = {}
    done: set[str] = set()
    for names, ours in _JOINED if family != _V3 else _JOINED[:-1]:
        for ending in _ENDINGS:
            full = [f"{name}.{ending}" for name in names]
            if not any(name in parts for name in full):
                continue
            pieces[f"{ours}.{ending}"] = {name: parts.get(name) for name in full}
            done.update(full)
    for name, tensor in parts.items():
        if name in done:
            continue
        module, _, ending = name.rpartition(".")
        ours = table.get(module, module)
        pieces[f"{ours}.{'gamma' if ending == 'lambda1' else ending}"] = {name: tensor}
    return pieces


def _join(source: Path, start: str, pieces: Mapping[str, Tensor | None], family: str) -> Tensor:
    """Join pieces along the first axis. The key of DINOv3 has no bias; its place is filled with zeros."""
    present = [tensor for tensor in pieces.values() if tensor is not None]
    if len(pieces) == 1:
        return present[0]
    filled: list[Tensor] = []
    for name, tensor in pieces.items():
        if tensor is None and not (family == _V3 and name == "attention.k_proj.bias"):
            raise WeightsError(f"{source}: lacks {quoted(start + name)}. The file is incomplete: get it again.")
        if tensor is not None and family == _V3 and name == "attention.k_proj.bias" and tensor.any():
            raise WeightsError(
                f"{source}: {quoted(start + name)} is not zero, and DINOv3's keys have no bias. Use another model."
            )
        filled.append(torch.zeros_like(present[0]) if tensor is None else tensor)
    shapes = {(tuple(tensor.shape), tensor.dtype) for tensor in filled}
    if len(shapes) > 1 or not filled[0].ndim:
        sizes = "; ".join(f"{start}{name} {tuple(tensor.shape)}" for name, tensor in zip(pieces, filled, strict=True))
        raise WeightsError(
            f"{source}: parts of one tensor differ in shape or type: {quoted(sizes)}. Get the file again."
        )
    return torch.cat(filled)


def _shown(names: list[str]) -> str:
    """Return one text for the names of pieces: `attention.{q_proj,k_proj,v_proj}.weight`."""
    if len(names) == 1:
        return names[0]
    split = [name.split(".") for name in names]
    middle = ",".join(parts[-2] for parts in split)
    return ".".join([*split[0][:-2], f"{{{middle}}}", split[0][-1]])

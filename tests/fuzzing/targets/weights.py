"""Weights files: pickles (zipped and bare) and `.safetensors`, with or without the card of `pipeline pretrain`."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import pickle
import pickletools
import random
import struct
import warnings
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save

from stages.attention.architectures import build_transformer
from stages.attention.card import METADATA_KEY, Card, read_card
from stages.attention.models import MODELS, ModelEntry
from stages.attention.weight_files import read_tensors, tensors_sha256
from stages.attention.weights import load_transformer
from tests.fuzzing.containers import change_safetensors, change_zip
from tests.fuzzing.mutations import change_bytes
from tests.fuzzing.target import Target
from tests.fuzzing.targets.place import write

SIDE, PATCH, DIM = 8, 4, 8
TINY = ModelEntry("tiny_for_fuzzing", "", PATCH, 2, DIM, 1, "", "", "")
GLOBALS = (
    b"cbuiltins\nbytearray\n", b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n",
    b"ctorch\nSize\n", b"ctorch\nFloatStorage\n", b"ctorch\nDoubleStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch\nbfloat16\n",
    b"ctorch._utils\n_rebuild_qtensor\n", b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n", b"cos\nsystem\n",
    b"ctorch.serialization\n_get_layout\n", b"cargparse\nNamespace\n", b"cbuiltins\nset\n", b"ctorch\ndevice\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch.storage\n_load_from_bytes\n",
)  # fmt: skip
"""Opcodes of pickle that name a class or a function: most are on torch's list of allowed ones."""
OPCODES = tuple(opcode.code.encode("latin1") for opcode in pickletools.opcodes)


def run(data: bytes) -> None:
    """Read the tensors and the card, and build the transformer that the card describes.

    A pickle has no card; it is loaded as the model `TINY`.
    """
    has_card = data[8:9] == b"{"
    path = write("w.safetensors" if has_card else "w.pth", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tensors = read_tensors(path)
        finally:
            read_card(path)
        tensors_sha256({name: tensor for name, tensor in tensors.items() if tensor.numel() < 1 << 20})
        if has_card:
            load_transformer(str(path), input_size=(SIDE, SIDE))
        else:
            with patch.dict(MODELS, {TINY.name: TINY}):  # other tests in this process see the table as it is
                load_transformer(TINY.name, input_size=(SIDE, SIDE), weights=path)


@cache
def sound_tensors() -> dict[str, Any]:
    """Return the tensors of a tiny transformer."""
    torch.manual_seed(0)
    return dict(build_transformer(TINY, SIDE).state_dict())


@cache
def sound_card() -> dict[str, Any]:
    """Return the card of that transformer."""
    card = Card(
        arch="vit_test_patch4", timm_id="", patch=PATCH, heads=2, dim=DIM, depth=1, size=SIDE, steps=1, seed=0, images=1,
        images_sha256="ab" * 32, description="test", licence="CC0", init_sha256=None, settings={"lr": 0.1},
        figures={"loss": 1.0},
    )  # fmt: skip
    described: dict[str, Any] = json.loads(card.to_json())
    return described


def with_card(card: dict[str, Any], tensors: dict[str, Any]) -> bytes:
    """Return a `.safetensors` file."""
    return bytes(save(tensors, metadata={METADATA_KEY: json.dumps(card)}))


def pickled(value: Any, *, zipped: bool) -> bytes:
    """Return a file of `torch.save`."""
    content = io.BytesIO()
    torch.save(value, content, _use_new_zipfile_serialization=zipped)
    return content.getvalue()


def seeds() -> list[bytes]:
    """Return sound files of every form, and some that name unusual classes."""
    tensors = sound_tensors()
    few = {name: tensors[name] for name in ("cls_token", "patch_embed.proj.weight", "norm.weight")}
    checkpoint = {
        "teacher": {f"module.backbone.{name}": one for name, one in tensors.items()},
        "args": argparse.Namespace(a=1),
    }
    unusual = {
        "sparse": torch.eye(3).to_sparse(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "wide": torch.zeros(1).expand(1000),
        "scalar": torch.tensor(1),
    }
    own: dict[str, Any] = {"x": 1}
    own["teacher"] = own  # holds itself
    return [
        with_card(sound_card(), tensors),
        pickled(tensors, zipped=True),
        pickled(checkpoint, zipped=True),
        pickled(checkpoint, zipped=False),
        with_card({**sound_card(), "heads": 3}, {"patch_embed.proj.weight": torch.zeros(DIM, 0, 0, PATCH)}),
        bytes(save(few)),
        pickled(few, zipped=True),
        pickled({"model": unusual}, zipped=True),
        pickled(own, zipped=True),
        pickle.dumps(few["cls_token"].tolist(), protocol=2),
        b"PK\x03\x04",
        b"\x80\x02}q\x00.",
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the header of a `.safetensors`, a member of a zip, or the opcodes of a pickle."""
    if data[8:9] == b"{":
        return change_safetensors(
            data, rng, METADATA_KEY, (*sound_card(), "vit_tiny_patch16_224", "vit_base_patch16_224")
        )
    if data.startswith(b"PK"):
        return change_zip(data, rng, _member)
    return change_pickle(data, rng)


def _member(name: str, content: bytes, rng: random.Random) -> bytes:
    return change_pickle(content, rng) if name.endswith(".pkl") else change_bytes(content, rng)


def change_pickle(data: bytes, rng: random.Random) -> bytes:
    """Change, remove, repeat or insert an opcode of a pickle."""
    ends = []
    with contextlib.suppress(Exception):  # the positions up to the damaged place are enough
        ends.extend(position for _, _, position in pickletools.genops(data))
    if len(ends) < 2 or rng.random() < 0.2:
        return change_bytes(data, rng)
    at = rng.randrange(len(ends) - 1)
    start, stop = ends[at], ends[at + 1]
    part = data[start:stop]
    match rng.randrange(7):
        case 0:
            part = b""
        case 1:
            part += part
        case 2:
            other = rng.randrange(len(ends) - 1)
            part += data[ends[other] : ends[other + 1]]
        case 3:
            part = rng.choice(GLOBALS)
        case 4:
            part += _number(rng)
        case 5 if part[:1] in b"KMJ\x8aI":
            part = _number(rng)
        case 5:
            part = rng.choice(OPCODES) + part[1:]
        case _:
            part = rng.choice(GLOBALS) + _number(rng) + b"\x85R"  # call it with one number
    return data[:start] + part + data[stop:]


def _number(rng: random.Random) -> bytes:
    number = rng.choice((0, 1, -1, 2, 255, 65536, 2**31 - 1, -(2**31)))
    longer = b"\x8a\x08" + struct.pack("<q", rng.choice((2**31, 2**33, 2**40, 2**62, -(2**62))))
    return rng.choice((b"J" + struct.pack("<i", number), longer))


TARGET = Target(
    name="weights",
    parser="weights files: pickles in zip, bare pickles, safetensors, cards",
    run=run,
    seeds=seeds,
    sound=4,
    mutate=mutate,
    tokens=["teacher", "state_dict", "module.", "backbone.", "pos_embed", "blocks.0.", "__metadata__", METADATA_KEY],
)

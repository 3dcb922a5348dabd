"""List the kinds of bad weights files, cards, memos and sizes of the transformer: `KINDS`."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file

from stages.attention.architectures import build_transformer, find_architecture
from stages.attention.card import METADATA_KEY, read_card
from stages.attention.models import MODELS
from tests.faults.kinds import MEMO, Kind
from tests.faults.network import no_network
from tests.stages.attention.hostile_weights import (
    HUGE_ARRAY,
    View,
    doubled,
    header_only,
    rezipped,
    save_pickle,
    small_pickle,
    zipped_pickle,
)

PTH, SAFE, MODEL = "weights.pth", "weights.safetensors", "model.safetensors"
TINY = f"extract --model vit_tiny_patch8 --weights {PTH}"
TINY_SAFE = f"extract --model vit_tiny_patch8 --weights {SAFE}"
CARD = f"extract --model {MODEL}"
BIAS = "blocks.3.attn.qkv.bias"
HUB = "extract --model dino_vits8"


def _tensors() -> dict[str, torch.Tensor]:
    """Return sound weights of the tiny architecture, for images of 16 by 16 pixels."""
    module = build_transformer(find_architecture("vit_tiny_patch8"), 16)
    return {name: value.contiguous() for name, value in module.state_dict().items()}


def with_tensor(make: Callable[[], Any], *wrappers: str, zipped: bool = True) -> Callable[[Path], object]:
    """Return a function that writes a .pth with one odd tensor inside of some dictionaries."""

    def write(room: Path) -> None:
        content: Any = _tensors() | {BIAS: make()}
        for key in reversed(wrappers):
            content = {key: content, "epoch": 3}
        save_pickle(room / PTH, content, zipped=zipped)

    return write


def with_safe_tensor(make: Callable[[], torch.Tensor]) -> Callable[[Path], object]:
    """Return a function that writes a .safetensors with one odd tensor."""
    return lambda room: save_file(_tensors() | {BIAS: make()}, room / SAFE)


def with_card(**changes: Any) -> Callable[[Path], object]:
    """Return a function that writes a file of `pipeline pretrain` with a changed card."""

    def write(room: Path) -> None:
        card = read_card(Path(MODELS["dino_phantom_tiny8"].file))
        assert card is not None
        raw = json.dumps(json.loads(card.to_json()) | changes)
        save_file(_tensors(), room / MODEL, metadata={METADATA_KEY: raw})

    return write


def _wrapped_in_itself(room: Path) -> None:
    content: dict[str, Any] = dict(_tensors())
    content["state_dict"] = {"model": content}
    save_pickle(room / PTH, content)


def _deep(room: Path) -> None:
    content: dict[str, Any] = dict(_tensors())
    for _ in range(100):
        content = {"student": content}
    save_pickle(room / PTH, content)


def _zip_bomb(room: Path) -> None:
    save_pickle(room / PTH, {"cls_token": torch.zeros(5_000_000)})
    rezipped(room / PTH, {}, compression=zipfile.ZIP_DEFLATED)


def _many_entries(room: Path) -> None:
    with zipfile.ZipFile(room / PTH, "w") as archive:
        for number in range(50_001):
            archive.writestr(str(number), b"")


def _long_header(room: Path) -> None:
    header_only(room / SAFE, {}, claimed=90_000_000)
    os.truncate(room / SAFE, 100_000_000)  # sparse: no bytes on the disk


def _endless_header(room: Path) -> None:
    header_only(room / MODEL, {"a": {}}, claimed=2**60)


def fifo(name: str) -> Callable[[Path], object]:
    """Return a function that makes a FIFO that nobody writes to."""

    def make(room: Path) -> None:
        (room / name).unlink(missing_ok=True)
        os.mkfifo(room / name)

    return make


def zeros(name: str) -> Callable[[Path], object]:
    """Return a function that makes a link to the endless zeros of the system."""

    def make(room: Path) -> None:
        (room / name).unlink(missing_ok=True)
        (room / name).symlink_to("/dev/zero")

    return make


def _socket(room: Path) -> None:
    with chdir(room), socket.socket(socket.AF_UNIX) as server:
        server.bind(PTH)


def _memo(room: Path) -> Path:
    return next(file for file in (room / MEMO).iterdir() if file.suffix == ".sqlite")


def beside_memo(ending: str, make: Callable[[str], Callable[[Path], object]]) -> Callable[[Path], object]:
    """Return a function that puts something in the place of a memo's file, or of one of SQLite's beside it."""
    return lambda room: make(f"{MEMO}/{_memo(room).name}{ending}")(room)


def memo_with(*statements: str) -> Callable[[Path], object]:
    """Return a function that runs SQL on the memo."""

    def make(room: Path) -> None:
        connection = sqlite3.connect(_memo(room))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return make


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS {} FROM c WHERE x < 0"


@contextmanager
def offline(room: Path) -> Iterator[None]:
    """Forbid the network, with an empty folder for the hub's downloads. Fail if a connection was tried."""
    with patch("huggingface_hub.constants.HF_HUB_CACHE", str(room / "cache")), no_network() as attempts:
        yield
    assert attempts == []


@contextmanager
def offline_by_variable(room: Path) -> Iterator[None]:
    """The same, with the environment's variable in place of the option."""
    with patch.dict(os.environ, {"PIPELINE_OFFLINE": "1"}), offline(room):
        yield


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


KINDS = [
    Kind("weights_int8", "a tensor of integers in a .pth", with_tensor(lambda: torch.zeros(288, dtype=torch.int8)), TINY, 1, (PTH, BIAS, "int8", "in float32")),
    Kind("weights_int64", "the same inside of `state_dict`", with_tensor(lambda: torch.zeros(288, dtype=torch.int64), "state_dict"), TINY, 1, (PTH, BIAS, "int64")),
    Kind("weights_bool", "a tensor of truth values inside of `model` and `state_dict`", with_tensor(lambda: torch.zeros(288, dtype=torch.bool), "model", "state_dict"), TINY, 1, (PTH, BIAS, "bool")),
    Kind("weights_complex", "complex numbers inside of `teacher`", with_tensor(lambda: torch.zeros(288, dtype=torch.complex64), "teacher"), TINY, 1, (PTH, BIAS, "complex64")),
    Kind("weights_float8", "floating point of 8 bits", with_tensor(lambda: torch.zeros(288).to(torch.float8_e4m3fn)), TINY, 1, (PTH, BIAS, "float8_e4m3fn")),
    Kind("weights_sparse", "a sparse tensor", with_tensor(lambda: torch.zeros(288).to_sparse()), TINY, 1, (PTH, BIAS, "sparse_coo")),
    Kind("weights_meta", "a tensor without values", with_tensor(lambda: torch.zeros(288, device="meta")), TINY, 1, (PTH, BIAS, "meta")),
    Kind("weights_int8_safe", "a tensor of integers in a .safetensors", with_safe_tensor(lambda: torch.zeros(288, dtype=torch.int8)), TINY_SAFE, 1, (SAFE, BIAS, "I8", "in float32")),
    Kind("weights_bool_safe", "truth values in a .safetensors", with_safe_tensor(lambda: torch.zeros(288, dtype=torch.bool)), TINY_SAFE, 1, (SAFE, BIAS, "BOOL")),
    Kind("weights_nan", "weights that are NaN", with_tensor(lambda: torch.full((288,), float("nan"))), TINY, 1, (PTH, BIAS, "NaN or infinity")),
    Kind("weights_infinite", "weights that are infinite, in 16 bits", with_tensor(lambda: torch.full((288,), float("inf"), dtype=torch.float16)), TINY, 1, (PTH, BIAS, "NaN or infinity")),
    Kind("weights_float64", "weights beyond float32", with_tensor(lambda: torch.full((288,), 1e300, dtype=torch.float64)), TINY, 1, (PTH, BIAS, "too large for float32")),
    Kind("weights_half", "weights in 16 bits", with_tensor(lambda: torch.zeros(288, dtype=torch.bfloat16)), TINY, 0, ("6 samples",)),
    Kind("weights_empty_tensor", "a tensor of no elements", with_tensor(lambda: torch.zeros(0)), TINY, 1, (PTH, BIAS, "(0,) in place of (288,)")),
    Kind("weights_shape", "a tensor of another shape", with_tensor(lambda: torch.zeros(2, 144)), TINY, 1, (PTH, BIAS, "(2, 144) in place of (288,)")),
    Kind("weights_repeated", "a view of one number that claims four terabytes", with_tensor(lambda: View((2**40,), (0,))), TINY, 1, (PTH, BIAS, "repeats its 16 bytes")),
    Kind("weights_beyond", "a tensor that begins behind the end of its bytes", with_tensor(lambda: View((288,), (1,), 999)), TINY, 1, (PTH, "damaged")),
    Kind("weights_beyond_legacy", "a tensor longer than its bytes in an older .pth", with_tensor(lambda: View((288,), (1,)), zipped=False), TINY, 1, (PTH, "damaged")),
    Kind("weights_itself", "a dictionary that holds itself", _wrapped_in_itself, TINY, 1, (PTH, "holds itself")),
    Kind("weights_deep", "a hundred dictionaries around the weights", _deep, TINY, 1, (PTH, "dictionaries deep")),
    Kind("weights_bomb", "a compressed .pth that unpacks to a thousand times its size", _zip_bomb, TINY, 1, (PTH, "unpacks to", "does not compress")),
    Kind("weights_codec", "a pickle of 3,000 bytes that encodes its text into exabytes", lambda room: zipped_pickle(room / PTH, small_pickle(doubled("hex", 60))), TINY, 1, (PTH, "encodes bytes as 'hex'")),
    Kind("weights_array", "a pickle of 50 bytes that asks for two gigabytes", lambda room: zipped_pickle(room / PTH, small_pickle(HUGE_ARRAY)), TINY, 1, (PTH, "bytearray")),
    Kind("weights_entries", "a .pth of too many entries", _many_entries, TINY, 1, (PTH, "50,001 entries")),
    Kind("weights_long_header", "a safetensors header of 90 MB", _long_header, TINY_SAFE, 1, (SAFE, "damaged")),
    Kind("weights_fifo", "a FIFO for a weights file", fifo(PTH), TINY, 1, (PTH, "is a FIFO")),
    Kind("weights_zeros", "a link to endless zeros for a weights file", zeros(PTH), TINY, 1, (PTH, "is a character device")),
    Kind("weights_socket", "a socket for a weights file", _socket, TINY, 1, (PTH, "is a socket")),
    Kind("card_header", "a model file whose header claims 2^60 bytes", _endless_header, CARD, 1, (MODEL, "no description")),
    Kind("card_fifo", "a FIFO for a model file", fifo(MODEL), CARD, 1, (MODEL, "is a FIFO")),
    Kind("card_zeros", "a link to endless zeros for a model file", zeros(MODEL), CARD, 1, (MODEL, "is a character device")),
    Kind("card_hub", "a model file that names a model of a hub", with_card(timm_id="hf-hub:owner/model"), CARD, 1, (MODEL, "hf-hub:owner/model", "not a plain ViT"), offline),
    Kind("card_folder", "a model file that names a folder of this machine", with_card(timm_id="local-dir:/etc"), CARD, 1, (MODEL, "local-dir:/etc", "not a plain ViT"), offline),
    Kind("card_address", "a model file that names an address", with_card(timm_id="https://host/vit_small_patch16_224"), CARD, 1, (MODEL, "https://host", "not a plain ViT"), offline),
    Kind("card_other_class", "a model file of another kind of network", with_card(timm_id="resnet18"), CARD, 1, (MODEL, "resnet18", "not a plain ViT")),
    Kind("card_contradiction", "a model file with other sizes than its architecture", with_card(timm_id="vit_small_patch16_224"), CARD, 1, (MODEL, "vit_small_patch16_224 has patch 16")),
    Kind("card_no_heads", "a model file of 0 heads", with_card(heads=0), CARD, 1, (MODEL, "heads 0", "greater than or equal to 1")),
    Kind("card_no_patch", "a model file of patches of 0 pixels", with_card(patch=0), CARD, 1, (MODEL, "patch 0", "greater than or equal to 1")),
    Kind("card_negative", "a model file of negative width", with_card(dim=-96), CARD, 1, (MODEL, "dim -96")),
    Kind("card_huge", "a model file of a million blocks", with_card(depth=10**6), CARD, 1, (MODEL, "depth 1000000")),
    Kind("card_bool", "a model file whose patch is a truth value", with_card(patch=True), CARD, 1, (MODEL, "patch True")),
    Kind("card_float", "a model file whose depth is no whole number", with_card(depth=6.0), CARD, 1, (MODEL, "depth 6.0")),
    Kind("card_text", "a model file whose heads are a text", with_card(heads="6"), CARD, 1, (MODEL, "heads '6'")),
    Kind("card_heads", "a model file whose heads do not divide its width", with_card(heads=7), CARD, 1, (MODEL, "dim 96 is not divisible by heads 7")),
    Kind("card_large", "a model file that describes 3 TB of weights", with_card(dim=16384, heads=256, depth=256), CARD, 1, (MODEL, "width-96", "width-16384")),
    Kind("offline_missing", "a model of the hub without a network", _nothing, f"{HUB} --offline", 1, ("dino_vits8", "nothing is downloaded offline", "--weights FILE", "dino_deitsmall8_pretrain.pth"), offline),
    Kind("offline_variable", "the same with PIPELINE_OFFLINE=1", _nothing, HUB, 1, ("dino_vits8", "nothing is downloaded offline"), offline_by_variable),
    Kind("offline_pretrain", "initial weights of the hub without a network", _nothing, "pretrain --arch vit_small_patch8 --init dino_vits8 --offline", 1, ("dino_vits8", "nothing is downloaded offline"), offline),
    Kind("offline_local", "commands that need no download, without a network", _nothing, "predict --offline", 0, ("6 masks",), offline),
    Kind("memo_fifo", "a FIFO for the memo", beside_memo("", fifo), "extract", 1, (MEMO, "is a FIFO", "--memo")),
    Kind("memo_zeros", "a link to endless zeros for the memo", beside_memo("", zeros), "extract", 1, (MEMO, "is a character device", "--memo")),
    Kind("memo_wal_fifo", "a FIFO for the memo's log", beside_memo("-wal", fifo), "extract", 1, (MEMO, "-wal", "is a FIFO")),
    Kind("memo_journal_zeros", "a link to endless zeros for the memo's journal", beside_memo("-journal", zeros), "predict", 1, (MEMO, "-journal", "is a link")),
    Kind("memo_view", "a memo with an endless view in place of its recipe", memo_with("DROP TABLE recipe", f"CREATE VIEW recipe AS {ENDLESS.format('json')}"), "extract", 1, (MEMO, "view 'recipe'", "Deleting it is safe")),
    Kind("memo_trigger", "a memo with a trigger", memo_with("CREATE TRIGGER t AFTER INSERT ON attention BEGIN DELETE FROM attention; END"), "extract", 1, (MEMO, "trigger 't'", "Deleting it is safe")),
    Kind("memo_foreign", "another program's SQLite file for the memo", memo_with("DROP TABLE attention", "DROP TABLE recipe", "CREATE TABLE notes (a)"), "extract --dry-run", 1, (MEMO, "table 'notes'", "Deleting it is safe")),
    Kind("memo_long_maps", "a memo with maps of 80 MB", memo_with("UPDATE attention SET maps = zeroblob(80000000) WHERE rowid = 1"), "extract", 0, ("computed for 1, remembered for 5",)),
    Kind("memo_short_maps", "a memo with maps of no bytes", memo_with("UPDATE attention SET maps = zeroblob(0)"), "extract", 0, ("computed for 6, remembered for 0",)),
    Kind("size_tokens", "a size of the transformer's input that gives four million tokens", _nothing, "extract --attention-size 16384", 2, ("4,194,304", "2040x2040")),
    Kind("size_tokens_wide", "the same with one long side", _nothing, "extract --attention-size 16384x256 --dry-run", 2, ("65,536", "2040x2040")),
    Kind("size_pixels", "images of a store of 268 million pixels", _nothing, "extract --image-size 16384", 2, ("268,435,456", "8192x8192")),
    Kind("size_crop", "crops of pretraining of a million tokens", _nothing, "pretrain --global-crop 16384", 2, ("--global-crop 16384", "4,194,304", "2040x2040")),
]  # fmt: skip

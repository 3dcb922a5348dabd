"""Every input that the fuzzer found, built by code: each is now a result or an error of our own."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.attention.weight_files import read_tensors
from stages.errors import PipelineError, WeightsError
from tests.fuzzing.containers import lay_out
from tests.fuzzing.mutations import join_bundle
from tests.fuzzing.target import check
from tests.fuzzing.targets import find_target, memo, params, place, runs, stores, weights

Build = Callable[[], bytes]


def _card(tensors: dict[str, Any] | None = None, **changes: Any) -> bytes:
    sound = weights.sound_tensors() if tensors is None else tensors
    return weights.with_card({**weights.sound_card(), **changes}, sound)


def _kernel(dim: int = weights.DIM, patch: int = weights.PATCH, **more: Any) -> dict[str, Any]:
    """Return a kernel without values, which fits any model of this width and patch."""
    return {"patch_embed.proj.weight": torch.zeros(dim, 0, 0, patch), "blocks.0.x": torch.zeros(1), **more}


def _pickle(**changes: Any) -> bytes:
    return weights.pickled({**weights.sound_tensors(), **changes}, zipped=True)


def _itself() -> bytes:
    value: dict[str, Any] = {}
    value["teacher"] = value
    return weights.pickled(value, zipped=True)


def _chain_of_wrappers() -> bytes:
    one: dict[str, Any] = {}
    other = {"teacher": one}
    one["model"] = other
    return weights.pickled(one, zipped=True)


def _zipped_pickle(content: bytes) -> bytes:
    """Return an archive of `torch.save` with another list of tensors."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_pickle())) as sound, zipfile.ZipFile(made, "w") as archive:
        for entry in sound.infolist():
            archive.writestr(entry.filename, content if entry.filename.endswith(".pkl") else sound.read(entry))
    return made.getvalue()


def _norm(tensor: torch.Tensor) -> Build:
    return lambda: _pickle(**{"norm.weight": tensor})


WEIGHTS: dict[str, Build] = {
    "card: a name of the hub": lambda: _card(_kernel(), timm_id="hf-hub:timm/vit_base"),
    "card: a folder of this disk": lambda: _card(_kernel(), timm_id="local-dir:/etc"),
    "card: a model that does not exist": lambda: _card(timm_id=" "),
    "card: a colon for a model": lambda: _card(timm_id=":"),
    "card: no heads": lambda: _card(heads=0),
    "card: heads that do not divide the width": lambda: _card(heads=3),
    "card: a negative number of heads": lambda: _card(heads=-2),
    "card: a patch of no pixels": lambda: _card(_kernel(patch=0), patch=0),
    "card: a hundred thousand blocks": lambda: _card(_kernel(**{"blocks.100000.x": torch.zeros(1)}), depth=100001),
    "card: a width of a hundred thousand": lambda: _card(_kernel(10**5), dim=10**5),
    "kernel without values": lambda: _card({**weights.sound_tensors(), **_kernel()}),
    "position embeddings of two dimensions": lambda: _card(
        {**weights.sound_tensors(), "pos_embed": torch.zeros(5, weights.DIM)}
    ),
    "header with a number for a tensor": lambda: struct.pack("<Q", 9) + b'{"a":1}  ',
    "header with a list for the metadata": lambda: struct.pack("<Q", 19) + b'{"__metadata__":[]}',
    "pickle: a tensor that claims more than the file has": lambda: _pickle(
        pos_embed=torch.zeros(1).expand(1, 4001**2, weights.DIM)
    ),
    "pickle: sparse": _norm(torch.zeros(8).to_sparse()),
    "pickle: without data": _norm(torch.zeros(8, device="meta")),
    "pickle: conjugated": _norm(torch.zeros(8, dtype=torch.complex64).conj()),
    "pickle: complex": _norm(torch.zeros(8, dtype=torch.complex64)),
    "pickle: two gigabytes in 32 bytes": lambda: b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x80\x00\x85R.",
    "pickle: an instruction with an argument of terabytes": lambda: (
        b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"."
    ),
    "pickle: the same in an archive": lambda: _zipped_pickle(b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"."),
    "pickle: a text of 2**63 bytes": lambda: b"\x80\x05\x8d" + (2**63 - 1).to_bytes(8, "little") + b".",
    "pickle: a wrapper that holds itself": _itself,
    "pickle: two wrappers that hold each other": _chain_of_wrappers,
}


def _npz(header: bytes, *, compression: int = zipfile.ZIP_STORED, values: bytes = bytes(192)) -> bytes:
    content = io.BytesIO()
    padded = header.ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + values
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name in ("image.npy", "label.npy"):
            archive.writestr(zipfile.ZipInfo(name), array, compression)
    return content.getvalue()


def _npz_header(shape: str = "(6, 8)", descr: str = "'<f4'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()


def _encrypted() -> bytes:
    """Return an archive whose entries say that they are encrypted."""
    data = bytearray(_npz(_npz_header()))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place_of = data.find(signature)
        while place_of >= 0:
            data[place_of + at] |= 1
            place_of = data.find(signature, place_of + 4)
    return bytes(data)


def _damaged(compression: int) -> bytes:
    data = bytearray(_npz(_npz_header(), compression=compression))
    for at in range(60, 110):
        data[at] ^= 0x5A
    return bytes(data)


ARRAYS: dict[str, Build] = {
    "header with a key that is no text": lambda: _npz(b"{(1, 2): 3, 'descr': '<f4', 'shape': (6, 8)}"),
    "header with a list for a key": lambda: _npz(b"{[1]: 3, 'descr': '<f4', 'shape': (6, 8)}"),
    "header with open brackets": lambda: _npz(b"((((("),
    "header nested deep": lambda: _npz(b"(" * 5000),
    "shape of twenty digits": lambda: _npz(_npz_header("(99999999999999999999, 8)")),
    "shape of a thousand million rows": lambda: _npz(_npz_header("(1000000000, 8)")),
    "negative shape": lambda: _npz(_npz_header("(-6, -8)")),
    "type of a record": lambda: _npz(_npz_header(descr="[('a', '<f4')]")),
    "encrypted": _encrypted,
    "damaged deflate data": lambda: _damaged(zipfile.ZIP_DEFLATED),
    "damaged bzip2 data": lambda: _damaged(zipfile.ZIP_BZIP2),
    "damaged LZMA data": lambda: _damaged(zipfile.ZIP_LZMA),
}


def _sql(*statements: str) -> bytes:
    file = place.folder() / "made.sqlite"
    file.unlink(missing_ok=True)
    with sqlite3.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return file.read_bytes()


def _changed_schema() -> bytes:
    """Return a small memo whose schema is read from another place. SQLite calls that a lack of memory."""
    data = bytearray(
        _sql("PRAGMA page_size=512", "CREATE TABLE recipe (json TEXT NOT NULL)", "CREATE TABLE attention (a)")
    )
    data[109] = 199
    data[455:459] = b"\xff\xff\xff\xff"
    return bytes(data)


RECIPE_TABLE = ("CREATE TABLE recipe (json TEXT NOT NULL)",)
MEMO: dict[str, Build] = {
    "schema that is not UTF-8": lambda: memo.seeds()[0].replace(b"attention", b"\x80ttention", 1),
    "all texts of the schema not UTF-8": lambda: memo.seeds()[0].replace(b"maps", b"\xff\xfeps"),
    "schema that seems to take all memory": _changed_schema,
    "digests that are numbers": lambda: _sql(
        *RECIPE_TABLE,
        "CREATE VIEW attention AS SELECT 5 AS digest, zeroblob(48) AS maps, 0 AS crc",
    ),
    "digests that are found by comparison, but are numbers": lambda: _sql(
        *RECIPE_TABLE,
        "CREATE TABLE attention (digest INTEGER PRIMARY KEY, maps BLOB, crc INTEGER)",
        "INSERT INTO attention VALUES (0, zeroblob(48), 0)",
    ),
}

PARAMS: dict[str, Build] = {
    "lists that hold each other, as a number": f"{params.NESTED}extract: {{batch_size: *h}}\n".encode,
    "lists that hold each other, as classes": f"{params.NESTED}extract: {{classes: {{a: *h}}}}\n".encode,
    "lists that hold each other, as a size": f"{params.NESTED}extract: {{image_size: *h}}\n".encode,
    "lists that hold each other, as layers": f"{params.NESTED}extract: {{layers: *h}}\n".encode,
    "lists that hold each other, as a key": f"{params.NESTED}extract: {{*h : 1}}\n".encode,
    "lists that hold each other, as a section": f"{params.NESTED}extract: *h\n".encode,
    "a mapping that holds itself": lambda: b"extract: &a\n  classes: *a\n",
}


def _column(name: str, content: bytes) -> bytes:
    """Return an input that replaces a column of the first sound store, with right checksums."""
    names = list(stores.sound_stores()[0])
    return bytes([7]) + join_bundle([(names.index(name), content + bytes(4))])


STORES: dict[str, Build] = {
    "column of texts that claims a million": lambda: _column("head/c.0", struct.pack("<I", 10**6) + bytes(20)),
    "column of texts that claims 2**27": lambda: _column("head/c.0", struct.pack("<I", 2**27) + bytes(20)),
    "column of texts that claims too few": lambda: _column("sample/c.0", struct.pack("<II", 1, 1) + b"a"),
    "column of texts with a length beyond its end": lambda: _column("group/c.0", struct.pack("<II", 3, 2**31 - 1)),
    "column of texts without a byte": lambda: _column("digest/c.0", b""),
}


def _run(kind: int, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bytes:
    """Return a file of a run after a change of its header and its card."""
    header_bytes, _ = runs.sound_files()[kind]
    header = json.loads(header_bytes[8:])
    key = "diamant_pretraining" if kind == runs.PRETRAINING_STATE else "diamant"
    card = json.loads(header["__metadata__"][key])
    change(header, card)
    header["__metadata__"][key] = json.dumps(card)
    laid = lay_out(header, b"".join(runs.sound_files()[kind]))
    return bytes([kind]) + laid[: 8 + int.from_bytes(laid[:8], "little")]


def _state(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Build:
    return lambda: _run(runs.STATE, change)


def _drop(header: dict[str, Any], start: str, *, most: int = 10**6) -> None:
    for name in [name for name in header if name.startswith(start)][:most]:
        del header[name]


def _first(header: dict[str, Any], start: str, end: str = "") -> str:
    return next(name for name in header if name.startswith(start) and name.endswith(end))


def _group(**values: Any) -> Build:
    return _state(lambda _, card: card["param_groups"][0].update(values))


RUNS: dict[str, Build] = {
    "state: a tensor of the model is missing": _state(lambda header, _: _drop(header, "model.", most=1)),
    "state: the whole model is missing": _state(lambda header, _: _drop(header, "model.")),
    "state: the best weights are missing": _state(lambda header, _: _drop(header, "best.")),
    "state: a tensor of the best weights is missing": _state(lambda header, _: _drop(header, "best.", most=1)),
    "state: a tensor of another shape": _state(
        lambda header, _: header.update({_first(header, "model."): {"dtype": "F32", "shape": [3]}})
    ),
    "state: a slot of another type": _state(
        lambda header, _: header[_first(header, "optimizer.", ".exp_avg")].update(dtype="F8_E4M3")
    ),
    "state: a slot of another shape": _state(
        lambda header, _: header[_first(header, "optimizer.", ".exp_avg")].update(shape=[0])
    ),
    "state: a slot is missing": _state(lambda header, _: header.pop(_first(header, "optimizer.", ".exp_avg_sq"))),
    "state: a slot of no parameter": _state(
        lambda header, _: header.update({"optimizer.999.step": {"dtype": "F32", "shape": []}})
    ),
    "state: no groups of parameters": _state(lambda _, card: card.update(param_groups=[])),
    "state: a group without keys": _state(lambda _, card: card.update(param_groups=[{}])),
    "state: one beta": _group(betas=[0.9]),
    "state: betas that are no list": _group(betas=True),
    "state: a learning rate that is a text": _group(lr="x"),
    "state: capturable": _group(capturable=True),
    "state: parameters that are lists": _group(params=[[0]]),
    "state: parameters in another order": _state(lambda _, card: card["param_groups"][0]["params"].reverse()),
    "state: a parameter twice": _state(
        lambda _, card: card["param_groups"][0].update(
            params=[card["param_groups"][0]["params"][1], *card["param_groups"][0]["params"][1:]]
        )
    ),
    "state: a value nested deep": _group(eps=json.loads("[" * 900 + "]" * 900)),
    "state: a history without a score": _state(lambda _, card: card["history"][0].pop("val_dice")),
    "state: a score that is a text": _state(lambda _, card: card["history"][0].update(val_dice="a")),
    "state: more epochs than rows": _state(lambda _, card: card.update(epoch=5)),
    "state: a negative number of epochs": _state(lambda _, card: card.update(epoch=-1)),
    "model: a network of gigabytes": lambda: _run(runs.MODEL, lambda _, card: card["network"].update(width=1000)),
    "model: a network of 16384 maps": lambda: _run(
        runs.MODEL, lambda _, card: card["network"].update(width=500, heads=16384)
    ),
}

ALL = {
    "weights": WEIGHTS,
    "arrays": ARRAYS,
    "memo": MEMO,
    "params": PARAMS,
    "stores": STORES,
    "runs": RUNS,
}


@pytest.mark.parametrize(("name", "label"), [(name, label) for name, found in ALL.items() for label in found])
def test_what_the_fuzzer_found_is_handled(name, label):
    assert check(find_target(name), ALL[name][label]()) is None


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("weights", "card: a name of the hub"), ("weights", "card: a negative number of heads"),
        ("weights", "pickle: complex"), ("weights", "pickle: a wrapper that holds itself"),
        ("runs", "state: more epochs than rows"), ("runs", "state: a negative number of epochs"),
        ("runs", "state: one beta"), ("runs", "state: a slot is missing"),
        ("runs", "state: parameters in another order"), ("runs", "state: a parameter twice"),
        ("params", "lists that hold each other, as a section"), ("arrays", "negative shape"),
        ("stores", "column of texts that claims too few"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(name, label):
    """No finding is not enough here: the value must be an error, not a result."""
    with pytest.raises(PipelineError):
        find_target(name).run(ALL[name][label]())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_the_name_of_the_other_format_is_refused_by_name(tmp_path: Path, zipped):
    """`torch.load` reads a path of that name as safetensors, and the file would seem damaged."""
    file = tmp_path / "w.safetensors"
    file.write_bytes(weights.pickled({"cls_token": torch.zeros(4)}, zipped=zipped))
    with pytest.raises(WeightsError, match=r"Rename it: `w\.pth`"):
        read_tensors(file)
    assert read_tensors(file.rename(tmp_path / "w.pth"))["cls_token"].numel() == 4

"""List the kinds of bad stores, runs, weights files and output paths: `KINDS`."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import zarr
from safetensors.torch import load_file, save_file

from store.format import ATTRIBUTE, recipe_sha256
from tests.faults.kinds import Kind, write

STORE, RUN = "s.zarr", "run"
MODEL = f"{RUN}/model.safetensors"
WEIGHTS = "extract --model dino_vits8 --weights weights.pth"


def attributes(**changes: Any) -> Callable[[Path], object]:
    """Return a function that changes attributes of the store's description."""

    def make(room: Path) -> None:
        file = room / STORE / "zarr.json"
        metadata = json.loads(file.read_text())
        metadata["attributes"][ATTRIBUTE] |= changes
        file.write_text(json.dumps(metadata))

    return make


def removed(name: str) -> Callable[[Path], object]:
    """Return a function that deletes a file or a folder."""

    def make(room: Path) -> None:
        if (room / name).is_dir():
            shutil.rmtree(room / name)
        else:
            (room / name).unlink()

    return make


def cut(name: str, left: int) -> Callable[[Path], object]:
    """Return a function that cuts a file after `left` bytes."""
    return lambda room: (room / name).write_bytes((room / name).read_bytes()[:left])


def flipped(name: str, position: int) -> Callable[[Path], object]:
    """Return a function that flips one bit of a file."""

    def make(room: Path) -> None:
        content = bytearray((room / name).read_bytes())
        content[position] ^= 1
        (room / name).write_bytes(content)

    return make


def _foreign(room: Path) -> None:
    shutil.rmtree(room / STORE)
    zarr.create_group(room / STORE, zarr_format=3).create_array("a", shape=(2,), dtype="u1")


def _format_2(room: Path) -> None:
    shutil.rmtree(room / STORE)
    zarr.create_group(room / STORE, zarr_format=2)


def _unfinished(room: Path) -> None:
    (room / STORE).rename(room / ".s.zarr.partial-abc")


def _read_only(room: Path) -> None:
    for path in [room / STORE, *(room / STORE).rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def _closed(room: Path) -> None:
    (room / STORE / "zarr.json").chmod(0)


def _copy(source: str, name: str) -> Callable[[Path], object]:
    return lambda room: shutil.copytree(room / source, room / name)


def _other_recipe(room: Path) -> None:
    shutil.rmtree(room / "run")
    weights = room.parent / "house" / MODEL
    with safe_header(weights) as (tensors, card):
        card["recipe"]["layers"] = [0]
        card["recipe_sha256"] = recipe_sha256(card["recipe"])
    (room / "run").mkdir()
    save_file(tensors, room / MODEL, metadata={"diamant": json.dumps(card)})
    shutil.copy(weights.with_name("splits.csv"), room / "run")


@contextmanager
def safe_header(weights: Path) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    """Yield the tensors of a run's model and its description."""
    with weights.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    yield load_file(weights), json.loads(header["__metadata__"]["diamant"])


def _not_finite(room: Path) -> None:
    with safe_header(room / MODEL) as (tensors, card):
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))
    save_file(tensors, room / MODEL, metadata={"diamant": json.dumps(card)})


def _future_run(room: Path) -> None:
    with safe_header(room / MODEL) as (tensors, card):
        card["version"] = 99
    save_file(tensors, room / MODEL, metadata={"diamant": json.dumps(card)})


class Malicious:
    """Create a folder called `harmed` when it is unpickled without restrictions."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


def _malicious(room: Path) -> None:
    torch.save({"state_dict": Malicious()}, room / "weights.pth")


def _malicious_plain(room: Path) -> None:
    (room / "weights.pth").write_bytes(pickle.dumps(Malicious()))


def _malicious_run(room: Path) -> None:
    torch.save({"state_dict": Malicious()}, room / MODEL)


def _other_model(room: Path) -> None:
    torch.save({"patch_embed.proj.weight": torch.zeros(192, 3, 16, 16)}, room / "weights.pth")


def _not_a_transformer(room: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, room / "weights.pth")


def _huge_header(room: Path) -> None:
    (room / "weights.pth").write_bytes(struct.pack("<Q", 2**62) + b"{" + bytes(100))


def _own(name: str) -> Callable[[Path], object]:
    def make(room: Path) -> None:
        (room / name).mkdir(exist_ok=True)
        (room / name / "my notes.txt").write_text("years of work")

    return make


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


@contextmanager
def silent_hub(room: Path) -> Iterator[None]:
    """Start a model hub that accepts connections and never answers."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        patch(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            f"http://127.0.0.1:{server.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        ),
        patch("huggingface_hub.constants.HF_HUB_CACHE", str(room / "cache")),
        patch("stages.attention.hub._TIMEOUT", 0.5),
    ):
        yield


DESCRIPTION = f"{STORE}/zarr.json"
SHARD = f"{STORE}/attention/c.0.0.0.0"
KINDS = [
    Kind("store_missing", "no store", removed(STORE), "train", 1, (STORE, "no store here", "pipeline extract")),
    Kind("store_foreign", "a Zarr group that is not a store", _foreign, "train", 1, (STORE, "not an attention store")),
    Kind("store_zarr_2", "a Zarr group of format 2", _format_2, "train", 1, (STORE, "not an attention store")),
    Kind("store_empty", "an empty folder for a store", lambda room: (room / "e.zarr").mkdir(), "train --store e.zarr", 1, ("e.zarr", "not an attention store")),
    Kind("store_file", "a file for a store", write("f.zarr", "x"), "inspect f.zarr", 1, ("f.zarr", "not an attention store")),
    Kind("store_older", "a store of an older version", attributes(version=0), "train", 1, (STORE, "version 0", "reads versions 1 to 2")),
    Kind("store_newer", "a store of a newer version", attributes(version=3, new_key=1), "train", 1, (STORE, "version 3", "reads versions 1 to 2", "Update this program")),
    Kind("store_newer_kept", "a store of a newer version where extract would write", attributes(version=3), "extract", 0, ("6 samples",)),
    Kind("store_unfinished", "a store whose extraction was killed", _unfinished, "train", 1, (STORE, "no store here")),
    Kind("store_shard", "a store without one of its shards", removed(SHARD), "train", 1, ("`attention`", "samples 0-5", "the shard is missing", "dvc pull")),
    Kind("store_array", "a store without one of its arrays", removed(f"{STORE}/mask"), "train", 1, (STORE, "mask/zarr.json is missing")),
    Kind("store_column", "a store without one of its columns", removed(f"{STORE}/group/c.0"), "train", 1, (STORE, "group/c.0 is missing")),
    Kind("store_cut", "a shard cut in half", cut(SHARD, 3000), "train", 1, ("`attention`", "cut short")),
    Kind("store_flipped", "a shard with one bit turned", flipped(SHARD, 40), "train", 1, ("`attention`", "checksum")),
    Kind("store_column_flipped", "a column with one bit turned", flipped(f"{STORE}/digest/c.0", 60), "train", 1, ("column `digest` is damaged",)),
    Kind("store_metadata_cut", "a zarr.json cut in half", cut(DESCRIPTION, 100), "train", 1, (STORE, "zarr.json is damaged")),
    Kind("store_metadata_empty", "a zarr.json of 0 bytes", cut(DESCRIPTION, 0), "inspect s.zarr", 1, (STORE, "zarr.json is damaged")),
    Kind("store_recipe", "a recipe that somebody changed", attributes(recipe={"model": "other"}), "train", 1, (STORE, "the recipe does not match")),
    Kind("store_count", "a description that counts other samples", attributes(samples=7), "train", 1, (STORE, "description was changed")),
    Kind("store_kind", "a description whose number of samples is a text", attributes(samples="six"), "train", 1, (STORE, "`samples`", "Extract it again")),
    Kind("store_classes", "a description whose classes are a number", attributes(classes=2), "evaluate", 1, (STORE, "`classes`")),
    Kind("store_per_shard", "a description with shards of 0 samples", attributes(samples_per_shard=0), "verify s.zarr", 1, (STORE, "`samples_per_shard`")),
    Kind("store_verify", "a damaged store, verified", flipped(SHARD, 40), "verify s.zarr", 1, ("fault:", "sample 0")),
    Kind("store_read_only", "a store that may only be read", _read_only, "train", 0, ("run", "6 train")),
    Kind("store_address", "a store at an address that is not read", _nothing, "train --store ftp://bucket/s.zarr", 2, ("ftp:", "not read from", "folder of this machine")),
    Kind("store_address_written", "a store to be written to an address", _nothing, "extract --store https://host/s.zarr", 2, ("https:", "network")),
    Kind("images_address", "images at an address on the network", _nothing, "predict https://host/photo.png", 2, ("https:", "network")),
    Kind("inspect_address", "an address to inspect", _nothing, "inspect ftp://bucket/s.zarr", 2, ("ftp:", "not read from")),
    Kind("hub_silent", "a model hub that stops answering", _nothing, "extract --model dino_vits8", 1, ("could not be downloaded", "--weights FILE"), silent_hub),
    Kind("run_missing", "no run", removed(RUN), "evaluate", 1, (MODEL, "pipeline train")),
    Kind("run_cut", "a model file cut in half", cut(MODEL, 5000), "evaluate", 1, (MODEL, "damaged")),
    Kind("run_empty", "a model file of 0 bytes", cut(MODEL, 0), "predict", 1, (MODEL, "damaged")),
    Kind("run_pickle", "a pickle that runs code in place of a model", _malicious_run, "predict", 1, (MODEL, "damaged")),
    Kind("run_newer", "a model of a newer version", _future_run, "predict", 1, (MODEL, "version 99")),
    Kind("run_nan", "a model whose weights are not finite", _not_finite, "predict", 1, (MODEL, "not finite")),
    Kind("run_recipe", "a run on attention of another recipe", _other_recipe, "evaluate", 1, (RUN, "another recipe", "layers")),
    Kind("run_splits", "a run without its splits", removed(f"{RUN}/splits.csv"), "evaluate", 1, ("splits.csv", "is missing")),
    Kind("run_splits_edited", "splits of a run without their columns", write(f"{RUN}/splits.csv", "a,b\n1,2\n"), "evaluate", 1, ("splits.csv", "column")),
    Kind("run_splits_binary", "splits of a run of binary bytes", write(f"{RUN}/splits.csv", bytes(range(128, 256))), "evaluate", 1, ("splits.csv",)),
    Kind("resume_damaged", "a damaged state to resume", cut(f"{RUN}/state.safetensors", 999), "train --resume", 1, ("state.safetensors", "without --resume")),
    Kind("weights_missing", "a weights file that is not there", _nothing, WEIGHTS, 1, ("weights.pth", "no such weights file")),
    Kind("weights_empty", "a weights file of 0 bytes", write("weights.pth", b""), WEIGHTS, 1, ("weights.pth", "empty")),
    Kind("weights_text", "a web page saved as a weights file", write("weights.pth", "<!DOCTYPE html>"), WEIGHTS, 1, ("weights.pth", "not a weights file")),
    Kind("weights_pickle", "a .pth that runs code", _malicious, WEIGHTS, 1, ("weights.pth", "could run code", "refused")),
    Kind("weights_bare_pickle", "a bare pickle that runs code", _malicious_plain, WEIGHTS, 1, ("weights.pth", "could run code", "refused")),
    Kind("weights_huge_header", "a safetensors header that claims 4 exabytes", _huge_header, WEIGHTS, 1, ("weights.pth", "damaged")),
    Kind("weights_other", "the weights of another transformer", _other_model, WEIGHTS, 1, ("weights.pth", "ViT-T/16", "dino_vits8")),
    Kind("weights_convolutional", "the weights of no transformer", _not_a_transformer, WEIGHTS, 1, ("weights.pth", "not the weights of a ViT", "conv1.weight")),
    Kind("weights_folder", "a folder of weights", lambda room: (room / "weights.pth").mkdir(), WEIGHTS, 1, ("weights.pth", "is a folder")),
    Kind("model_unknown", "a misspelt model", _nothing, "extract --model dino_vit8", 2, ("dino_vit8", "dino_vits8")),
    Kind("out_store", "a folder with other files where the store would be written", _own(STORE), "extract", 2, (STORE, "did not write", "another path")),
    Kind("out_run", "a folder with other files where the run would be written", _own(RUN), "train", 2, (RUN, "did not write")),
    Kind("out_report", "a folder with other files where the report would be written", _own("report"), "evaluate", 2, ("report", "did not write")),
    Kind("out_file", "a file where the store would be written", write("f.zarr", "x"), "extract --store f.zarr", 2, ("f.zarr", "is a file")),
    Kind("out_below_file", "a store to be written below a file", write("f", "x"), "extract --store f/s.zarr", 1, ("f: ", "stands where a folder is needed")),
    Kind("out_long", "a store with a name of 300 bytes", _nothing, f"extract --store {'x' * 300}", 1, ("File name too long", "shorter name")),
    Kind("memo_damaged", "a memo that is not one", lambda room: [file.write_bytes(b"x" * 5000) for file in (room / ".memo").iterdir()], "extract", 1, (".memo", "Deleting it is safe")),
]  # fmt: skip

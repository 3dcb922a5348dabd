"""List the kinds of bad requests for an export: `KINDS`."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from stages.exporting import checking
from store.disk import publish
from tests.faults.bad_places import linked, mine
from tests.faults.kinds import Kind, write

EARLIER = b"\x08\x0a\x12\x10diamant-pipeline an earlier export"
"""Beginning of an ONNX file of this program."""


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _cut(room: Path) -> None:
    model = room / "run" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:500])


def _folds(room: Path) -> None:
    (room / "cross").mkdir()
    shutil.copytree(room / "run", room / "cross" / "fold1")


def _no_store(room: Path) -> None:
    shutil.rmtree(room / "s.zarr")


def _own_model(room: Path) -> None:
    """Make a run whose recipe has other weights than the program's own."""
    from dataclasses import replace

    from stages.attention.recipe import Recipe
    from stages.segmentation.checkpoint import load_model, save_model

    network, card = load_model(room / "run", torch.device("cpu"))
    recipe = replace(Recipe.from_dict(card.recipe), weights_sha256="0" * 64)
    other = replace(card, recipe=recipe.to_dict(), recipe_sha256=recipe.sha256)
    (room / "other").mkdir()
    save_model(room / "other" / "model.safetensors", network.state_dict(), other)


def _missing(package: str) -> object:
    """Return a context in which a package is not installed."""
    return lambda _: patch.dict(sys.modules, {package: None})


@contextmanager
def _full() -> Iterator[None]:
    """Let every write of a file that replaces another one end with a full disk."""

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(publish.os, "fsync", no_space):
        yield


def _disk_full(_: Path) -> AbstractContextManager[object]:
    return _full()


def _other_network(_: Path) -> AbstractContextManager[object]:
    """Make PyTorch's answer differ from what was recorded."""
    compare = checking._compare
    return patch.object(
        checking,
        "_compare",
        lambda loaded, expected, found: compare(loaded, [*expected[:-1], expected[-1] + 0.01], found),
    )


E = "export --run run"
KINDS = [
    Kind("export-no-run", "a folder without a model", mine("empty/"), "export --run empty --out m.onnx", 1, ("empty/model.safetensors",)),
    Kind("export-run-missing", "a run that does not exist", _nothing, "export --run nowhere --out m.onnx", 1, ("nowhere",)),
    Kind("export-model-cut", "a truncated model", _cut, f"{E} --out m.onnx", 1, ("model.safetensors",)),
    Kind("export-cross-validation", "a cross-validation in place of a run", _folds, "export --run cross --out m.onnx", 1, ("cross-validation", "fold1")),
    Kind("export-into-a-run", "--out inside a run", _nothing, f"{E} --out run/m.onnx", 2, ("run/m.onnx", "lies inside")),
    Kind("export-into-a-store", "--out inside a store", _nothing, f"{E} --out s.zarr/m.onnx", 2, ("s.zarr/m.onnx", "lies inside")),
    Kind("export-over-my-file", "a file of the user at --out", mine("m.onnx"), f"{E} --out m.onnx", 2, ("m.onnx", "would be replaced")),
    Kind("export-over-a-link", "a link to a file of the user at --out", linked("m.pt2", "params.yaml"), f"{E} --format torch --out m.pt2", 2, ("m.pt2", "would be replaced")),
    Kind("export-over-my-folder", "a folder of the user as a bundle", mine("b/notes.md"), f"{E} --format monai-bundle --out b", 2, ("b", "did not write")),
    Kind("export-over-a-run", "a bundle in the place of the run", _nothing, f"{E} --format monai-bundle --out run", 2, ("--run", "replaced")),
    Kind("export-to-a-folder", "a folder as an ONNX file", mine("b/"), f"{E} --out b", 2, ("b: is a folder", "model.onnx")),
    Kind("export-other-ending", "another ending", _nothing, f"{E} --out m.pb", 2, ("m.pb", "ends in .onnx")),
    Kind("export-below-a-file", "--out below a file", _nothing, f"{E} --out params.yaml/m.onnx", 2, ("params.yaml is a file",)),
    Kind("export-unknown-format", "a format that does not exist", _nothing, f"{E} --format tflite", 2, ("tflite",)),
    Kind("export-of-predictions", "a network of predictions", _nothing, "export --predictions predictions --out m.onnx", 2, ("--predictions", "--run")),
    Kind("export-store-gone", "the store for the check was deleted", _no_store, f"{E} --format torch --part segmenter --store s.zarr --out m.pt2", 1, ("s.zarr", "there is no store here")),
    Kind("export-other-weights", "weights that are not those of the recipe", _own_model, "export --run other --format torch --out m.pt2", 1, ("digest", "recipe")),
    Kind("export-weights-unused", "weights for a segmenter alone", write("w.pth", "x"), f"{E} --part segmenter --weights w.pth --format torch --out m.pt2", 2, ("--weights", "Leave --weights out")),
    Kind("export-no-onnx", "onnx is not installed", _nothing, f"{E} --out m.onnx", 2, ("onnx", "diamant-pipeline[export]"), _missing("onnx")),
    Kind("export-no-onnxruntime", "onnxruntime is not installed", _nothing, f"{E} --out m.onnx", 2, ("onnxruntime", "diamant-pipeline[export]"), _missing("onnxruntime")),
    Kind("export-bundle-of-segmenter", "a bundle of the segmenter alone", _nothing, f"{E} --format monai-bundle --part segmenter --out b", 2, ("--part segmenter",)),
    Kind("export-disk-full", "a full disk, with an earlier export", write("m.onnx", EARLIER), f"{E} --part segmenter --out m.onnx", 1, ("m.onnx", "Free some space"), _disk_full),
    Kind("export-bundle-disk-full", "a full disk while a bundle is written", _nothing, f"{E} --format monai-bundle --out b", 1, ("b", "Free some space"), _disk_full),
    Kind("export-differs", "a file that computes something else than PyTorch", _nothing, f"{E} --format torch --part segmenter --out m.pt2", 1, ("does not compute", "Nothing was written"), _other_network),
]  # fmt: skip
"""Every kind of bad request, as rows of the table."""

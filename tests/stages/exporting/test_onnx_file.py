"""An ONNX file computes what the pipeline computes, for networks of every form and batches of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from stages.export import run as export
from stages.settings import ExportSettings
from store import AttentionStore
from tests.stages.exporting.made_runs import from_images, from_maps, make_run, noise

FORMS: dict[str, dict[str, Any]] = {
    "dual, all levels, log": {},
    "dual, bottleneck, minmax, plain, full": {
        "fusion": "bottleneck", "norm": "minmax", "blocks": "plain", "stem": "full",
    },
    "image alone": {"branches": "image"},
    "attention alone, as stored": {"branches": "attention", "norm": "none"},
    "three labels that may overlap": {"classes": 4, "multilabel": True},
}  # fmt: skip
"""Together they have every branch, fusion, scaling, block and stem."""


def outputs_of(path: Path, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def nchw(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_whole_gives_the_masks_of_the_pipeline(tmp_path: Path, phantom_store: Path, form: dict[str, Any]):
    """From an image alone: the resizes and the transformer are inside."""
    run = make_run(tmp_path / "run", phantom_store, **form)
    report = export(ExportSettings(run=run, out=tmp_path / "m.onnx"))
    size = tuple(report.facts["inputs"]["image"]["shape"][2:])
    assert size == ((32, 40) if form.get("branches") == "image" else (32, 48))
    for count in (1, 3, 7):
        images = noise(count, size)
        outputs = outputs_of(report.out, image=nchw(images))
        expected = from_images(run, images)
        assert np.abs(outputs["probabilities"] - expected).max() <= 1e-4
        if form.get("multilabel"):
            bits = (expected[:, 1:] > 0.5) * np.array([1, 2, 4])[:, None, None]
            decided = (abs(expected[:, 1:] - 0.5) > 1e-4).all(axis=1)
            np.testing.assert_array_equal(outputs["mask"][decided], bits.sum(axis=1)[decided])
        else:
            decided = abs(expected[:, 1] - expected[:, 0]) > 2e-4
            np.testing.assert_array_equal(outputs["mask"][decided], expected.argmax(axis=1)[decided])
        assert decided.mean() > 0.99
        assert len(np.unique(outputs["mask"])) > 1


@pytest.mark.parametrize("form", [FORMS["dual, all levels, log"], FORMS["three labels that may overlap"]])
def test_the_segmenter_takes_image_and_maps_of_a_store(tmp_path: Path, phantom_store: Path, form: dict[str, Any]):
    run = make_run(tmp_path / "run", phantom_store, **form)
    report = export(ExportSettings(run=run, out=tmp_path / "m.onnx", part="segmenter"))
    batch = AttentionStore.open(phantom_store).read(np.arange(7))
    expected = from_maps(run, batch.image, batch.attention)
    for count in (1, 3, 7):
        given = {"image": nchw(batch.image[:count]), "maps": batch.attention[:count].astype(np.float32)}
        (probabilities,) = outputs_of(report.out, **given).values()
        assert np.abs(probabilities - expected[:count]).max() <= 1e-4


def test_logits_and_images_from_0_to_1(tmp_path: Path, phantom_store: Path, trained: Path):
    """An image of floats gives the same as the same image of bytes."""
    settings = {"run": trained, "part": "segmenter", "values": "logits", "store": phantom_store}
    report = export(ExportSettings(**settings, out=tmp_path / "f.onnx", pixels="float"))
    batch = AttentionStore.open(phantom_store).read(np.arange(3))
    given = {"image": nchw(batch.image).astype(np.float32) / 255, "maps": batch.attention.astype(np.float32)}
    logits = outputs_of(report.out, **given)["logits"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = from_maps(trained, batch.image, batch.attention)
    assert np.abs(shares / shares.sum(axis=1, keepdims=True) - expected).max() <= 1e-4
    assert "samples of" in report.summary


def test_the_file_describes_itself_and_names_no_path_of_this_machine(tmp_path: Path, trained: Path):
    """Classes, recipe, licence and limits are known to a user who has the file alone."""
    export(ExportSettings(run=trained, out=tmp_path / "m.onnx"))
    content = (tmp_path / "m.onnx").read_bytes()
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model)
    assert [one.version for one in model.opset_import if one.domain == ""] == [18]
    found = {entry.key: entry.value for entry in model.metadata_props}
    described = json.loads(found["diamant_pipeline"])
    assert found["classes"].splitlines() == described["classes"] == ["background", "foreground"]
    assert "not a medical device" in described["warning"]
    assert described["transformer"]["licence"] == "none needed"
    assert len(described["transformer"]["recipe_sha256"]) == 64
    assert described["normalisation"]["maps"] == "log"
    for path in (Path(__file__).parents[3], tmp_path, Path(onnx.__file__).parents[1]):
        assert str(path).encode() not in content


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, phantom_store: Path):
    """So that DVC and people can compare files."""
    run = make_run(tmp_path / "run", phantom_store, branches="image")
    for name in ("a.onnx", "b.onnx"):
        export(ExportSettings(run=run, out=tmp_path / name, part="segmenter"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()

"""The whole way of NIfTI scans: extract, train, predict a label map for each scan, and use it as labels again."""

from __future__ import annotations

import csv
import gzip
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from stages import evaluate, predict
from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.extract import run as extract
from stages.prediction.parents import PARENT_FORMATS, Content, Gathered
from stages.segmentation.mask_painter import MaskPainter
from stages.settings import EvaluateSettings, PredictSettings
from stages.train import run as train
from store import AttentionStore
from tests.conftest import extract_settings, train_settings
from tests.stages.imaging.scans import SPACING, synthetic_scan, write_scan, write_set

CLASSES = {"background": 0, "ball": 2}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two scans and their labels. Tests must not change it."""
    return write_set(tmp_path_factory.mktemp("scans"), 2)


@pytest.fixture(scope="module")
def store(scans: Path, memo: Path) -> Path:
    """Return a store of the scans."""
    extract(extract_settings(scans, scans / "s.zarr", memo, masks=scans / "labels", classes=CLASSES))
    return scans / "s.zarr"


@pytest.fixture(scope="module")
def run(store: Path, scans: Path) -> Path:
    """Return a run that was trained for a few steps."""
    train(train_settings(store, scans / "run", epochs=1, val=0, test=0))
    return scans / "run"


def _predict(scans: Path, run: Path, memo: Path, out: Path, **changes: Any) -> predict.PredictionReport:
    settings = {"images": scans / "images", "run": run, "out": out, "memo": memo, "batch_size": 4}
    return predict.run(PredictSettings(**{**settings, **changes}))


def test_predictions_lie_on_the_scan(scans: Path, run: Path, memo: Path, tmp_path: Path):
    """One label map for each scan: its shape, its affine, its unit, the training masks' values, and our mark."""
    report = _predict(scans, run, memo, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"case_{number}.nii.gz" for number in range(2)]
    assert report.files == ["<id>.nii.gz"]
    for number in range(2):
        image = nib.load(scans / "images" / f"case_{number}.nii.gz")
        found = nib.load(tmp_path / f"case_{number}.nii.gz")
        assert found.shape == image.shape
        np.testing.assert_array_equal(found.affine, image.affine)
        assert found.header["descrip"].item() == b"diamant-pipeline"
        assert found.header.get_xyzt_units()[0] == "mm"
        assert found.get_data_dtype() == np.uint8
        assert set(np.unique(np.asanyarray(found.dataobj))) <= {0, 2}


def test_scores_are_in_millimetres_without_asking(store: Path, run: Path, scans: Path, tmp_path: Path):
    """The store records the size of a pixel that the scans say; the user's own size comes first."""
    settings = {"store": store, "run": run, "split": "train", "include_training": True, "overlays": 0}
    report = evaluate.run(EvaluateSettings(**settings, out=tmp_path / "r", masks=scans / "labels"))
    with (tmp_path / "r" / "per_sample.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert "hd95_mm" in report.metrics["original"]
    asked = evaluate.run(
        EvaluateSettings(**settings, out=tmp_path / "r2", masks=scans / "labels", pixel_mm=2, tolerance_mm=1)
    )
    assert asked.metrics["original"]["hd95_mm"] != report.metrics["original"]["hd95_mm"]
    assert list(AttentionStore.open(store).column("pixel_mm")) == [f"{SPACING[1]} {SPACING[0]}"] * 8
    shutil.copytree(scans / "labels", tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():  # the same voxels, but the file does not say where they are
        nib.save(nib.Nifti1Image(np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj)[::-1], None), path)
    recorded = evaluate.run(EvaluateSettings(**settings, out=tmp_path / "r3", masks=tmp_path / "plain"))
    assert recorded.metrics["original"]["hd95_mm"] == report.metrics["original"]["hd95_mm"]


def test_labels_with_fewer_planes_than_the_store_are_a_problem(store: Path, run: Path, scans: Path, tmp_path: Path):
    shutil.copytree(scans / "labels", tmp_path / "labels")
    path = tmp_path / "labels" / "case_1.nii.gz"
    write_scan(path, np.asanyarray(nib.load(path).dataobj)[..., :2])
    settings = {"store": store, "run": run, "split": "train", "include_training": True, "overlays": 0}
    with pytest.raises(InputProblemsError, match=r"case_1\.nii\.gz: has 2 planes, and plane 2 is needed"):
        evaluate.run(EvaluateSettings(**settings, out=tmp_path / "r", masks=tmp_path / "labels"))


def test_areas_are_in_square_millimetres(scans: Path, run: Path, memo: Path, tmp_path: Path):
    _predict(scans, run, memo, tmp_path, table=True)
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert float(row["area_mm2"]) == pytest.approx(int(row["area_px"]) * SPACING[0] * SPACING[1], rel=1e-5)


def test_every_plane_is_at_its_place_in_the_label_map(
    scans: Path, run: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A network that returns the truth gives back exactly the voxels of the labels, whatever the axes."""
    from stages.prediction.inference import Predictor

    truth = {f"case_{number}": synthetic_scan(number)[1] for number in range(2)}

    class Oracle:
        def __init__(self, identifier: str) -> None:
            parent, _, plane = identifier.rpartition("_z")
            self.mask = truth[parent][::-1, ::-1, int(plane)].T.astype(np.uint8)

    monkeypatch.setattr(Predictor, "predict", lambda _, sample: Oracle(sample.id))
    _predict(scans, run, memo, tmp_path)
    for name, ball in truth.items():
        image = nib.as_closest_canonical(nib.load(tmp_path / f"{name}.nii.gz"))
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), ball * 2)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (None, "classes", {0, 1}),
        ({"background": 0, "ball": 2}, "classes", {0, 2}),
        ({"background": 0, "ball": 300}, "classes", {0, 300}),
        ({"background": "0", "ball": "1-255"}, "classes", {0, 255}),
        ({"background": "#000000", "ball": "#ff0000"}, "classes", {0, 1}),
        (None, "objects", {0, 1, 2}),
    ],
)
def test_label_maps_have_the_values_of_the_masks(
    scans: Path, tmp_path: Path, values: dict[str, int | str] | None, kind: Content, expected: set[int]
):
    painter = MaskPainter.of(["background", "ball"], values)
    planes = np.zeros((4, 16, 20), np.int32 if kind == "objects" else np.uint8)
    planes[1], planes[2] = 1, 2 if kind == "objects" else 1
    image = scans / "images" / "case_0.nii.gz"
    gathered = Gathered(
        source=image,
        axis="axial",
        identifier="case_0",
        content=kind,
        values=planes,
        classes=["background", "ball"],
        painter=painter,
    )
    (tmp_path / "encoded.nii.gz").write_bytes(PARENT_FORMATS["nifti"].encode(gathered))
    found = nib.load(tmp_path / "encoded.nii.gz")
    assert set(np.unique(np.asanyarray(found.dataobj)).tolist()) == expected
    assert found.get_data_dtype().kind == "u"


def test_private_texts_of_the_scan_are_not_copied(scans: Path, run: Path, memo: Path, tmp_path: Path):
    image = nib.load(scans / "images" / "case_0.nii.gz")
    image.header["db_name"], image.header["aux_file"] = b"Smith, Jane", b"smith.txt"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Smith"))
    (tmp_path / "images").mkdir()
    nib.save(image, tmp_path / "images" / "a.nii")
    _predict(tmp_path, run, memo, tmp_path / "out")
    assert b"mith" in (tmp_path / "images" / "a.nii").read_bytes()
    assert b"mith" not in gzip.decompress((tmp_path / "out" / "a.nii.gz").read_bytes())
    assert nib.load(tmp_path / "out" / "a.nii.gz").shape == image.shape


def test_predictions_are_labels_again(scans: Path, run: Path, memo: Path, tmp_path: Path):
    """Overlays and probabilities of the planes beside them are left out."""
    _predict(scans, run, memo, tmp_path / "out", overlay=True, probabilities=True, uncertainty=True)
    settings = extract_settings(scans, tmp_path / "s.zarr", memo, masks=tmp_path / "out", classes=CLASSES)
    extract(settings)
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert len(store.ids) == 8
    assert store.labelled.all()


def test_the_same_prediction_gives_the_same_bytes_and_replaces_it(scans: Path, run: Path, memo: Path, tmp_path: Path):
    written = []
    for _ in range(2):
        _predict(scans, run, memo, tmp_path)
        written.append((tmp_path / "case_0.nii.gz").read_bytes())
    assert written[0] == written[1]


def test_a_label_map_of_somebody_else_is_not_replaced(scans: Path, run: Path, memo: Path, tmp_path: Path):
    theirs = write_scan(tmp_path / "case_1.nii.gz", np.zeros((3, 3, 3), np.uint8))
    before = theirs.read_bytes()
    with pytest.raises(UsageError, match="not written by `predict`"):
        _predict(scans, run, memo, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["case_1.nii.gz"]
    assert theirs.read_bytes() == before


def test_other_files_are_one_for_each_plane(scans: Path, run: Path, memo: Path, tmp_path: Path):
    """All further outputs are replaced too, and the objects of a scan have different numbers on all planes."""
    for _ in range(2):
        report = _predict(
            scans, run, memo, tmp_path, overlay=True, probabilities=True, table=True, instances="components"
        )
    assert report.files == [
        *("<id>.nii.gz", "<id>_instances.nii.gz", "<id>.npy", "<id>_overlay.png", "table.csv"),
    ]
    assert len(list(tmp_path.glob("*_z*_overlay.png"))) == 8
    assert not list(tmp_path.glob("*_z*[0-9].png"))
    mask, objects = (
        np.asanyarray(nib.as_closest_canonical(nib.load(tmp_path / f"case_0{ending}.nii.gz")).dataobj)
        for ending in ("", "_instances")
    )
    np.testing.assert_array_equal(mask > 0, objects > 0)
    planes = [set(np.unique(objects[..., plane])) - {0} for plane in range(4)]
    assert sum(map(len, planes)) == len(set().union(*planes)) == objects.max()


def test_a_scan_with_a_plane_that_cannot_be_read_has_no_file(run: Path, memo: Path, tmp_path: Path):
    """With `on_error="skip"` the other scans are written, and the report names the one that is not."""
    values = synthetic_scan(7)[0].astype(np.float32)
    write_scan(tmp_path / "images" / "good.nii", values)
    values[0, 0, 2] = np.nan
    write_scan(tmp_path / "images" / "bad.nii", values)
    with pytest.raises(InputProblemsError, match="are NaN or infinite"):
        _predict(tmp_path, run, memo, tmp_path / "out")
    report = _predict(tmp_path, run, memo, tmp_path / "out", on_error="skip")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.nii.gz"]
    assert "1 of 4 planes could not be predicted" in str(report)


@pytest.mark.parametrize("axis", ["coronal", "2"])
def test_a_store_cut_along_another_axis_says_so_and_predicts_along_it(
    scans: Path, memo: Path, tmp_path: Path, axis: str
):
    """The store and the model record the axis. Labels whose axes are in the order of the image are read along it."""
    settings = extract_settings(scans, tmp_path / "s.zarr", memo, masks=scans / "labels", classes=CLASSES, axis=axis)
    extract(settings)
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.description.images["axis"] == axis
    assert len(store.ids) == 2 * (16 if axis == "coronal" else 4)
    train(train_settings(tmp_path / "s.zarr", tmp_path / "run", epochs=1, val=0, test=0))
    _predict(scans, tmp_path / "run", memo, tmp_path / "out")
    assert nib.load(tmp_path / "out" / "case_0.nii.gz").shape == (20, 16, 4)


def test_another_orientation_than_that_of_the_training_is_named(
    scans: Path, run: Path, memo: Path, tmp_path: Path, store: Path
):
    """The file is oblique: an axial run takes it, and says so."""
    assert AttentionStore.open(store).description.images["orientation"] == "axial"
    (tmp_path / "new").mkdir()
    scan = nib.load(next((scans / "images").iterdir()))
    turned = scan.affine.copy()
    turned[:3, :3] = rotation(45) @ turned[:3, :3]
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj), turned), tmp_path / "new" / "a.nii.gz")
    report = _predict(tmp_path, run, memo, tmp_path / "out", images=tmp_path / "new")
    assert "note: the run was trained on axial planes, and 4 of 4 images are oblique" in str(report)


def rotation(degrees: float) -> np.ndarray:
    """Return the rotation around the patient's left-right axis, (3, 3)."""
    turned = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(turned), -np.sin(turned)], [0, np.sin(turned), np.cos(turned)]])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"axis": "coronal"}, r"--axis axial, but those of .* were extracted with --axis coronal"),
        ({"window": "0:100"}, r"--window percentiles, but those of .* were extracted with --window 0:100"),
    ],
)
def test_a_run_is_not_scored_on_scans_that_were_read_otherwise(
    scans: Path, run: Path, memo: Path, tmp_path: Path, changes: dict[str, Any], what: str
):
    other = {"masks": scans / "labels", "classes": CLASSES, **changes}
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, **other))
    settings = EvaluateSettings(store=tmp_path / "s.zarr", run=run, out=tmp_path / "report", split="all")
    with pytest.raises(CheckpointError, match=what):
        evaluate.run(settings)

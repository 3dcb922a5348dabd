"""The whole way of DICOM: a series and its SEG in, a SEG out, which is labels again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from stages import predict
from stages.errors import UsageError
from stages.extract import run as extract
from stages.prediction.dicom_files import encode, fits, is_ours
from stages.prediction.inference import Predictor
from stages.prediction.mask_files import MaskPainter
from stages.prediction.parents import Gathered
from stages.settings import PredictSettings
from stages.train import run as train
from store import AttentionStore
from tests.conftest import extract_settings, train_settings
from tests.dicom_series import labels_of, scan, write_seg, write_series


def halves() -> np.ndarray:
    """Return labels of two classes, (plane, row, column)."""
    labels = labels_of()
    labels[..., 13:] *= 2
    return labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two series and their SEG files. Tests must not change it."""
    folder = tmp_path_factory.mktemp("dicom")
    for number, name in enumerate(("first", "second")):
        paths = write_series(folder / "images" / name, scan(seed=number), patient=name)
        write_seg(folder / "masks" / f"{number}.dcm", paths, halves(), ["left", "right"])
    return folder


@pytest.fixture(scope="module")
def run(data: Path, memo: Path) -> Path:
    """Return a run that was trained for a few steps."""
    extract(extract_settings(data, data / "s.zarr", memo))
    train(train_settings(data / "s.zarr", data / "run", epochs=1, val=0, test=0))
    return data / "run"


class Oracle:
    """Return the truth in place of a prediction."""

    def __init__(self, identifier: str) -> None:
        self.mask = halves()[int(identifier.rpartition("_z")[2])]


def _predict(data: Path, run: Path, memo: Path, out: Path, **changes: Any) -> predict.PredictionReport:
    settings = {"images": data / "images", "run": run, "out": out, "memo": memo, "batch_size": 4}
    return predict.run(PredictSettings(**{**settings, **changes}))


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "predict", lambda _, sample: Oracle(sample.id))


@pytest.mark.usefixtures("oracle")
def test_a_seg_has_every_class_at_its_place(data: Path, run: Path, memo: Path, tmp_path: Path):
    """The library highdicom finds the labels of every slice by the UIDs of the images."""
    report = _predict(data, run, memo, tmp_path)
    assert report.files == ["<id>.dcm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.dcm", "second.dcm"]
    seg = highdicom.seg.segread(tmp_path / "first.dcm")
    assert [seg.get_segment_description(number).segment_label for number in (1, 2)] == ["left", "right"]
    images = [pydicom.dcmread(path) for path in (data / "images" / "first").iterdir()]
    images.sort(key=lambda one: one.ImagePositionPatient[2])
    found = seg.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in images], combine_segments=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(found, halves())


@pytest.mark.usefixtures("oracle")
def test_a_seg_names_the_program_its_version_and_the_images(data: Path, run: Path, memo: Path, tmp_path: Path):
    _predict(data, run, memo, tmp_path)
    seg = pydicom.dcmread(tmp_path / "first.dcm")
    image = pydicom.dcmread(next((data / "images" / "first").iterdir()))
    assert (seg.Manufacturer, seg.ManufacturerModelName) == ("diamant-pipeline", "diamant-pipeline")
    (algorithm,) = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "diamant-pipeline"
    assert algorithm.AlgorithmVersion == seg.SoftwareVersions != "0"
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 4
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert getattr(seg, keyword) == getattr(image, keyword)
    assert is_ours(tmp_path / "first.dcm")
    assert not is_ours(data / "masks" / "0.dcm")


@pytest.mark.usefixtures("oracle")
def test_predictions_are_labels_again(data: Path, run: Path, memo: Path, tmp_path: Path):
    """Labels that are read back are those of the first store."""
    _predict(data, run, memo, tmp_path / "out")
    extract(extract_settings(data, tmp_path / "s.zarr", memo, masks=tmp_path / "out"))
    again, first = AttentionStore.open(tmp_path / "s.zarr"), AttentionStore.open(data / "s.zarr")
    assert again.classes == first.classes
    for index in range(8):
        np.testing.assert_array_equal(again[index].mask, first[index].mask)


def test_the_same_prediction_has_the_same_uids_and_replaces_it(data: Path, run: Path, memo: Path, tmp_path: Path):
    found = []
    for _ in range(2):
        _predict(data, run, memo, tmp_path)
        found.append(pydicom.dcmread(tmp_path / "first.dcm").SOPInstanceUID)
    assert found[0] == found[1]


def test_a_seg_of_somebody_else_is_not_replaced(data: Path, run: Path, memo: Path, tmp_path: Path):
    theirs = tmp_path / "second.dcm"
    theirs.write_bytes((data / "masks" / "1.dcm").read_bytes())
    before = theirs.read_bytes()
    with pytest.raises(UsageError, match="not written by `predict`"):
        _predict(data, run, memo, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["second.dcm"]
    assert theirs.read_bytes() == before


def test_without_the_extra_nothing_is_predicted(
    data: Path, run: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UsageError, match=r"diamant-pipeline\[dicom\]"):
        _predict(data, run, memo, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_slices_that_were_samples_of_their_own_are_predicted_as_a_series(run: Path, memo: Path, tmp_path: Path):
    """Further outputs have one file for each slice; objects are pictures."""
    write_series(tmp_path / "images" / "chest", scan(), name="{}")
    report = _predict(tmp_path, run, memo, tmp_path / "out", overlay=True, table=True, instances="components")
    assert report.files == ["<id>.dcm", "<id>_overlay.png", "<id>_instances.png", "table.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".dcm") == ["chest.dcm"]
    assert len(list((tmp_path / "out").glob("chest_z00?_instances.png"))) == 4


def _gathered(source: Path, values: np.ndarray, content: Any = "classes") -> Gathered:
    classes = ["background", "organ", "tumour"]
    return Gathered(
        source=source,
        axis="axial",
        identifier="x",
        content=content,
        values=values,
        classes=classes,
        painter=MaskPainter.of(classes, None),
    )


def test_labels_that_overlap_are_in_one_file(data: Path, tmp_path: Path):
    from stages.imaging.pairing import Inputs, find_samples

    (sample,) = find_samples(Inputs(images=data / "images" / "first"), labels="ignored").samples
    bits = np.random.default_rng(0).integers(0, 4, (4, 22, 30)).astype(np.uint8)
    (tmp_path / "x.dcm").write_bytes(encode(_gathered(sample.image, bits, "labels"), label=None))
    seg = highdicom.seg.segread(tmp_path / "x.dcm")
    uids = [one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence]
    found = seg.get_pixels_by_source_instance(uids, ignore_spatial_locations=True)
    np.testing.assert_array_equal(found, np.stack([bits & 1, bits >> 1], axis=-1))


@pytest.mark.parametrize("name", ["CT_small.dcm", "examples_rgb_color.dcm", "JPEG2000.dcm"])
def test_single_files_have_a_seg_too(tmp_path: Path, name: str):
    """The files are of pydicom: a slice without its series, an ultrasound image in colour, a scintigram."""
    from stages.imaging.dicom.segments import SegmentPath, read_segmentation
    from stages.imaging.volumes.opened import open_volume

    source = Path(pydicom.data.get_testdata_file(name, download=False))
    facts = open_volume(source).facts
    assert fits(source)
    values = np.zeros((facts.planes, *facts.size), np.uint8)
    values[-1, 3:9, 4:11] = 2
    (tmp_path / "x.dcm").write_bytes(encode(_gathered(source, values), label=None))
    numbers = read_segmentation(tmp_path / "x.dcm").labels["tumour"]
    volume = open_volume(SegmentPath(tmp_path / "x.dcm", numbers, source))
    for plane in (0, facts.planes - 1):
        np.testing.assert_array_equal(volume.read(plane), (values[plane] == 2) * 255)


def test_frames_without_a_place_have_pictures(run: Path, memo: Path, tmp_path: Path):
    """A SEG cannot say where in a film of ultrasound a frame is, so every frame has a mask of its own."""
    source = Path(pydicom.data.get_testdata_file("examples_ybr_color.dcm", download=False))
    report = _predict(tmp_path, run, memo, tmp_path / "out", images=source)
    assert report.files == ["<id>.png"]
    assert len(list((tmp_path / "out").glob("examples_ybr_color_z0??.png"))) == 30


def test_a_prediction_without_foreground_is_written_too(data: Path, tmp_path: Path):
    source = next((data / "images" / "first").iterdir())
    (tmp_path / "x.dcm").write_bytes(encode(_gathered(source, np.zeros((1, 22, 30), np.uint8)), label=None))
    assert highdicom.seg.segread(tmp_path / "x.dcm").number_of_segments == 2

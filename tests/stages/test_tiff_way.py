"""The whole way of microscopy: OME-TIFF stacks and instance labels in, scores and label TIFFs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages import predict
from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.evaluate import run as evaluate
from stages.extract import run as extract
from stages.imaging.volumes.opened import open_volume
from stages.pretraining.images import read_images
from stages.runtime.progress import SILENT
from stages.settings import EvaluateSettings, PredictSettings, PretrainSettings
from stages.train import run as train
from store import AttentionStore
from tests.conftest import extract_settings, train_settings
from tests.stages.imaging.stacks import PLANES, cells, write_set


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with four stacks and their labels. Tests must not change it."""
    return write_set(tmp_path_factory.mktemp("stacks"), 4)


@pytest.fixture(scope="module")
def store(stacks: Path, memo: Path) -> Path:
    """Return a store of the stacks."""
    settings = extract_settings(
        stacks, stacks / "s.zarr", memo, masks=stacks / "labels", labels="instances", channels="GFP"
    )
    assert "channels: GFP as grey (--channels)" in extract(settings).input
    return stacks / "s.zarr"


@pytest.fixture(scope="module")
def run(store: Path, stacks: Path) -> Path:
    """Return a run that was trained for a few steps."""
    train(train_settings(store, stacks / "run", epochs=1, val=0, test=0))
    return stacks / "run"


def _predict(stacks: Path, run: Path, memo: Path, out: Path, **changes: Any) -> predict.PredictionReport:
    settings = {"images": stacks / "images", "run": run, "out": out, "memo": memo, "batch_size": 4}
    return predict.run(PredictSettings(**{**settings, **changes}))


def test_planes_and_instances_are_in_the_store(store: Path):
    found = AttentionStore.open(store)
    assert list(found.ids[:3]) == ["cells_0_z000", "cells_0_z001", "cells_0_z002"]
    assert found.description.images == {"window": "percentiles", "channels": ["GFP"]}
    assert set(found.column("objects")) == {4}
    assert len(set(found.column("group"))) == 4
    image = found[0].image
    assert (image[found[0].mask == 1].mean() - image[found[0].mask == 0].mean()) > 100


def test_a_stack_becomes_one_label_tiff(stacks: Path, run: Path, memo: Path, tmp_path: Path):
    """A page for each plane, readable by other programs, with the size of a pixel; the same bytes every time."""
    report = _predict(stacks, run, memo, tmp_path / "a", instances="components")
    names = [f"cells_{n}{end}" for n in range(4) for end in (".tif", "_instances.tif")]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)
    assert report.files == ["<id>.tif", "<id>_instances.tif"]
    for name in names:
        path = tmp_path / "a" / name
        with tifffile.TiffFile(path) as file:
            assert file.is_ome
            assert (file.series[0].axes, file.series[0].shape) == ("ZYX", (PLANES, 40, 48))
            assert file.series[0].dtype == ("u2" if "instances" in name else "u1")
        assert open_volume(path).facts.spacing_mm == pytest.approx((0.0005, 0.0005, 0.002))
        with Image.open(path) as opened:
            assert opened.n_frames == PLANES
    assert "channels: GFP as grey (the rule of the run)" in report.input
    _predict(stacks, run, memo, tmp_path / "b", instances="components")
    _predict(stacks, run, memo, tmp_path / "a", instances="components")  # replaces its own files
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_plane_is_at_its_place_and_objects_have_own_numbers(
    stacks: Path, run: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A network that returns the truth gives back the labels' foreground, and as many objects as there are regions."""
    from stages.prediction.full_size import Prediction
    from stages.prediction.inference import Predictor

    truth = {f"cells_{number}": cells(number)[1] for number in range(4)}

    def known(_: Predictor, sample: Any) -> Prediction:
        parent, _, plane = sample.id.rpartition("_z")
        inside = (truth[parent][int(plane)] > 0).astype(np.float32)
        return Prediction(np.stack([1 - inside, inside]), inside.shape)

    monkeypatch.setattr(Predictor, "predict", known)
    _predict(stacks, run, memo, tmp_path, instances="components")
    for name, labels in truth.items():
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{name}.tif"), (labels > 0) * 255)
        objects = tifffile.imread(tmp_path / f"{name}_instances.tif")
        np.testing.assert_array_equal(objects > 0, labels > 0)
        assert len(np.unique(objects)) == 1 + 4 * PLANES


def test_scores_are_those_at_the_original_size(stacks: Path, store: Path, run: Path, tmp_path: Path):
    evaluate(
        EvaluateSettings(
            store=store,
            run=run,
            out=tmp_path / "report",
            split="train",
            include_training=True,
            masks=stacks / "labels",
            instances="components",
            overlays=1,
        )
    )
    text = (tmp_path / "report" / "per_sample.csv").read_text()
    assert text.count("cells_0_z00") == PLANES


def test_masks_in_png_are_not_replaced_by_a_label_tiff_of_someone_else(
    stacks: Path, run: Path, memo: Path, tmp_path: Path
):
    tifffile.imwrite(tmp_path / "cells_1.tif", cells(1)[1], photometric="minisblack")
    with pytest.raises(UsageError, match=r"would overwrite cells_1\.tif"):
        _predict(stacks, run, memo, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cells_1.tif"]


def test_channels_that_a_new_file_does_not_have_are_a_problem(run: Path, memo: Path, tmp_path: Path):
    """The run's channels count; without a picture of them nothing is written."""
    (tmp_path / "images").mkdir()
    image = cells(9)[0]
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "RFP"]}}
    tifffile.imwrite(tmp_path / "images" / "x.ome.tif", image, metadata=metadata, photometric="minisblack")
    with pytest.raises(InputProblemsError, match=r"no channel 'GFP'.*0 DAPI, 1 RFP"):
        _predict(tmp_path, run, memo, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_of_a_single_page_do_not_fit_a_stack(memo: Path, tmp_path: Path):
    write_set(tmp_path / "set", 1)
    Image.fromarray(cells(0)[1][0].astype(np.uint8)).save(tmp_path / "set" / "labels" / "cells_0.tif")
    with pytest.raises(InputProblemsError, match=r"has 1 planes and its image cells_0\.ome\.tif 3"):
        extract(
            extract_settings(
                tmp_path / "set", tmp_path / "s.zarr", memo, masks=tmp_path / "set" / "labels", channels="1"
            )
        )


def test_a_stack_of_labels_does_not_fit_a_single_image(memo: Path, tmp_path: Path):
    """The first plane of the labels must not be taken without a word."""
    write_set(tmp_path, 1)
    (tmp_path / "images" / "cells_0.ome.tif").unlink()
    Image.fromarray(cells(0)[0][0, 1]).save(tmp_path / "images" / "cells_0.png")
    with pytest.raises(InputProblemsError, match=r"has 3 planes and its image cells_0\.png one"):
        extract(extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=tmp_path / "labels", labels="instances"))


def _pretrain_settings(folder: Path, **changes: Any) -> PretrainSettings:
    small = {"image_size": 32, "global_crop": 16, "local_crop": 8, "steps": 2, "batch_size": 4, "prototypes": 16}
    values = {"images": folder / "images", "out": folder / "w.safetensors", "head_width": 16, "device": "cpu", **small}
    return PretrainSettings(**{**values, **changes})


def test_pretraining_reads_stacks_and_their_masks(tmp_path: Path):
    """The masks of the watched planes are those of the same planes."""
    write_set(tmp_path, 2)
    for number in range(2):
        inside = (cells(number)[1] > 0) * np.uint8(255)
        inside[0] = 0
        tifffile.imwrite(tmp_path / "labels" / f"cells_{number}.tif", inside, photometric="minisblack", metadata=None)
    settings = _pretrain_settings(tmp_path, masks=tmp_path / "labels", channels="GFP")
    images = read_images(settings, SILENT)
    assert images.pixels.shape[0] == 2 * PLANES
    shares = [float((mask == 1).float().mean()) for mask in images.watched.masks]
    assert shares[0] == shares[3] == 0
    assert min(shares[1], shares[2], shares[4], shares[5]) > 0.05
    bright = [
        float(image[0][mask == 1].float().mean())
        for image, mask in zip(images.pixels, images.watched.masks, strict=True)
        if mask.any()
    ]
    assert min(bright) > 200


def test_pretraining_asks_for_channels_once_for_each_file(tmp_path: Path):
    write_set(tmp_path, 2)
    with pytest.raises(InputProblemsError, match="pretrain --channels DAPI,GFP") as error:
        read_images(_pretrain_settings(tmp_path), SILENT)
    assert len(error.value.problems) == 2


@pytest.mark.parametrize("channels", ["DAPI", "0,1"])
def test_a_run_is_not_scored_on_other_channels(stacks: Path, run: Path, memo: Path, tmp_path: Path, channels: str):
    other = {"masks": stacks / "labels", "labels": "instances", "channels": channels}
    extract(extract_settings(stacks, tmp_path / "s.zarr", memo, **other))
    settings = EvaluateSettings(store=tmp_path / "s.zarr", run=run, out=tmp_path / "report", split="all")
    with pytest.raises(CheckpointError, match=r"with --channels GFP, but those of .* with --channels (DAPI|0,1)"):
        evaluate(settings)

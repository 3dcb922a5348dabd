"""Extraction: the store holds the files and their attention, nothing is computed twice, broken files stay out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.errors import InputProblemsError, UsageError
from stages.extract import run
from stages.imaging.classes import ClassMap
from stages.imaging.decoding import read_image
from stages.imaging.masks import read_mask
from stages.imaging.resizing import resize_image
from stages.imaging.shrinking import shrink_labels
from store import AttentionStore
from store.check import verify_store
from tests.conftest import extract_settings


@pytest.fixture
def copies(phantoms: Path, tmp_path: Path) -> Path:
    """Return a folder with five phantoms that a test may change."""
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for file in sorted((phantoms / kind).iterdir())[:5]:
            shutil.copy(file, tmp_path / "set" / kind)
    return tmp_path / "set"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that collects the number of images of each call of the transformer."""
    calls: list[int] = []
    original = AttentionExtractor.extract

    def counting(self: AttentionExtractor, images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return original(self, images)

    monkeypatch.setattr(AttentionExtractor, "extract", counting)
    return calls


def test_the_store_holds_files_masks_and_attention(phantoms: Path, phantom_store: Path):
    """Every array of a sample equals the result of reading, resizing and extracting it alone."""
    store = AttentionStore.open(phantom_store)
    assert len(store) == 16
    assert verify_store(phantom_store) == []
    config = ExtractorConfig(
        model="untrained_tiny8", weights=None, input_size=(32, 48), layers=[-1], precision="float32"
    )
    extractor = AttentionExtractor.load(config, device="cpu", batch_size=1)
    assert store.recipe == extractor.recipe.to_dict()
    for sample in (store[0], store[11]):
        image = read_image(phantoms / "images" / f"{sample.id}.png")
        mask = read_mask(phantoms / "masks" / f"{sample.id}_segmentation.png", ClassMap.binary(), (36, 48))
        np.testing.assert_array_equal(sample.image, resize_image(image.pixels, (32, 40)))
        np.testing.assert_array_equal(sample.mask, shrink_labels(mask, None, (32, 40)).mask)
        maps = extractor.extract(resize_image(image.pixels, (32, 48))[None])[0]
        np.testing.assert_allclose(sample.attention, maps, rtol=2e-3)  # another batch size: the last bit may differ
        assert (sample.digest, sample.height, sample.width) == (image.digest, 36, 48)
    assert store.heads == [f"L5H{head}" for head in range(6)]
    assert store.grid == (4, 6)


def test_nothing_is_computed_twice(phantoms: Path, tmp_path: Path, computed: list[int]):
    """A second extraction, at another store size, takes all maps from the memo."""
    first, second = tmp_path / "a.zarr", tmp_path / "b.zarr"
    run(extract_settings(phantoms, first, tmp_path / "memo"))
    assert sum(computed) == 16
    run(extract_settings(phantoms, second, tmp_path / "memo", image_size=(24, 24)))
    assert sum(computed) == 16
    everything = range(16)
    np.testing.assert_array_equal(
        AttentionStore.open(first).read(everything).attention, AttentionStore.open(second).read(everything).attention
    )


def test_only_a_changed_image_is_computed_again(copies: Path, tmp_path: Path, computed: list[int]):
    """The memo uses the content of a file: a renamed image is not computed again, a changed one is."""
    run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo"))
    changed = copies / "images" / "phantom_0002.png"
    Image.open(changed).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(changed)
    for kind, ending in (("images", ""), ("masks", "_segmentation")):
        (copies / kind / f"phantom_0001{ending}.png").rename(copies / kind / f"renamed{ending}.png")
    computed.clear()
    run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo"))
    assert sum(computed) == 1


def test_an_interrupted_extraction_resumes_and_gives_the_same_store(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After an interruption, a second run gives byte for byte the store of an uninterrupted run."""
    whole, resumed = tmp_path / "whole.zarr", tmp_path / "resumed.zarr"
    run(extract_settings(phantoms, whole, tmp_path / "memo-1"))
    original, calls = AttentionExtractor.extract, []

    def dying(self: AttentionExtractor, images: np.ndarray) -> np.ndarray:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(images))
        return original(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(AttentionExtractor, "extract", dying)
        with pytest.raises(KeyboardInterrupt):
            run(extract_settings(phantoms, resumed, tmp_path / "memo-2"))
    assert not resumed.exists()
    report = run(extract_settings(phantoms, resumed, tmp_path / "memo-2"))
    assert report.computed == 16 - sum(calls)
    assert _bytes(whole) == _bytes(resumed)
    assert not list(tmp_path.glob(".*"))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_copies_of_an_image_are_computed_once(copies: Path, tmp_path: Path, computed: list[int]):
    """Two files with the same bytes are two samples with the same maps."""
    shutil.copy(copies / "images" / "phantom_0000.png", copies / "images" / "twin.png")
    shutil.copy(copies / "masks" / "phantom_0000_segmentation.png", copies / "masks" / "twin.png")
    run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo"))
    assert sum(computed) == 5
    store = AttentionStore.open(tmp_path / "s.zarr")
    np.testing.assert_array_equal(store[0].attention, store[5].attention)


def _spoil_truncated(copies: Path) -> str:
    file = copies / "images" / "phantom_0003.png"
    file.write_bytes(file.read_bytes()[:200])
    return "phantom_0003.png"


def _spoil_empty(copies: Path) -> str:
    (copies / "images" / "phantom_0001.png").write_bytes(b"")
    return "phantom_0001.png"


def _spoil_mask_size(copies: Path) -> str:
    Image.new("L", (10, 10)).save(copies / "masks" / "phantom_0004_segmentation.png")
    return "phantom_0004_segmentation.png"


def _spoil_mask_values(copies: Path) -> str:
    values = np.random.default_rng(0).integers(0, 4, (36, 48), dtype=np.uint8)
    Image.fromarray(values).save(copies / "masks" / "phantom_0000_segmentation.png")
    return "phantom_0000_segmentation.png"


def _spoil_stray_mask(copies: Path) -> str:
    Image.new("L", (48, 36)).save(copies / "masks" / "nobody.png")
    return "nobody.png"


SPOILERS = [_spoil_truncated, _spoil_empty, _spoil_mask_size, _spoil_mask_values, _spoil_stray_mask]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__.removeprefix("_spoil_"))
def test_a_bad_file_stops_the_run_and_leaves_the_old_store(copies: Path, tmp_path: Path, spoil: Callable[[Path], str]):
    """The message names the file. The older store stays byte for byte the same."""
    settings = extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo")
    run(settings)
    before = _bytes(tmp_path / "s.zarr")
    name = spoil(copies)
    with pytest.raises(InputProblemsError, match=name):
        run(settings)
    assert _bytes(tmp_path / "s.zarr") == before
    assert not list(tmp_path.glob(".*"))


def test_all_problems_are_reported_together(copies: Path, tmp_path: Path):
    """Five different faults in five files give one message with all of them and a remedy."""
    names = [spoil(copies) for spoil in SPOILERS]
    with pytest.raises(InputProblemsError, match="--on-error skip") as caught:
        run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo"))
    for name in names:
        assert name in str(caught.value)
    assert len(caught.value.problems) == 5


def test_skipping_leaves_the_bad_files_out_and_records_them(copies: Path, tmp_path: Path):
    """The store is sound and lists the names of the skipped files, without their folders."""
    names = {_spoil_truncated(copies), _spoil_mask_size(copies)}
    report = run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo", on_error="skip"))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert list(store.ids) == ["phantom_0000", "phantom_0001", "phantom_0002"]
    assert {skipped["where"] for skipped in store.description.skipped} == names
    assert all(name in str(report) for name in names)
    assert verify_store(tmp_path / "s.zarr") == []


def test_skipping_everything_is_a_failure(copies: Path, tmp_path: Path):
    """No empty store is written."""
    for file in (copies / "images").iterdir():
        file.write_bytes(b"not a picture")
    with pytest.raises(InputProblemsError, match="No sample is left"):
        run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo", on_error="skip"))
    assert not (tmp_path / "s.zarr").exists()


def test_images_without_masks_make_a_store_and_a_hint(phantoms: Path, tmp_path: Path):
    """All mask pixels are 255 (ignore), and the store marks the samples as not labelled."""
    report = run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", masks=None))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert not store.labelled.any()
    assert (store[3].mask == 255).all()
    assert report.hint == "no sample has a mask, so the store cannot be used for training or evaluation"


def test_the_hint_about_missing_masks_counts_samples_of_the_store(copies: Path, tmp_path: Path):
    """A broken image without a mask is skipped, so it is neither counted nor named."""
    for number in (0, 1):
        (copies / "masks" / f"phantom_000{number}_segmentation.png").unlink()
    (copies / "images" / "phantom_0000.png").write_bytes(b"")
    report = run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo", on_error="skip"))
    assert report.samples == 4
    assert report.hint == "note: no mask for 1 of 4 images; they are not trained on: phantom_0001"


def test_classes_are_mapped_and_remembered(copies: Path, tmp_path: Path):
    """Named mask values become indices, the background first. The store keeps names and values."""
    classes = {"lesion": 255, "skin": 0}
    run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo", classes=classes))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.classes == ["skin", "lesion"]
    assert store.description.mask_values == classes
    mask = np.asarray(Image.open(copies / "masks" / "phantom_0000_segmentation.png"))
    assert (store[0].mask == 1).mean() == pytest.approx((mask == 255).mean(), abs=0.02)


def test_a_table_gives_groups(copies: Path, tmp_path: Path):
    """The store holds the ids and groups of the table."""
    table = copies / "table.csv"
    lines = [
        f"case{n},images/phantom_000{n}.png,masks/phantom_000{n}_segmentation.png,patient{n // 2}" for n in range(4)
    ]
    table.write_text("\n".join(["id,image,mask,group", *lines]) + "\n")
    run(extract_settings(copies, tmp_path / "s.zarr", tmp_path / "memo", masks=None, csv=table))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert list(store.ids) == ["case0", "case1", "case2", "case3"]
    assert list(store.column("group")) == ["patient0", "patient0", "patient1", "patient1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"model": "dino_vitz8"}, "dino_vits8", id="unknown_model"),
        pytest.param({"attention_size": (32, 50)}, r"48.*56", id="not_divisible_by_the_patch"),
        pytest.param({"layers": (6,)}, "layer", id="no_such_layer"),
        pytest.param({"device": "cuda:9"}, "cuda", id="no_such_device"),
        pytest.param({"classes": {"skin": 0}}, "classes", id="one_class"),
        pytest.param({"images": Path("nowhere")}, "nowhere", id="no_such_folder"),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(phantoms: Path, tmp_path: Path, changes, message):
    """The error comes before anything is computed or written."""
    with pytest.raises(UsageError, match=message):
        run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", **changes))
    assert not (tmp_path / "s.zarr").exists()


def test_a_folder_that_is_no_store_is_not_replaced(phantoms: Path, tmp_path: Path, memo: Path):
    """A mistyped --store destroys no data."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("three years")
    with pytest.raises(UsageError, match="did not write"):
        run(extract_settings(phantoms, tmp_path / "precious", memo))
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "three years"

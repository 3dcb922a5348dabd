"""`pipeline inspect`: groups, objects, lost classes, labels that overlap, and the shares of the classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.inspection import CHEAP_PIXELS, cheap_class_shares, describe_store, draw_store
from pipeline.inspection_tables import MOST_SKIPPED, show_store
from stages.errors import CheckpointError
from store import Sample, StoreCorruptError, UsageError
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
from tests.store.conformance import CASES, write_case

MakeStore = Callable[..., Path]


def sample_of(index: int, layout: Layout, mask: np.ndarray, **values: object) -> Sample:
    defaults = {"objects": 3, "lost_objects": 0, "lost_classes": "", "perceptual_hash": ""}
    return replace(random_sample(index, layout), mask=mask, **{**defaults, **values})


def write(path: Path, layout: Layout, samples: list[Sample]) -> Path:
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)
    return path


@pytest.fixture
def three_classes(layout: Layout, tmp_path: Path) -> Path:
    """Write four samples: a quarter `gland`, half of the second ignored, a lost `vessel`, and one without a mask."""
    layout = replace(
        layout,
        classes=["background", "gland", "vessel"],
        columns=("objects", "lost_objects", "lost_classes"),
        instances=True,
    )
    empty = np.zeros(layout.size, np.uint8)
    gland, halved = empty.copy(), empty.copy()
    gland[:5, :7] = 1
    halved[:5] = 255
    no_objects = np.zeros(layout.size, np.uint16)
    samples = [
        sample_of(0, layout, gland, instances=gland.astype(np.uint16)),
        sample_of(1, layout, halved, instances=no_objects),
        sample_of(2, layout, empty, instances=no_objects, lost_objects=2, lost_classes="2", group="patient-0"),
        sample_of(3, layout, empty + 255, instances=no_objects, objects=0, labelled=False),
    ]
    return write(tmp_path / "s.zarr", layout, samples)


@pytest.fixture
def overlapping(layout: Layout, tmp_path: Path) -> Path:
    """Write one sample: label `red` in the upper half, `blue` in the left half, and one ignored row."""
    layout = replace(layout, multilabel=True, classes=["background", "red", "blue"])
    mask = np.zeros(layout.size, np.uint8)
    mask[:5] |= 1
    mask[:, :7] |= 2
    mask[-2:] = 255
    return write(tmp_path / "bits.zarr", layout, [replace(random_sample(0, layout), mask=mask)])


def test_what_was_lost_is_described(three_classes: Path, capsys: pytest.CaptureFixture[str]):
    described = describe_store(three_classes, stats=False)
    assert described["objects"] == {"count": 9, "lost": 2, "samples_with_lost": 1, "lost_classes": {"vessel": 1}}
    assert described["groups"] == {"count": 2, "largest": {"name": "patient-0", "samples": 3}}
    assert described["instances"] is True
    assert described["multilabel"] is False
    assert "class_shares" not in described
    show_store(described)
    shown = " ".join(capsys.readouterr().out.split())
    assert "objects 9 in the mask files; too small for 10 × 14 pixels: 2 in 1 sample" in shown
    assert "lost classes vessel in 1 sample" in shown
    assert "instances yes" in shown
    assert "groups 2; the largest is patient-0 (3 samples)" in shown


def test_class_shares_leave_out_ignored_pixels_and_samples_without_a_mask(
    three_classes: Path, capsys: pytest.CaptureFixture[str]
):
    """Of 140 + 70 + 140 pixels 35 are gland."""
    described = describe_store(three_classes, stats=True)
    assert described["class_shares"] == pytest.approx({"background": 0.9, "gland": 0.1, "vessel": 0})
    show_store(described)
    shown = " ".join(capsys.readouterr().out.split())
    assert "background 90.00% gland 10.00% vessel 0.00%" in shown


def test_shares_of_labels_that_overlap_count_every_label(overlapping: Path, capsys: pytest.CaptureFixture[str]):
    """Of the 112 pixels that count 70 are red, 56 are blue, 35 of them both, and 21 neither."""
    described = describe_store(overlapping, stats=True)
    assert described["class_shares"] == pytest.approx({"background": 21 / 112, "red": 70 / 112, "blue": 56 / 112})
    assert described["multilabel"] is True
    assert all(head["separation"] is not None for head in described["head_statistics"])
    show_store(described)
    assert "background, red, blue; they may overlap" in " ".join(capsys.readouterr().out.split())


def test_a_picture_of_labels_that_overlap_is_drawn(overlapping: Path, tmp_path: Path):
    draw_store(overlapping, out=tmp_path / "heads.png", samples=1)
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")


def test_the_file_of_a_picture_is_named_and_not_suggested_again(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
):
    described = describe_store(make_store(3), stats=False)
    show_store(described)
    assert "--picture heads.png" in capsys.readouterr().err
    show_store(described, picture=Path("drawn/heads.png"))
    said = capsys.readouterr().err
    assert "result: drawn/heads.png" in said
    assert "--picture" not in said


def test_a_plain_store_has_no_objects(make_store: MakeStore, capsys: pytest.CaptureFixture[str]):
    described = describe_store(make_store(3), stats=False)
    assert (described["objects"], described["instances"]) == (None, False)
    show_store(described)
    shown = capsys.readouterr().out
    assert "objects" not in shown
    assert "instances" not in shown
    assert "groups" in shown


def test_samples_without_patients_are_groups_of_their_own(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    samples = [random_sample(index, layout) for index in range(3)]
    path = write(tmp_path / "s.zarr", layout, [replace(sample, group=sample.id) for sample in samples])
    described = describe_store(path, stats=False)
    assert described["groups"] == {"count": 3, "largest": None}
    show_store(described)
    assert "every sample is a group of its own" in capsys.readouterr().out


def test_an_empty_store_and_one_without_masks_are_valid_json(make_store: MakeStore, layout: Layout, tmp_path: Path):
    ignored = replace(random_sample(0, layout), mask=np.full(layout.size, 255, np.uint8), labelled=False)
    for path in (make_store(0), write(tmp_path / "s.zarr", layout, [ignored])):
        described = json.loads(json.dumps(describe_store(path, stats=True), allow_nan=False))
        assert described["class_shares"] is None
        show_store(described)


def test_a_store_with_malformed_lost_classes_is_an_error(tmp_path: Path):
    (case,) = (case for case in CASES if case.name == "lost_classes_spaced")
    with pytest.raises(StoreCorruptError, match=r"s\.zarr: `lost_classes` has ' 1', which is no list of classes"):
        describe_store(write_case(case, tmp_path / "s.zarr"), stats=False)


def test_only_an_earlier_picture_of_heads_is_replaced(make_store: MakeStore, tmp_path: Path):
    """A link is looked through; a picture of the user and a text with the name of a picture are kept."""
    store, out = make_store(2), tmp_path / "heads.png"
    for _ in range(2):
        draw_store(store, out=out, samples=1)
    Image.new("RGB", (4, 4)).save(tmp_path / "mine.png")
    (tmp_path / "text.png").write_text("mine")
    (tmp_path / "link.png").symlink_to(tmp_path / "mine.png")
    for name in ("mine.png", "text.png", "link.png"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UsageError, match="did not write this file"):
            draw_store(store, out=tmp_path / name, samples=1)
        assert (tmp_path / name).read_bytes() == before


def test_what_a_person_asks_comes_first_and_the_rest_on_request(
    three_classes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Without `--all` there is one short table: no recipe, no digest, no array."""
    monkeypatch.setenv("COLUMNS", "80")
    described = describe_store(three_classes, stats=False)
    show_store(described)
    short = capsys.readouterr()
    rows = [line.split()[0] for line in short.out.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    assert rows[1:4] == ["samples", "classes", "groups"]
    assert "4 (3 with a mask)" in short.out
    assert "size 10 × 14 pixels in the store; the images have 100-103 × 200-203" in " ".join(short.out.split())
    assert "2 maps of 2 × 3 by test" in short.out
    for hidden in (described["recipe_sha256"][:16], "L1H0", "uint8", "shards"):
        assert hidden not in short.out
    assert f"pipeline view {three_classes}" in short.err
    assert max(map(len, short.out.splitlines())) <= 80
    show_store(described, everything=True)
    long = capsys.readouterr().out
    for shown in (described["recipe_sha256"][:16], "L1H0, L1H1", "uint8", "shards", "input_size"):
        assert shown in long


def test_the_keys_of_json_stay(make_store: MakeStore):
    """Programs read them."""
    keys = {
        "store", "version", "count", "labelled", "classes", "multilabel", "instances", "groups", "objects", "heads",
        "recipe", "recipe_sha256", "contents_sha256", "upgraded_from", "size", "masks", "arrays", "files", "bytes",
        "skipped",
    }  # fmt: skip
    described = describe_store(make_store(2), stats=True)
    assert keys <= described.keys()
    assert described.keys() - keys == {
        "class_shares", "head_statistics", "original_sizes", "parents", "weights_licence",
    }  # fmt: skip
    assert described["original_sizes"] == {"height": [100, 101], "width": [200, 201]}


def test_shares_are_shown_without_being_asked_for_where_they_are_cheap(
    three_classes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    shares = cheap_class_shares(three_classes)
    show_store(describe_store(three_classes, stats=False), shares=shares)
    shown = " ".join(capsys.readouterr().out.split())
    assert "background 90.0%, gland 10.0%, vessel 0.0% of the pixels" in shown
    assert CHEAP_PIXELS > 1000 * 224 * 224
    monkeypatch.setattr("pipeline.inspection.CHEAP_PIXELS", 4 * 10 * 14 - 1)
    assert cheap_class_shares(three_classes) is None


def test_a_damaged_mask_leaves_the_shares_out_and_is_said(make_store: MakeStore, capsys: pytest.CaptureFixture[str]):
    path = make_store(2)
    (path / "mask" / "c.0.0.0").unlink()
    assert cheap_class_shares(path) is None
    assert "mask" in capsys.readouterr().err


def test_the_splits_of_a_run_are_counted_by_image(
    phantom_store: Path, trained: Path, make_store: MakeStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """Samples that the run does not know are named; a folder without a run is an error."""
    described = describe_store(phantom_store, stats=False, run=trained)
    assert (sum(described["splits"].values()), described["splits"]["none"]) == (16, 0)
    assert min(described["splits"][name] for name in ("train", "val", "test")) > 0
    show_store(described)
    assert "splits train 8, val 4, test 4" in " ".join(capsys.readouterr().out.split())
    show_store(describe_store(make_store(2), stats=False, run=trained))
    assert "train 0, val 0, test 0; the run does not know 2" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CheckpointError, match=r"splits\.csv: is missing"):
        describe_store(phantom_store, stats=False, run=tmp_path)


def test_only_some_inputs_that_were_left_out_are_listed(make_store: MakeStore, capsys: pytest.CaptureFixture[str]):
    skipped = [{"where": f"{number}.png", "what": "is damaged"} for number in range(MOST_SKIPPED + 3)]
    described = {**describe_store(make_store(1), stats=False), "skipped": skipped}
    show_store(described)
    shown = capsys.readouterr().err
    assert shown.count("is damaged") == MOST_SKIPPED
    assert "3 more; --all lists them" in shown
    show_store(described, everything=True)
    assert capsys.readouterr().err.count("is damaged") == MOST_SKIPPED + 3


def test_advice_quotes_a_path_for_the_shell(make_store: MakeStore, capsys: pytest.CaptureFixture[str]):
    show_store(describe_store(make_store(1, name="my store.zarr"), stats=False))
    assert "my store.zarr'" in capsys.readouterr().err

"""Phantoms: reproducible files, masks that fit their images, and no loss of a user's files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages import phantom
from stages.errors import UsageError
from stages.phantoms.drawing import WITHOUT_LESION, Phantom, draw_phantom
from stages.settings import PhantomSettings

QUARTERS_OF_VERSION_1 = {
    "phantom_0000": ([(166.6, 125.5, 99.4), (167.2, 126.9, 102.9), (169.6, 128.8, 102.0), (173.0, 128.6, 104.4)], 430),
    "phantom_0001": ([(252.4, 211.7, 161.9), (210.0, 156.6, 117.4), (248.2, 192.6, 146.4), (201.3, 142.1, 106.8)], 962),
    "phantom_0002": ([(158.6, 123.5, 90.7), (158.8, 123.7, 90.5), (157.9, 122.2, 89.3), (148.0, 115.0, 84.4)], 93),
    "phantom_0003": ([(174.0, 133.1, 131.8), (195.4, 156.8, 156.6), (180.6, 125.4, 123.5), (214.5, 165.1, 166.2)], 669),
}
"""Mean (red, green, blue) of the upper left, upper right, lower left and lower right quarter; lesion pixels."""


@pytest.fixture
def settings(tmp_path: Path) -> PhantomSettings:
    return PhantomSettings(out=tmp_path / "drawn", samples=4, image_size=(48, 64), seed=3)


@pytest.fixture(scope="module")
def many() -> list[Phantom]:
    """Draw enough small phantoms to estimate fractions."""
    return [draw_phantom(40, 48, np.random.default_rng(seed)) for seed in range(300)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shares(phantoms: list[Phantom]) -> NDArray[np.float64]:
    return np.array([drawn.mask.mean() / 255 for drawn in phantoms])


def test_images_and_masks_have_the_documented_names_and_formats(settings: PhantomSettings):
    """The folder holds what `extract` reads: RGB images and grey masks of 0 and 255, in the size asked for."""
    phantom.run(settings)

    names = [f"phantom_{sample:04d}" for sample in range(4)]
    images = [f"images/{name}.png" for name in names]
    masks = [f"masks/{name}_segmentation.png" for name in names]
    assert sorted(contents(settings.out)) == [*images, *masks, "phantom.json"]
    for image, mask in zip(images, masks, strict=True):
        with Image.open(settings.out / image) as opened:
            assert (opened.mode, opened.size) == ("RGB", (64, 48))
        with Image.open(settings.out / mask) as opened:
            assert (opened.mode, opened.size) == ("L", (64, 48))
            assert set(np.unique(np.asarray(opened))) <= {0, 255}


def test_same_settings_give_the_same_bytes(settings: PhantomSettings, tmp_path: Path):
    """The files depend on the settings only, and not on the path of the folder."""
    elsewhere = replace(settings, out=tmp_path / "elsewhere")
    phantom.run(settings)
    phantom.run(elsewhere)

    assert contents(settings.out) == contents(elsewhere.out)


def test_another_seed_gives_other_images(settings: PhantomSettings, tmp_path: Path):
    """No image is the same with another seed."""
    other = replace(settings, seed=4, out=tmp_path / "other")
    phantom.run(settings)
    phantom.run(other)

    first, second = contents(settings.out), contents(other.out)
    images = [name for name in first if name.startswith("images/")]
    assert images
    assert all(first[name] != second[name] for name in images)


def test_more_samples_begin_with_the_same_ones(settings: PhantomSettings, tmp_path: Path):
    """Sample i depends on (seed, i) only."""
    more = replace(settings, samples=7, out=tmp_path / "more")
    phantom.run(settings)
    phantom.run(more)

    few, larger = contents(settings.out), contents(more.out)
    assert few.keys() < larger.keys()
    drawn = [name for name in few if name != "phantom.json"]
    assert drawn
    assert all(few[name] == larger[name] for name in drawn)


def test_drawings_of_version_1_stay_the_same(settings: PhantomSettings):
    """A change of the drawing code that changes images needs a new version in `phantom.json`.

    The test compares the mean colours of the four quarters of each image and the number of lesion pixels. The tolerance
    allows for rounding on other machines.
    """
    phantom.run(settings)

    assert json.loads((settings.out / "phantom.json").read_text())["phantom"]["version"] == 1
    for name, (colours, lesion) in QUARTERS_OF_VERSION_1.items():
        image = np.asarray(Image.open(settings.out / "images" / f"{name}.png")).astype(float)
        mask = np.asarray(Image.open(settings.out / "masks" / f"{name}_segmentation.png"))
        np.testing.assert_allclose(image.reshape(2, 24, 2, 32, 3).mean(axis=(1, 3)).reshape(4, 3), colours, atol=0.5)
        assert abs(int((mask == 255).sum()) - lesion) <= 3


def test_a_few_images_have_no_lesion(many: list[Phantom]):
    """About 3 % of the masks are empty, so that later stages are tried with empty masks."""
    empty = float((shares(many) == 0).mean())

    assert 0.005 < empty < 0.08


def test_without_images_of_skin_only_the_others_stay_the_same(settings: PhantomSettings, tmp_path: Path):
    """With a share of 0 every mask has a lesion, and images that had one keep their bytes."""
    settings = replace(settings, samples=20, without_lesion=0.3)
    every = replace(settings, without_lesion=0.0, out=tmp_path / "every")
    phantom.run(settings)
    phantom.run(every)

    first, second = contents(settings.out), contents(every.out)
    assert json.loads(second["phantom.json"])["phantom"]["without_lesion"] == 0
    differing = {Path(name).stem.removesuffix("_segmentation") for name in first if first[name] != second[name]}
    empty = {
        file.stem.removesuffix("_segmentation")
        for file in (settings.out / "masks").iterdir()
        if not np.asarray(Image.open(file)).any()
    }
    assert empty
    assert differing == empty | {"phantom"}
    assert all(np.asarray(Image.open(file)).any() for file in (every.out / "masks").iterdir())


def test_the_usual_share_of_skin_only_leaves_the_description_as_it_was(settings: PhantomSettings):
    """The default draws what earlier versions drew, so the file of settings has the same bytes too."""
    phantom.run(settings)

    drawn = json.loads((settings.out / "phantom.json").read_text())["phantom"]
    assert list(drawn) == ["version", "samples", "size", "seed"]
    assert settings.without_lesion == WITHOUT_LESION


def test_lesions_are_small_and_large_but_never_the_frame(many: list[Phantom]):
    """Lesions cover about 1 to 70 % of the frame."""
    present = shares(many)[shares(many) > 0]

    assert present.min() < 0.04
    assert present.max() < 0.8
    assert 0.1 < float(np.median(present)) < 0.3
    assert float((present > 0.4).mean()) > 0.05


def test_some_lesions_are_cut_by_the_frame_and_most_are_not(many: list[Phantom]):
    """Positions vary, and a lesion may extend beyond the frame."""
    cut = [bool(m[0].any() or m[-1].any() or m[:, 0].any() or m[:, -1].any()) for m in (drawn.mask for drawn in many)]

    assert 0.1 < float(np.mean(cut)) < 0.6


def test_the_mask_lies_on_the_lesion(many: list[Phantom]):
    """Pixels inside the mask are darker on average than those outside, so mask and image match."""
    differences = []
    for drawn in many:
        inside = drawn.mask > 0
        if inside.any():
            grey = drawn.image.mean(axis=2)
            differences.append(grey[~inside].mean() - grey[inside].mean())

    assert float(np.mean(differences)) > 15
    assert float(np.mean(np.array(differences) > 0)) > 0.75


def test_darkness_alone_does_not_find_the_lesion(many: list[Phantom]):
    """Even the best threshold for each image gives a mediocre Dice: brightness alone is not enough."""
    scores = []
    for drawn in many[:100]:
        inside = drawn.mask > 0
        if inside.any():
            grey = drawn.image.mean(axis=2)
            dark = [grey <= level for level in range(5, 255, 5)]
            scores.append(max(2 * (d & inside).sum() / (d.sum() + inside.sum()) for d in dark))

    assert 0.55 < float(np.mean(scores)) < 0.85


@pytest.mark.parametrize("size", [(32, 32), (33, 97), (120, 35)], ids=["smallest", "wide", "tall"])
def test_any_size_can_be_drawn(size: tuple[int, int]):
    """Odd and narrow sizes give images and masks of exactly that size."""
    for seed in range(12):
        drawn = draw_phantom(*size, np.random.default_rng(seed))

        assert drawn.image.shape == (*size, 3)
        assert drawn.mask.shape == size
        assert drawn.image.dtype == drawn.mask.dtype == np.uint8


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param({"samples": 0}, "samples", id="no_samples"),
        pytest.param({"image_size": (31, 64)}, "image_size", id="too_low"),
        pytest.param({"image_size": (64, 8)}, "image_size", id="too_narrow"),
        pytest.param({"seed": -1}, "seed", id="negative_seed"),
    ],
)
def test_settings_out_of_range_are_usage_errors(settings: PhantomSettings, changes: dict[str, object], word: str):
    """The message names the setting, and nothing is written."""
    with pytest.raises(UsageError, match=word):
        phantom.run(replace(settings, **changes))  # type: ignore[arg-type]

    assert list(settings.out.parent.iterdir()) == []


def test_an_older_folder_of_phantoms_is_replaced_completely(settings: PhantomSettings):
    """Fewer samples leave none of the earlier ones behind, and no temporary folder remains."""
    phantom.run(settings)
    phantom.run(replace(settings, samples=2))

    assert len(list((settings.out / "images").iterdir())) == 2
    assert [path.name for path in settings.out.parent.iterdir()] == ["drawn"]


def test_an_empty_folder_is_filled(settings: PhantomSettings):
    """An empty folder that exists already is used."""
    settings.out.mkdir()

    phantom.run(settings)

    assert (settings.out / "phantom.json").is_file()


def test_a_folder_that_this_stage_did_not_write_is_not_replaced(settings: PhantomSettings):
    """A user's images are never deleted, even if they have the names of phantoms."""
    mine = settings.out / "images" / "phantom_0000.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")

    with pytest.raises(UsageError, match="did not write"):
        phantom.run(settings)

    assert contents(settings.out) == {"images/phantom_0000.png": b"mine"}


@pytest.mark.parametrize("name", ["notes.txt", "images/melanoma.jpg", "masks/deeper/phantom_0000_segmentation.png"])
def test_a_folder_with_an_added_file_is_not_replaced(settings: PhantomSettings, name: str):
    """A folder of phantoms with one other file in it is not replaced."""
    phantom.run(settings)
    added = settings.out / name
    added.parent.mkdir(exist_ok=True)
    added.write_text("mine")
    before = contents(settings.out)

    with pytest.raises(UsageError, match="did not write"):
        phantom.run(settings)

    assert contents(settings.out) == before


def test_a_file_added_while_drawing_is_detected(settings: PhantomSettings):
    """The folder is checked again just before it is replaced."""
    phantom.run(settings)

    def add_a_file(samples: Sequence[int], _description: str) -> Iterable[int]:
        (settings.out / "late.txt").write_text("mine")
        return samples

    with pytest.raises(UsageError, match="did not write"):
        phantom.run(settings, progress=add_a_file)

    assert (settings.out / "late.txt").read_text() == "mine"


def test_a_file_at_the_path_of_the_folder_is_not_replaced(settings: PhantomSettings):
    """A file at the path of the folder is not replaced."""
    settings.out.write_text("mine")

    with pytest.raises(UsageError, match="is a file"):
        phantom.run(settings)

    assert settings.out.read_text() == "mine"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError], ids=["ctrl_c", "disk_full"])
def test_interrupted_drawing_leaves_the_old_folder_unchanged(settings: PhantomSettings, stop: type[BaseException]):
    """The old folder is unchanged until the new one is complete, and the incomplete one is removed."""
    phantom.run(settings)
    before = contents(settings.out)

    def stop_after_two(samples: Sequence[int], _description: str) -> Iterator[int]:
        yield from samples[:2]
        raise stop

    with pytest.raises(stop):
        phantom.run(replace(settings, seed=9), progress=stop_after_two)

    assert contents(settings.out) == before
    assert [path.name for path in settings.out.parent.iterdir()] == ["drawn"]


def test_progress_sees_every_sample(settings: PhantomSettings):
    """The caller's progress receives all sample numbers and the description."""
    seen: list[tuple[list[int], str]] = []

    def remember(samples: Sequence[int], description: str) -> Iterable[int]:
        seen.append((list(samples), description))
        return samples

    phantom.run(settings, progress=remember)

    assert seen == [([0, 1, 2, 3], "drawing")]

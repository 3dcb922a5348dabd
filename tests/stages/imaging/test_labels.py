"""Labels of an image: kinds of labels, several files, arrays, soft and lossy masks, and the recorded rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.imaging.labels import LabelRules, Labels, read_labels
from stages.imaging.samples import LabelFile, SourceSample
from tests.stages.imaging.deep_files import save_deep_png

SIZE = (4, 6)
Save = Callable[..., LabelFile]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that saves an array as a picture or `.npz`, and returns the label file."""

    def make(values: Any, name: str = "m.png", *, label: str = "", dtype: Any = np.uint8, **options: Any) -> LabelFile:
        pixels = np.asarray(values, dtype)
        if name.endswith(".npz"):
            np.savez(tmp_path / name, image=pixels.astype(np.float32), label=pixels)
        else:
            Image.fromarray(pixels).save(tmp_path / name, **options)
        return LabelFile(tmp_path / name, label)

    return make


def rows(*values: int) -> np.ndarray:
    """Return an array of SIZE whose pixels start with the values; the others are 0."""
    pixels = np.zeros(SIZE, np.int64)
    pixels.flat[: len(values)] = values
    return pixels


def read(*files: LabelFile, **rules: Any) -> Labels:
    """Return the labels of one image whose rules are made for these files."""
    made = LabelRules.for_samples([SourceSample("a", Path("a.png"), files)], **rules)
    labels = read_labels(files, made, SIZE)
    assert labels.mask.dtype == np.uint8
    return labels


def first(labels: Labels, count: int) -> list[int]:
    """Return the first indices of the mask, after checking that the others are 0."""
    assert not labels.mask.flat[count:].any()
    values: list[int] = labels.mask.flat[:count].tolist()
    return values


def refusal(*files: LabelFile, **rules: Any) -> str:
    """Return the only problem that reading raises, with the name of the file."""
    with pytest.raises(InputProblemsError) as caught:
        read(*files, **rules)
    (problem,) = caught.value.problems
    return f"{Path(problem.where).name}: {problem.what}"


def test_ranges_and_lists_are_classes(save: Save) -> None:
    """Every value of a range or list gets the class's index; `ignore` wins over a range that it lies in."""
    classes = {"low": "1-99", "high": "100+>=200", "skin": 0, "ignore": 50}
    assert first(read(save(rows(1, 99, 100, 200, 255, 50)), classes=classes), 6) == [1, 1, 2, 2, 2, 255]
    assert "150 (1 pixels)" in refusal(save(rows(150)), classes=classes)


def test_the_order_of_classes_does_not_swap_them(save: Save) -> None:
    """The class with the value 0 is the background, whatever stands first."""
    file = save(rows(255, 255))
    for classes in ({"lesion": 255, "skin": 0}, {"skin": 0, "lesion": 255}, {"lesion": ">0"}):
        assert first(read(file, classes=classes), 3) == [1, 1, 0]


def test_two_masks_of_one_image_are_united(save: Save) -> None:
    """BUSI has a file per lesion: foreground is what any of them marks."""
    assert first(read(save(rows(255, 0, 0)), save(rows(0, 0, 255), "n.png")), 3) == [1, 0, 1]


def test_united_masks_of_several_classes_may_not_contradict_each_other(save: Save) -> None:
    """Equal classes may overlap. Different ones are an error with the number of pixels and both names."""
    classes = {"skin": 0, "a": 1, "b": 2, "ignore": 9}
    one = save(rows(1, 1, 0, 9))
    assert first(read(one, save(rows(1, 0, 2, 1), "n.png"), classes=classes), 4) == [1, 1, 2, 255]
    message = refusal(one, save(rows(2, 2), "n.png"), classes=classes)
    assert message.startswith("n.png: 2 pixels are b here and a in another file")
    assert "--labels multilabel" in message


def test_a_file_per_class_makes_classes_in_natural_order(save: Save) -> None:
    """`label 2` comes before `label 10`; the name `ignore` makes ignored pixels."""
    files = (
        save(rows(255, 0, 0), "a.png", label="label 10"),
        save(rows(0, 255, 0), "b.png", label="label 2"),
        save(rows(0, 0, 255), "c.png", label="ignore"),
    )
    rules = LabelRules.for_samples([SourceSample("a", Path("a.png"), files)])
    assert rules.classes.names == ("background", "label 2", "label 10")
    assert first(read(*files), 3) == [2, 1, 255]


def test_a_file_per_class_may_not_overlap_another(save: Save) -> None:
    """The message offers to keep both labels."""
    files = (save(rows(255), "a.png", label="a"), save(rows(255), "b.png", label="b"))
    assert "b.png: 1 pixels are b here and a in another file" in refusal(*files)
    labels = read(*files, kind="multilabel")
    assert first(labels, 1) == [0b11]
    assert labels.instances is None


def test_the_files_of_all_samples_make_the_classes(save: Save) -> None:
    """A class that one image lacks still has its index in it; `--classes` sets the order and the names that count."""
    a, b = save(rows(255), "a.png", label="a"), save(rows(0, 255), "b.png", label="b")
    samples = [SourceSample("x", Path("x.png"), (a,)), SourceSample("y", Path("y.png"), (b,))]
    rules = LabelRules.for_samples(samples)
    assert read_labels((b,), rules, SIZE).mask.flat[1] == 2
    rules = LabelRules.for_samples(samples, classes={"skin": 0, "b": 1, "a": 2})
    assert rules.classes.names == ("skin", "b", "a")
    assert read_labels((b,), rules, SIZE).mask.flat[1] == 1
    with pytest.raises(UsageError, match="the label files name b, and --classes does not"):
        LabelRules.for_samples(samples, classes={"skin": 0, "a": 1})


def test_a_mask_without_a_class_among_files_per_class_is_refused(save: Save) -> None:
    """It would count as the first of the classes."""
    files = (save(rows(255), "a.png", label="a"), save(rows(0, 255), "b.png", label="b"), save(rows(0, 0, 255)))
    assert "m.png: does not name its class" in refusal(*files)


def test_seven_labels_fit_and_eight_do_not(save: Save) -> None:
    """Each label has one bit of a mask. The message counts them."""
    files = [save(rows(*[0] * index, 255), f"{index}.png", label=f"l{index}") for index in range(8)]
    assert first(read(*files[:7], kind="multilabel"), 7) == [1, 2, 4, 8, 16, 32, 64]
    with pytest.raises(UsageError, match=r"8 labels .* at most 7"):
        read(*files, kind="multilabel")


def test_multilabel_without_labels_asks_for_them(save: Save) -> None:
    """A label is never guessed from a file without one."""
    with pytest.raises(UsageError, match=r"--mask-pattern '\{id\}_\{label\}.png'"):
        read(save(rows(255)), kind="multilabel")
    named = save(rows(255), "a.png", label="a")
    assert "m.png: has no label" in refusal(named, save(rows(255)), kind="multilabel")


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(np.uint8, "m.png"), (np.uint16, "m.png"), (np.int32, "m.tif"), (np.float32, "m.tif"), (np.int64, "m.npz")],
)
def test_every_value_is_an_object(save: Save, dtype: Any, name: str) -> None:
    """Objects are numbered from 1 without gaps, in 8, 16 and 32 bits; an object may be in two pieces."""
    labels = read(save(rows(7, 0, 200, 7, 9), name, dtype=dtype), kind="instances")
    assert labels.instances is not None
    assert labels.instances.dtype == np.int32
    assert labels.instances.flat[:6].tolist() == [1, 0, 3, 1, 2, 0]
    assert first(labels, 5) == [1, 0, 1, 1, 1]


def test_large_numbers_of_objects(save: Save) -> None:
    """Numbers beyond 24 bits are objects too."""
    labels = read(save(rows(2**30, 5, 2**30 + 1), "m.tif", dtype=np.int32), kind="instances")
    assert labels.instances is not None
    assert labels.instances.flat[:4].tolist() == [2, 1, 3, 0]


def test_every_colour_is_an_object(save: Save, tmp_path: Path) -> None:
    """Instances may be coded in colours; black is none. 16-bit RGB with equal channels is grey."""
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[0, 1:4] = (255, 0, 0), (0, 0, 1), (255, 0, 0)
    labels = read(save(colours), kind="instances")
    assert labels.instances is not None
    assert labels.instances[0, :5].tolist() == [0, 2, 1, 2, 0]
    grey = np.repeat(rows(1, 2, 300).astype(np.uint16)[..., None], 3, axis=2)
    labels = read(LabelFile(save_deep_png(tmp_path / "d.png", grey)), kind="instances")
    assert labels.instances is not None
    assert labels.instances.flat[:4].tolist() == [1, 2, 3, 0]


def test_one_file_per_object(save: Save) -> None:
    """Files are numbered in their order. Where they overlap, the first keeps the pixel; one that is covered is gone."""
    files = [
        save(rows(255, 255), "a.png"),
        save(rows(0, 255, 255), "b.png"),
        save(rows(0, 255), "c.png"),
        save(rows(0, 0, 0, 3, 4), "d.png"),
    ]
    labels = read(*files, kind="instances")
    assert labels.instances is not None
    assert labels.instances.flat[:6].tolist() == [1, 1, 2, 3, 4, 0]


def test_the_class_of_objects(save: Save) -> None:
    """It is called `object`, or as `--classes` or the files say; two classes are refused."""
    file = save(rows(1, 2))
    for classes, names in ((None, ("background", "object")), ({"nucleus": ">0"}, ("background", "nucleus"))):
        rules = LabelRules.for_samples([SourceSample("a", Path("a"), (file,))], classes=classes, kind="instances")
        assert rules.classes.names == names
    with pytest.raises(UsageError, match=r"gives 2 \(a, b\)"):
        read(file, classes={"skin": 0, "a": 1, "b": 2}, kind="instances")


@pytest.mark.parametrize("values", [rows(1, 2, 3), rows(*range(20), 200, 201)])
def test_what_looks_like_objects_names_the_option_for_them(save: Save, values: np.ndarray) -> None:
    """Without the word `instances` nothing is guessed."""
    assert "--labels instances" in refusal(save(values))


def test_soft_edges_are_no_objects(save: Save) -> None:
    """The greys around one white object would each become an object; fractions are no numbers of objects."""
    soft = np.array(Image.linear_gradient("L").resize((6, 4)))
    soft[1:] = 255
    soft.flat[:6] = [0, 40, 80, 120, 160, 200]
    soft[1, :4] = [50, 90, 130, 170]
    assert "soft edges" in refusal(save(soft), kind="instances")
    assert "whole numbers" in refusal(save(rows(0) + 0.5, "m.tif", dtype=np.float32), kind="instances")


def test_objects_in_jpeg(save: Save) -> None:
    """Compression changes numbers, so they are refused; one white object survives."""
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8), 1).reshape(SIZE)
    assert "lossy" in refusal(save(ramp, "m.jpg", quality=90), kind="instances")
    white = np.zeros(SIZE, np.uint8)
    white[:, 3:] = 255
    labels = read(save(white, "n.jpg", quality=95), kind="instances")
    assert labels.instances is not None
    assert np.array_equal(labels.instances, white > 0)


@pytest.mark.parametrize(
    ("dtype", "name", "white"),
    [(np.uint8, "m.png", 255), (np.uint16, "m.png", 65535), (np.float32, "m.tif", 1)],
)
def test_a_threshold_is_a_share_of_white(save: Save, dtype: Any, name: str, white: int) -> None:
    """White depends on the depth of the file, also if the file has no white in it."""
    shares = np.zeros(SIZE)
    shares.flat[:4] = [0.2, 0.4, 0.6, 0.8]
    file = save(shares * white, name, dtype=dtype)
    assert "--threshold 0.5" in refusal(file)
    assert first(read(file, threshold=0.5), 4) == [0, 0, 1, 1]
    assert first(read(file, threshold=0.7), 4) == [0, 0, 0, 1]


def test_a_threshold_does_not_fit_classes_or_objects(save: Save) -> None:
    """The message says what to use in its place."""
    with pytest.raises(UsageError, match="lesion=>=128"):
        read(save(rows(1)), classes={"skin": 0, "lesion": 1}, threshold=0.5)
    with pytest.raises(UsageError, match="Leave one out"):
        read(save(rows(1)), kind="instances", threshold=0.5)


@pytest.mark.parametrize("name", ["m.jpg", "m.webp"])
def test_lossy_masks_get_the_nearest_class(save: Save, name: str) -> None:
    """A JPEG or lossy WebP of three classes is read, up to the edges; the same noise in a PNG is an error."""
    indices = np.repeat([0, 1, 2], 21)[None].repeat(48, axis=0)  # the borders lie inside the blocks of 8 pixels
    file = save(indices * 127, name, quality=60)
    values = np.asarray(Image.open(file.path).convert("L"))
    assert np.unique(values).size > 3
    classes = {"skin": 0, "a": 127, "b": 254}
    rules = LabelRules.for_samples([], classes=classes)
    assert (read_labels([file], rules, indices.shape).mask == indices).mean() > 0.95
    with pytest.raises(InputProblemsError, match="not in skin=0, a=127, b=254"):
        read_labels([save(values, "n.png")], rules, indices.shape)


def test_too_many_unclear_pixels_are_an_error(save: Save) -> None:
    """A pixel is unclear farther than a quarter of the gap from every class. The limit can be raised."""
    clear = save(np.full((16, 16), 31), "a.jpg", quality=100)
    unclear = save(np.full((16, 16), 33), "b.jpg", quality=100)
    rules = LabelRules.for_samples([], classes={"skin": 0, "lesion": 128})
    assert not read_labels([clear], rules, (16, 16)).mask.any()
    with pytest.raises(
        InputProblemsError, match=r"100.0 % of its pixels are far from every value in skin=0, lesion=128"
    ):
        read_labels([unclear], rules, (16, 16))
    allowed = LabelRules.for_samples([], classes={"skin": 0, "lesion": 128}, unclear=1.0)
    assert not read_labels([unclear], allowed, (16, 16)).mask.any()


def test_lossy_colours_get_the_nearest_class(save: Save) -> None:
    """Distances between colours are straight ones."""
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:, 16:] = (250, 5, 5)
    rules = LabelRules.for_samples([], classes={"skin": "#000000", "lesion": "#ff0000"})
    mask = read_labels([save(colours, "m.jpg", quality=90)], rules, (32, 32)).mask
    assert (mask == (np.arange(32) >= 16)).mean() > 0.95


def test_labels_in_an_array_file(save: Save, tmp_path: Path) -> None:
    """The array `label` is a mask of numbers. Arrays of objects are refused, and so is another size."""
    assert first(read(save(rows(0, 3, 8), "m.npz"), classes={"skin": 0, "organ": ">0"}), 3) == [0, 1, 1]
    assert first(read(save(rows(0, 1, 1), "m.npz")), 3) == [0, 1, 1]
    assert "class indices" in refusal(save(rows(0, 1, 2), "m.npz"))
    assert "one size" in refusal(save(np.zeros((3, 3)), "n.npz"))
    np.savez(tmp_path / "o.npz", label=np.array([[{}]], dtype=object))
    assert "no plain arrays" in refusal(LabelFile(tmp_path / "o.npz"))
    np.savez(tmp_path / "p.npz", mask=rows(1), other=rows(1))
    assert "has no array `label`" in refusal(LabelFile(tmp_path / "p.npz"))


def test_a_mask_in_sixteen_bit_colour_keeps_its_low_bytes(tmp_path: Path) -> None:
    """Class indices in 16-bit RGB do not all become 0. Colours are read if 8 bits hold them."""
    grey = np.repeat(rows(0, 1, 2).astype(np.uint16)[..., None], 3, axis=2)
    file = LabelFile(save_deep_png(tmp_path / "a.png", grey))
    assert first(read(file, classes={"skin": 0, "a": 1, "b": 2}), 3) == [0, 1, 2]
    colours = np.zeros((*SIZE, 3), np.uint16)
    colours[0, 0] = (65535, 0, 257)
    classes = {"skin": "#000000", "lesion": "#ff0001"}
    assert first(read(LabelFile(save_deep_png(tmp_path / "b.png", colours)), classes=classes), 2) == [1, 0]
    colours[0, 0] = (65535, 0, 258)
    assert "16 bits" in refusal(LabelFile(save_deep_png(tmp_path / "c.png", colours)), classes=classes)

"""List the kinds of bad and unusual masks: `KINDS`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from tests.faults.kinds import HEIGHT, IDS, WIDTH, Kind, disc, mask, picture

FILE = f"{IDS[0]}_segmentation.png"
SIX = ("6 samples, 6 with a mask",)
CLASSES = "extract --classes skin=0,lesion=255"


def first(room: Path) -> Path:
    """Return the path of the mask that a kind damages."""
    return room / "masks" / FILE


def saved(make: Callable[[], Image.Image], format_: str = "PNG", **how: Any) -> Callable[[Path], object]:
    """Return a function that replaces the first mask."""
    return lambda room: make().save(first(room), format=format_, **how)


def _values(*levels: int, dtype: str = "uint8") -> Callable[[], Image.Image]:
    """Return a function that makes a mask with these values in stripes."""
    return lambda: Image.fromarray(
        np.array(levels, dtype)[np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % len(levels)]
    )


def _all(change: Callable[[int], Image.Image]) -> Callable[[Path], object]:
    """Return a function that replaces every mask."""

    def make(room: Path) -> None:
        for number, name in enumerate(IDS):
            change(number).save(room / "masks" / f"{name}_segmentation.png")

    return make


def _coloured() -> Image.Image:
    return Image.fromarray(np.where(disc(0, (HEIGHT, WIDTH))[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8))


def _in_alpha() -> Image.Image:
    image = Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 0))
    image.putalpha(mask(0))
    return image


def _soft() -> Image.Image:
    """Return a probability map."""
    return Image.linear_gradient("L").resize((WIDTH, HEIGHT))


def _grey_region() -> Image.Image:
    """Return a mask of three values; the third covers a small square."""
    image = mask(0)
    image.paste(127, (2, 2, 8, 8))
    return image


def _half_grey() -> Image.Image:
    """Return a mask whose left half is grey."""
    image = mask(0)
    image.paste(100, (0, 0, WIDTH // 2, HEIGHT))
    return image


def _objects() -> Image.Image:
    """Return a mask of 12 objects, numbered from 1."""
    image = Image.new("L", (WIDTH, HEIGHT))
    for number in range(12):
        row, column = divmod(number, 4)
        image.paste(number + 1, (12 * column + 1, 12 * row + 1, 12 * column + 9, 12 * row + 9))
    return image


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _overlay() -> Image.Image:
    """Return the photo with the lesion tinted, as some viewers export it."""
    return Image.blend(picture(0), _coloured(), 0.4)


def _swapped(room: Path) -> None:
    (room / "images").rename(room / "kept")
    (room / "masks").rename(room / "images")
    (room / "kept").rename(room / "masks")


def _orphans(room: Path) -> None:
    for number in range(700):
        shutil.copy(first(room), room / "masks" / f"other_{number:03}.png")


def _two_for_one(room: Path) -> None:
    shutil.copy(first(room), room / "masks" / f"{IDS[0]}_mask.png")


def _others_names(room: Path) -> None:
    for number, file in enumerate(sorted((room / "masks").iterdir())):
        file.rename(room / "masks" / f"Annotation {number}.png")


def _none(room: Path) -> None:
    shutil.rmtree(room / "masks")
    (room / "masks").mkdir()


KINDS = [
    Kind("mask_truncated", "a mask cut in half", lambda room: first(room).write_bytes(first(room).read_bytes()[:60]), "extract", 1, (FILE, "damaged")),
    Kind("mask_size", "a mask of another size than its image", saved(lambda: mask(0, (20, 20))), "extract", 1, (FILE, "20 x 20", "36 x 48", "export")),
    Kind("mask_colour", "a mask in red and blue", saved(_coloured), "extract", 1, (FILE, "in colour", "--classes")),
    Kind("mask_colour_named", "a mask in red and blue, with its colours named", _all(lambda _: _coloured()), "extract --classes background=#0000ff,lesion=#ff0000", 0, SIX),
    Kind("mask_overlay", "a photo with the lesion tinted in place of a mask", saved(_overlay), "extract", 1, (FILE, "in colour")),
    Kind("mask_antialiased", "a mask with soft edges", saved(lambda: mask(0).filter(ImageFilter.GaussianBlur(0.6))), "extract", 0, SIX),
    Kind("mask_soft", "a probability map in place of a mask", saved(_soft), "extract", 1, (FILE, "neither black nor white", "--threshold 0.5")),
    Kind("mask_soft_threshold", "a probability map in place of a mask, with --threshold", saved(_soft), "extract --threshold 0.5", 0, SIX),
    Kind("mask_grey_region", "a mask of 0, 127 and 255 whose grey covers little, without --classes", saved(_grey_region), "extract", 1, (FILE, "regions of grey", "--classes")),
    Kind("mask_jpeg_classes", "a mask of three classes saved as JPEG", saved(_grey_region, "JPEG", quality=70), "extract --classes skin=0,hair=127,lesion=255", 0, SIX),
    Kind("mask_jpeg_unclear", "a JPEG with values far from those of --classes", saved(_half_grey, "JPEG", quality=95), "extract --classes skin=0,hair=200,lesion=255", 1, (FILE, "% of its pixels are far from every value", "hair=200", "--unclear")),
    Kind("mask_objects", "a mask whose values are objects, without the word for it", saved(_objects), "extract", 1, (FILE, "class indices", "--labels instances")),
    Kind("mask_objects_named", "masks whose values are objects", _all(lambda _: _objects()), "extract --labels instances", 0, SIX),
    Kind("mask_objects_soft", "a soft black and white mask where values are objects", saved(lambda: mask(0).filter(ImageFilter.GaussianBlur(1))), "extract --labels instances", 1, (FILE, "soft edges", "save it in black and white")),
    Kind("mask_objects_jpeg", "objects saved as JPEG", saved(_objects, "JPEG", quality=90), "extract --labels instances", 1, (FILE, "lossy", "PNG")),
    Kind("mask_classes_order", "masks with the foreground named first", _nothing, "extract --classes lesion=255,skin=0", 0, SIX),
    Kind("mask_classes_ambiguous", "--classes without a background", _nothing, "extract --classes skin=1,lesion=255", 2, ("two readings", "--classes background=0,skin=1,lesion=255", "--classes background=1,lesion=255")),
    Kind("mask_classes_overlap", "--classes with a value in two classes", _nothing, "extract --classes skin=0,low=1-100,high=100-255", 2, ("low and high", "100")),
    Kind("mask_classes_file", "--classes with a file that is not there", _nothing, "extract --classes labelmap.txt", 2, ("labelmap.txt", "skin=0,lesion=255")),
    Kind("mask_labels_unnamed", "--labels multilabel where no file names a label", _nothing, "extract --labels multilabel", 2, ("no file has a label", "--mask-pattern")),
    Kind("mask_jpeg", "a mask saved as JPEG", saved(lambda: mask(0), "JPEG", quality=70), "extract", 0, SIX),
    Kind("mask_inverted", "masks all white on the outside", _all(lambda number: ImageChops.invert(mask(number))), "extract", 0, (*SIX, "inverted", "--classes")),
    Kind("mask_empty", "one mask without any white", saved(lambda: Image.new("L", (WIDTH, HEIGHT))), "extract", 0, SIX),
    Kind("masks_all_empty", "masks that are all empty", _all(lambda _: Image.new("L", (WIDTH, HEIGHT))), "extract", 0, (*SIX, "all masks are empty")),
    Kind("mask_full", "one mask that is white throughout", saved(lambda: Image.new("L", (WIDTH, HEIGHT), 255)), "extract", 0, SIX),
    Kind("mask_zero_one", "a mask of 0 and 1", saved(_values(0, 1)), "extract", 0, SIX),
    Kind("mask_one_bit", "a mask of 1 bit", saved(lambda: mask(0).convert("1")), "extract", 0, SIX),
    Kind("mask_palette", "a mask with a grey palette", saved(lambda: mask(0).convert("P")), "extract", 0, SIX),
    Kind("mask_alpha", "a mask that lies in the alpha channel", saved(_in_alpha), "extract", 0, SIX),
    Kind("mask_deep", "a mask of 0 and 65535", saved(_values(0, 65535, dtype="uint16")), "extract", 0, SIX),
    Kind("mask_indices", "a mask of class indices 0, 1, 2, without --classes", saved(_values(0, 1, 2)), "extract", 1, (FILE, "class indices", "--classes")),
    Kind("mask_index_hidden", "a mask of 0, 1 and 255, without --classes", saved(_values(0, 0, 0, 1, 255, 255)), "extract", 1, (FILE, "class indices", "--classes")),
    Kind("mask_unknown", "a mask with a value that --classes does not name", saved(_values(0, 255, 127)), CLASSES, 1, (FILE, "127 (576 pixels)", "skin=0, lesion=255")),
    Kind("mask_nan", "a floating-point mask with a NaN", saved(lambda: Image.fromarray(np.full((HEIGHT, WIDTH), np.nan, np.float32)), "TIFF"), "extract", 1, (FILE, "nan")),
    Kind("mask_text", "a text named .png among the masks", lambda room: first(room).write_text("mask"), "extract", 1, (FILE, "not a picture")),
    Kind("mask_orphans", "700 masks without an image", _orphans, "extract", 1, ("700 problems", "no image 'other_000'", "… and 669 more lines; all of them are in", "--on-error skip")),
    Kind("mask_orphans_skipped", "700 masks without an image, with --on-error skip", _orphans, "extract --on-error skip", 0, (*SIX, "… and 67")),
    Kind("mask_orphans_pretrain", "700 masks without an image, for pretrain, where masks only watch", _orphans, "pretrain", 0, ("6 images",)),
    Kind("mask_missing", "one image without a mask", lambda room: first(room).unlink(), "extract", 0, ("6 samples, 5 with a mask", f"no mask for 1 of 6 images; they are not trained on: {IDS[0]}")),
    Kind("mask_two", "two masks for one image", _two_for_one, "extract", 1, (IDS[0], "2 masks", "keep one")),
    Kind("mask_names", "masks named by another rule", _others_names, "extract", 1, ("none of the 6 masks", "Annotation 0.png", "--csv")),
    Kind("mask_none", "an empty folder of masks", _none, "extract", 1, ("masks", "no picture", "it is empty")),
    Kind("mask_no_folder", "no such folder of masks", _none, "extract --images images --masks nowhere", 2, ("nowhere", "no such folder")),
    Kind("mask_swapped", "images and masks given the wrong way round", _swapped, "extract", 1, ("none of the 6 masks",)),
    Kind("mask_evaluate_missing", "a source mask that evaluate does not find", lambda room: first(room).unlink(), "evaluate --masks masks", 1, (f"no mask for `{IDS[0]}`",)),
    Kind("mask_evaluate_size", "a source mask that was changed after extraction", saved(lambda: mask(0, (20, 20))), "evaluate --masks masks", 1, (FILE, "20 x 20")),
    Kind("predict_drawn", "a mask drawn by hand where predict would write", lambda room: mask(0).save(room / "predictions" / f"{IDS[0]}.png"), "predict", 2, ("overwrite", "another folder")),
]  # fmt: skip

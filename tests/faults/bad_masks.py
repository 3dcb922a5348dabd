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
    Kind("mask_colour_named", "a mask in red and blue, with its colours named", _all(lambda _: _coloured()), "extract --classes skin=#0000ff,lesion=#ff0000", 0, SIX),
    Kind("mask_overlay", "a photo with the lesion tinted in place of a mask", saved(_overlay), "extract", 1, (FILE, "in colour")),
    Kind("mask_antialiased", "a mask with soft edges", saved(lambda: mask(0).filter(ImageFilter.GaussianBlur(0.6))), "extract", 0, SIX),
    Kind("mask_soft", "a probability map in place of a mask", saved(lambda: Image.linear_gradient("L").resize((WIDTH, HEIGHT))), "extract", 1, (FILE, "neither black nor white")),
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

"""List the kinds of faults of stacks of microscopy, and of the formats HEIC, AVIF, JPEG 2000 and GIF."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.faults.kinds import HEIGHT, IDS, WIDTH, Kind, disc, mask, picture

PLANES = 3
STACK, LABELS = "images/stack.ome.tif", "masks/stack.tif"
GREY = {"photometric": "minisblack"}
NINE = ("9 samples, 9 with a mask",)
OTHERS = "/stack.ome.tif"


def stack(seed: int = 0, *, channels: int = 1) -> np.ndarray:
    """Return (plane, channel, row, column) of 16 bits; without the axis of channels if there is one."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 900, (PLANES, channels, HEIGHT, WIDTH))
    values += 2000 * disc(0, (HEIGHT, WIDTH))
    return (values if channels > 1 else values[:, 0]).astype(np.uint16)


def labels() -> np.ndarray:
    """Return the masks of the planes, 0 and 255."""
    return np.stack([disc(0, (HEIGHT, WIDTH)) * np.uint8(255)] * PLANES)


def ome(values: np.ndarray, **options: Any) -> bytes:
    """Return the bytes of an OME-TIFF."""
    file = io.BytesIO()
    metadata = {"axes": "ZYX" if values.ndim == 3 else "ZCYX", **options.pop("metadata", {})}
    tifffile.imwrite(file, values, ome=True, metadata=metadata, **GREY, **options)
    return file.getvalue()


def added(
    image: Callable[[], bytes], mask_values: np.ndarray | None = None, name: str = STACK
) -> Callable[[Path], object]:
    """Return a function that adds a stack and its labels to a room."""

    def make(room: Path) -> None:
        (room / name).write_bytes(image())
        tifffile.imwrite(room / LABELS, labels() if mask_values is None else mask_values, metadata=None, **GREY)

    return make


def _damaged_page() -> bytes:
    data = ome(stack(), compression="deflate")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[1]
        at = page.dataoffsets[0] + page.databytecounts[0] // 2
    return data[:at] + bytes(40) + data[at + 40 :]


def _sizes() -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for rows in (HEIGHT, HEIGHT, HEIGHT - 1):
            writer.write(stack()[0, :rows], metadata=None)
    return file.getvalue()


def _described(old: str, new: str) -> bytes:
    data = ome(stack())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        text = str(file.ome_metadata)
    assert old in text
    file_ = io.BytesIO()
    tifffile.imwrite(file_, stack(), description=text.replace(old, new).encode(), metadata=None, **GREY)
    return file_.getvalue()


def _bomb(room: Path) -> None:
    """Add a stack whose pages claim 60,000 x 60,000 pixels, and labels that claim the same."""
    for name in ("images/stack.tif", LABELS):
        tifffile.imwrite(room / name, stack(), metadata=None, compression="deflate", **GREY)
        with tifffile.TiffFile(room / name, mode="r+") as opened:
            for page in opened.pages:
                for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                    page.tags[tag].overwrite(60000)


def _single_with_stacked_labels(room: Path) -> None:
    (room / "masks" / f"{IDS[0]}_segmentation.png").unlink()
    tifffile.imwrite(room / "masks" / f"{IDS[0]}_segmentation.tif", labels(), metadata=None, **GREY)


def _picture(format_: str, ending: str, share: float = 1.0) -> Callable[[Path], object]:
    """Return a function that adds a seventh image in another format, cut off at a share of its bytes."""

    def make(room: Path) -> None:
        if format_ == "HEIF":
            from pillow_heif import register_heif_opener

            register_heif_opener()
        file = io.BytesIO()
        picture(7).save(file, format_)
        (room / "images" / f"seventh{ending}").write_bytes(file.getvalue()[: int(len(file.getvalue()) * share)])
        mask(7).save(room / "masks" / "seventh.png")

    return make


def _animation(room: Path) -> None:
    frames = [picture(number) for number in range(PLANES)]
    frames[0].save(room / "images" / "stack.gif", save_all=True, append_images=frames[1:])
    tifffile.imwrite(room / LABELS, labels(), metadata=None, **GREY)


def _predicted_stack(room: Path) -> None:
    (room / "new").mkdir()
    (room / "new" / "stack.ome.tif").write_bytes(_damaged_page())


def _foreign_label_tiff(room: Path) -> None:
    (room / "new").mkdir()
    (room / "new" / "stack.ome.tif").write_bytes(ome(stack()))
    (room / "theirs").mkdir()
    Image.new("L", (4, 4)).save(room / "theirs" / "stack.tif")


TWO = stack(channels=2)
NAMED = {"Channel": {"Name": ["DAPI", "GFP"]}}

KINDS = [
    Kind("stack", "an OME-TIFF of three planes with a label TIFF", added(lambda: ome(stack())), "extract", 0, NINE),
    Kind("stack_cut", "a stack that is cut off", added(lambda: ome(stack())[:9000]), "extract", 1, (OTHERS, "restore it")),
    Kind("stack_page", "a damaged page in a stack", added(_damaged_page), "extract", 1, (OTHERS, "page 2 is damaged")),
    Kind("stack_sizes", "pages of different sizes", added(_sizes, name="images/stack.tif"), "extract", 1, ("stack.tif", f"{HEIGHT} x {WIDTH}, {HEIGHT - 1} x {WIDTH}")),
    Kind("stack_promises", "OME-XML that promises a billion planes", added(lambda: _described('SizeZ="3"', 'SizeZ="1000000000"')), "extract", 1, (OTHERS, "holds 3 pages")),
    Kind("stack_entities", "OME-XML with a document type", added(lambda: _described("<OME", "<!DOCTYPE o [<!ENTITY e 'x'>]><OME")), "extract", 1, (OTHERS, "document type")),
    Kind("stack_bomb", "a stack whose pages claim 60,000 × 60,000 pixels", _bomb, "extract", 1, ("stack.tif", "60,000 x 60,000 pixels")),
    Kind("stack_labels", "labels of other planes than the image", added(lambda: ome(stack()), labels()[:2]), "extract", 1, ("stack.tif", "has 2 planes and its image stack.ome.tif 3")),
    Kind("labels_stacked", "a stack of labels for a single image", _single_with_stacked_labels, "extract", 1, (f"{IDS[0]}_segmentation.tif", "has 3 planes")),
    Kind("channels_two", "two channels without --channels", added(lambda: ome(TWO, metadata=NAMED)), "extract", 1, (OTHERS, "0 DAPI, 1 GFP", "--channels DAPI,GFP")),
    Kind("channels_chosen", "two channels with --channels for a set of colour photos too", added(lambda: ome(TWO)), "extract --channels 1", 0, NINE),
    Kind("channels_unknown", "a channel that the file does not have", added(lambda: ome(TWO, metadata=NAMED)), "extract --channels CFP", 1, (OTHERS, "no channel 'CFP'", "0 DAPI, 1 GFP")),
    Kind("channels_many", "four channels for three colours", added(lambda: ome(TWO)), "extract --channels 0,1,2,3", 2, ("--channels 0,1,2,3",)),
    Kind("labels_coloured", "labels that are colours", added(lambda: ome(stack()), np.stack([np.dstack([labels()[0], labels()[0] // 2, labels()[0]])] * PLANES)), "extract", 1, ("stack.tif",)),
    Kind("animated_gif", "an animated GIF with a label TIFF", _animation, "extract", 0, NINE),
    Kind("heic", "a HEIC photo", _picture("HEIF", ".heic"), "extract", 0, ("7 samples, 7 with a mask",)),
    Kind("heic_cut", "a HEIC photo that is cut off", _picture("HEIF", ".heic", 0.6), "extract", 1, ("seventh.heic",)),
    Kind("avif_cut", "an AVIF photo that is cut off", _picture("AVIF", ".avif", 0.6), "extract", 1, ("seventh.avif", "damaged")),
    Kind("jp2_cut", "a JPEG 2000 that is cut off", _picture("JPEG2000", ".jp2", 0.6), "extract", 1, ("seventh.jp2", "damaged")),
    Kind("predict_page", "a damaged page in a stack to predict", _predicted_stack, "predict new", 1, (OTHERS, "page 2 is damaged")),
    Kind("predict_theirs", "a label TIFF of someone else in the place of a prediction", _foreign_label_tiff, "predict new --out theirs", 2, ("stack.tif", "not written by `predict`")),
]  # fmt: skip

"""TIFF stacks that are cut off, damaged, or promise more than they hold are refused: never fewer or black planes."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image
from stages.imaging.parts import Part
from stages.imaging.volumes import tiff_files
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.tiff_directories import read_directories

PLANES = 5
STACK = np.random.default_rng(0).integers(0, 4096, (PLANES, 40, 50)).astype(np.uint16)
GREY = {"photometric": "minisblack"}
OME = {"ome": True, "metadata": {"axes": "ZYX"}}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {**GREY, "metadata": None},
    "described": GREY,
    "OME": {**GREY, **OME},
    "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "deflate": {**GREY, "compression": "deflate"},
    "LZW in tiles": {**GREY, "compression": "lzw", "tile": (16, 16)},
    "Zstandard": {**GREY, "compression": "zstd"},
    "BigTIFF": {**GREY, "bigtiff": True, "metadata": None},
}


def content(array: np.ndarray = STACK, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def read_all(path: Path) -> np.ndarray:
    """Read all planes that a whole file has."""
    volume = open_volume(path)
    assert volume.facts.planes == PLANES, "a plane is missing without a word"
    return np.stack([volume.read(plane) for plane in range(PLANES)])


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(InputProblemsError) as error:
        read_all(path)
    (problem,) = error.value.problems
    assert problem.where == str(path)
    return problem.what


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_stack_that_is_cut_off_is_refused(tmp_path: Path, form: str, share: float):
    whole = content(**FORMS[form])
    path = tmp_path / "a.tif"
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_all(path), STACK)
    path.write_bytes(whole[: int(len(whole) * share)])
    if not is_volume_file(path):  # its first directory is cut off too, so Pillow says it
        with pytest.raises(InputProblemsError):
            read_image(path)
    else:
        refusal(path, path.read_bytes())


@pytest.mark.parametrize("form", ["deflate", "Zstandard"])
def test_a_damaged_page_is_named(tmp_path: Path, form: str):
    """Only the plane that is read is refused; the others are sound."""
    whole = content(**FORMS[form])
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        page = file.pages[3]
        at = page.dataoffsets[0] + page.databytecounts[0] // 2
    path = tmp_path / "a.tif"
    path.write_bytes(whole[:at] + bytes(60) + whole[at + 60 :])
    np.testing.assert_array_equal(open_volume(path).read(2), STACK[2])
    with pytest.raises(InputProblemsError, match="page 4 is damaged"):
        open_volume(path).read(3)


def test_a_damaged_jpeg_in_a_page_is_refused(tmp_path: Path):
    """The library returns pixels for most damage."""
    rows, columns = np.mgrid[:200, :300]
    stack = np.stack([(rows * (plane + 1) + columns + 40 * np.sin(columns / 3)) % 256 for plane in range(PLANES)])
    whole = content(stack.astype(np.uint8), **GREY, compression="jpeg")
    path = tmp_path / "a.tif"
    path.write_bytes(whole)
    read_all(path)
    with tifffile.TiffFile(path) as file:
        page = file.pages[1]
        at = page.dataoffsets[0] + page.databytecounts[0] // 2
    assert "page 2 is damaged" in refusal(path, whole[:at] + bytes(200) + whole[at + 200 :])


@pytest.mark.parametrize("tag", ["StripOffsets", "StripByteCounts"])
def test_a_page_without_its_pixels_is_not_black(tmp_path: Path, tag: str):
    """The library fills missing strips with zeros."""
    path = tmp_path / "a.tif"
    path.write_bytes(content(**GREY, compression="deflate", metadata=None))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[2].tags[tag].overwrite([0])
    assert "page 3 is damaged (a strip or tile of its pixels is missing)" in refusal(path, path.read_bytes())


def next_directory(data: bytes, page: int) -> int:
    """Return the position of the bytes that point to the page after `page`."""
    at = struct.unpack_from("<I", data, 4)[0]
    for _ in range(page):
        at = struct.unpack_from("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0])[0]
    return at + 2 + 12 * struct.unpack_from("<H", data, at)[0]


@pytest.mark.parametrize(
    ("target", "said"), [("first", "or one before it again"), ("beyond", "beyond the end"), ("inside", "is damaged")]
)
def test_a_broken_chain_of_pages_is_refused(tmp_path: Path, target: str, said: str):
    """Most libraries take the pages before the break for the whole file."""
    whole = content(**GREY, metadata=None)
    at = next_directory(whole, 2)
    value = {"first": struct.unpack_from("<I", whole, 4)[0], "beyond": len(whole) + 9, "inside": 1000}[target]
    what = refusal(tmp_path / "a.tif", whole[:at] + struct.pack("<I", value) + whole[at + 4 :])
    assert said in what


def test_pages_of_different_sizes_are_named(tmp_path: Path):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for rows in (40, 30, 20):
            writer.write(STACK[0, :rows], metadata=None)
    what = refusal(tmp_path / "a.tif", file.getvalue())
    assert what.startswith("holds pages of different sizes (40 x 50, 30 x 50, 20 x 50)")


def test_pages_of_different_types_are_named(tmp_path: Path):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(STACK[0], metadata=None)
        writer.write(STACK[0].astype(np.uint8), metadata=None)
    assert "holds 2 images of their own (40 x 50 uint16, 40 x 50 uint8)" in refusal(tmp_path / "a.tif", file.getvalue())


def ome(change: tuple[str, str]) -> bytes:
    """Return an OME-TIFF with a part of its description replaced."""
    with tifffile.TiffFile(io.BytesIO(content(**GREY, **OME))) as file:
        text = file.ome_metadata
    assert text is not None
    assert change[0] in text
    return content(**GREY, metadata=None, description=text.replace(*change).encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('SizeZ="5"', 'SizeZ="6"'), "promises 6 planes and holds 5 pages"),
        (('SizeZ="5"', 'SizeZ="1000000000"'), "promises 1000000000 planes"),
        (('PlaneCount="5"', 'PlaneCount="1000000000"'), "promises"),
        (('SizeZ="5"', 'SizeZ="-1"'), "sizes of"),
        (('SizeZ="5"', 'SizeZ="five"'), "OME description is damaged"),
        (('SizeX="50"', 'SizeX="49"'), "does not fit its pages"),
        (("<OME", '<!DOCTYPE x [<!ENTITY a "b">]><OME'), "document type"),
        (("</OME>", "</OM>"), "OME description"),
        (("<Image", "<Picture"), "OME description"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, change: tuple[str, str], said: str):
    """Also one that promises so much that a list of it would fill the memory."""
    assert said in refusal(tmp_path / "a.ome.tif", ome(change))


def test_planes_in_other_files_are_refused(tmp_path: Path):
    """The library reads them as zeros if they are missing."""
    blocks = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(PLANES)
    )
    with tifffile.TiffFile(io.BytesIO(content(**GREY, **OME))) as file:
        text = str(file.ome_metadata)
    begin, end = text.index("<TiffData"), text.index("</Pixels>")
    data = content(**GREY, metadata=None, description=(text[:begin] + blocks + text[end:]).encode())
    assert "has planes in other files too ('0.ome.tif', '1.ome.tif', '2.ome.tif' …)" in refusal(
        tmp_path / "a.ome.tif", data
    )


@pytest.mark.parametrize("change", [(b"slices=5", b"slices=6"), (b"slices=5", b"slices=9"), (b"images=5", b"images=0")])
def test_imagejs_description_may_not_promise_more(tmp_path: Path, change: tuple[bytes, bytes]):
    whole = content(**FORMS["ImageJ"])
    assert change[0] in whole
    path = tmp_path / "a.tif"
    path.write_bytes(whole.replace(*change))
    try:
        np.testing.assert_array_equal(read_all(path), STACK)  # what the description says in vain may be passed over
    except InputProblemsError as error:
        assert "a.tif" in str(error)  # noqa: PT017 - either is right, other planes are not


def test_a_page_above_the_limit_of_pixels_is_refused_before_memory_is_taken(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(content(**FORMS["deflate"]))
    monkeypatch.setattr(tiff_files, "MOST_PIXELS", 1000)
    with pytest.raises(InputProblemsError, match="decompression bombs"):
        read_image(path, Part(plane=0))
    assert open_volume(path).read(0, (0, 0, 10, 10)).shape == (10, 10)


def test_tiles_above_the_limit_are_refused(tmp_path: Path):
    path = tmp_path / "a.tif"
    path.write_bytes(content(**GREY, tile=(16, 16), compression="deflate", metadata=None))
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            for tag in ("TileWidth", "TileLength"):
                page.tags[tag].overwrite(60000)
    assert "damaged" in refusal(path, path.read_bytes())


@pytest.mark.parametrize("seed", range(40))
def test_any_changed_bytes_give_planes_or_one_problem(tmp_path: Path, seed: int):
    """Never another error, and never another number of planes than the file says."""
    random = np.random.default_rng(seed)
    form = list(FORMS.values())[seed % len(FORMS)]
    data = bytearray(content(STACK[:, :12, :10].copy(), **{**form, **({"tile": (16, 16)} if "tile" in form else {})}))
    for at in random.integers(4, len(data), 6):
        data[at] = random.integers(0, 256)
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    try:
        if is_volume_file(path):
            volume = open_volume(path)
            for plane in range(min(volume.facts.planes, 9)):
                read_image(path, Part(plane=plane, channels=("0",)))
    except InputProblemsError as error:
        assert str(path) in str(error)  # noqa: PT017 - planes are right too


def test_directories_of_a_sound_file_are_counted(tmp_path: Path):
    path = tmp_path / "a.tif"
    path.write_bytes(content(**GREY, metadata=None))
    with path.open("rb") as file:
        found = read_directories(file)
    assert [(one.height, one.width, one.subordinate) for one in found] == [(40, 50, False)] * PLANES

"""DICOM files of many kinds are read as volumes: those of pydicom, and small ones with known values."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import RLELossless

from stages.errors import InputProblemsError, UsageError
from stages.imaging.decoding import read_image
from stages.imaging.dicom import deflated
from stages.imaging.dicom.files import open_file
from stages.imaging.dicom.headers import read_facts
from stages.imaging.intensities import IntensityRule
from stages.imaging.parts import Part
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.planes import split_into_planes
from tests.dicom_series import scan, write_series

SAME = ("MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless")
"""The image of `MR_small`, compressed and encoded in other ways."""


def shipped(name: str) -> Path:
    """Return a test file that pydicom has in its package."""
    found = get_testdata_file(f"{name}.dcm", download=False)
    assert found is not None
    return Path(found)


def one_slice(folder: Path, values: np.ndarray | None = None, **elements: object) -> Path:
    """Write one file, with elements replaced or added."""

    def change(data: FileDataset, _: int) -> None:
        for keyword, value in elements.items():
            setattr(data, keyword, value)

    return write_series(folder, scan(1) if values is None else values, name="a.dcm", change=change)[0]


@pytest.mark.parametrize(
    ("name", "planes", "size", "channels", "deep", "extremes"),
    [
        ("CT_small", 1, (128, 128), 1, True, (-896, 1167)),
        ("MR_small", 1, (64, 64), 1, True, (127, 2145)),
        ("JPEG2000", 1, (1024, 256), 1, True, (-30, 245)),
        ("JPGExtended", 1, (1024, 256), 1, True, (0, 264)),
        ("JPEGLSNearLossless_08", 1, (45, 10), 1, False, (0, 255)),
        ("ExplVR_BigEnd", 1, (60, 80), 3, False, (0, 255)),
        ("SC_rgb_rle_16bit_2frame", 2, (100, 100), 3, True, (0, 65535)),
        ("SC_rgb_jpeg_dcmtk", 1, (100, 100), 3, False, (0, 255)),
        ("SC_ybr_full_422_uncompressed", 1, (100, 100), 3, False, (0, 255)),
        ("examples_palette", 1, (350, 800), 3, False, (0, 255)),
        ("examples_ybr_color", 30, (240, 320), 3, False, (0, 220)),
        ("image_dfl", 1, (512, 512), 1, False, (0, 255)),
    ],
)
def test_files_of_pydicom(
    name: str,
    planes: int,
    size: tuple[int, int],
    channels: int,
    deep: bool,  # noqa: FBT001 - a column of the table
    extremes: tuple[int, int],
):
    volume = open_file(shipped(name))
    facts = volume.facts
    assert (facts.planes, facts.size, facts.channels, facts.deep) == (planes, size, channels, deep)
    values = volume.read(planes - 1)
    assert values.shape == (size if channels == 1 else (*size, 3))
    assert (values.min(), values.max()) == extremes


@pytest.mark.parametrize("name", SAME)
def test_compression_and_byte_order_do_not_change_values(name: str):
    np.testing.assert_array_equal(open_file(shipped(name)).read(0), open_file(shipped("MR_small")).read(0))


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk", "SC_ybr_full_422_uncompressed"])
def test_ybr_becomes_red_green_and_blue(name: str):
    """The first field of both test images is red."""
    red, green, blue = open_file(shipped(name)).read(0)[5, 50].astype(int)
    assert red > 250
    assert max(green, blue) < 5


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rtstruct", "RT Structure Set"),
        ("rtdose", "RT Dose"),
        ("rtplan", "RT Plan"),
        ("test-SR", "Comprehensive SR"),
        ("waveform_ecg", "ECG Waveform"),
        ("liver_1frame", "DICOM SEG"),
    ],
)
def test_objects_without_an_image_are_refused_by_name(name: str, kind: str):
    with pytest.raises(InputProblemsError, match=kind):
        open_file(shipped(name))


@pytest.mark.parametrize("name", ["MR_truncated", "JPEG-lossy", "SC_rgb_jpeg"])
def test_damaged_pixels_of_pydicoms_files_are_a_problem(name: str):
    with pytest.raises(InputProblemsError, match=r"cannot be decoded|within its compressed pixels"):
        open_file(shipped(name)).read(0)


@pytest.mark.parametrize(
    "name", ["MR_small", "MR_small_RLE", "JPEG2000", "SC_rgb_jpeg_dcmtk", "MR_small_jpeg_ls_lossless"]
)
def test_a_file_that_is_cut_off_never_gives_pixels(tmp_path: Path, name: str):
    """Wherever it is cut, native or compressed, there is one message and no image."""
    whole = shipped(name).read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6, 0.9):
        path = tmp_path / f"{share}.dcm"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputProblemsError) as caught:
            open_file(path).read(0)
        assert len(caught.value.problems) == 1


def test_monochrome1_is_mirrored_with_its_window(tmp_path: Path):
    """The lowest stored value is white: both the values and the window are turned round."""
    values = np.arange(660, dtype=np.int16).reshape(1, 22, 30) * 2 - 1024
    plain = open_file(one_slice(tmp_path / "plain", values, BitsStored=12, HighBit=11))
    mirrored = open_file(
        one_slice(tmp_path / "m", values, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    )
    total = 2 * 4095 - 2 * 1024
    np.testing.assert_array_equal(mirrored.read(0), total - plain.read(0))
    assert plain.facts.window == (-160, 239)
    assert mirrored.facts.window == (total - 239, total + 160)


def test_eight_bits_are_shown_as_they_are_and_mirrored_if_white_is_zero(tmp_path: Path):
    stored = np.arange(660).reshape(22, 30) % 256
    common = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "RescaleSlope": 1, "RescaleIntercept": 0}
    for kind, expected in (("MONOCHROME2", stored), ("MONOCHROME1", 255 - stored)):
        path = one_slice(
            tmp_path / kind, PixelData=stored.astype(np.uint8).tobytes(), PhotometricInterpretation=kind, **common
        )
        assert not open_file(path).facts.deep
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], expected)


def test_padding_does_not_take_part_in_the_contrast(tmp_path: Path):
    """Pixels outside of the field of view become as dark as the darkest other one."""
    values = scan(1)
    values[0, :, :10] = -2000 + 976  # stored as 0 after the rescaling of `write_series`
    path = one_slice(tmp_path, values, PixelPaddingValue=0)
    read = open_file(path).read(0)
    assert read[:, :10].min() == read[:, :10].max() == read[:, 10:].min()
    assert open_file(one_slice(tmp_path / "without", values)).read(0).min() == -1024 < read.min()


def test_the_window_of_the_file_is_a_rule(tmp_path: Path):
    values = np.full((1, 22, 30), -160, np.int16)
    values[0, 5], values[0, 6], values[0, 7] = 240, 40, 3000
    shown = read_image(one_slice(tmp_path, values), Part(), IntensityRule.parse("file")).pixels[..., 0]
    assert (shown[0, 0], shown[5, 0], shown[6, 0], shown[7, 0]) == (0, 255, 128, 255)


@pytest.mark.parametrize(
    ("elements", "window"),
    [
        ({"VOILUTFunction": "LINEAR_EXACT"}, (-160, 240)),
        ({"WindowWidth": 0}, None),
        ({"WindowCenter": ""}, None),
        ({"WindowCenter": 100, "WindowWidth": 1}, None),
    ],
)
def test_windows_of_other_kinds(tmp_path: Path, elements: dict[str, object], window: tuple[float, float] | None):
    assert open_file(one_slice(tmp_path, **elements)).facts.window == window


def test_a_slope_with_a_fraction_gives_fractions(tmp_path: Path):
    values = open_file(one_slice(tmp_path, RescaleSlope="0.5", RescaleIntercept="1.25")).read(0)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], ((scan(1)[0, 0].astype(int) + 1024) // 2) * 0.5 + 1.25)


def enhanced(path: Path, frames: np.ndarray) -> Path:
    """Write a file with frames whose place and rescaling are in functional groups."""
    source = one_slice(path.parent / "source")
    data = pydicom.dcmread(source)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(data, keyword)
    data.NumberOfFrames = len(frames)
    data.PixelData = frames.astype("<u2").tobytes()
    shared, groups = Dataset(), []
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.4, 0.3]
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for at in range(len(frames)):
        group = Dataset()
        group.PlanePositionSequence = [Dataset()]
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 5 * at]
        group.PixelValueTransformationSequence = [Dataset()]
        group.PixelValueTransformationSequence[0].RescaleSlope = at + 1
        group.PixelValueTransformationSequence[0].RescaleIntercept = -10
        groups.append(group)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], groups
    data.save_as(path)
    return path


def test_frames_have_their_own_rescaling_and_place(tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 4096, (3, 22, 30))
    volume = open_file(enhanced(tmp_path / "e.dcm", frames))
    assert volume.facts.planes == 3
    assert volume.facts.spacing_mm == (0.4, 0.3, 5)
    for at in range(3):
        np.testing.assert_array_equal(volume.read(at), frames[at] * (at + 1) - 10)


def test_bytes_in_two_bytes_each_are_shown_as_they_are(tmp_path: Path):
    """Eight bits of a value, stored in sixteen."""
    stored = np.arange(660, dtype="<u2").reshape(22, 30) % 256
    elements = {"BitsStored": 8, "HighBit": 7, "RescaleSlope": 1, "RescaleIntercept": 0}
    path = one_slice(tmp_path, PixelData=stored.tobytes(), **elements)
    shown = read_image(path).pixels
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[..., 0], stored)
    path = one_slice(tmp_path / "overlay", PixelData=(stored + 256).tobytes(), **elements)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], stored)


def test_padding_may_be_written_with_the_other_sign(tmp_path: Path):
    """Signed pixels of -2000 whose PixelPaddingValue is 63536."""
    stored = np.full((22, 30), -900, "<i2")
    stored[:, :10] = -2000

    def change(data: FileDataset, _: int) -> None:
        data.PixelRepresentation, data.RescaleSlope, data.RescaleIntercept = 1, 1, 0
        data.PixelData = stored.tobytes()
        data.add_new("PixelPaddingValue", "US", 63536)

    path = write_series(tmp_path, scan(1), change=change)[0]
    assert set(open_file(path).read(0).ravel()) == {-900}


def test_the_place_of_an_only_frame_is_that_of_the_file(tmp_path: Path):
    path = enhanced(tmp_path / "e.dcm", np.zeros((1, 22, 30), np.uint16))
    place = read_facts(path).place
    assert place.position == (0, 0, 0)
    assert place.spacing == (0.4, 0.3)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A data set that is compressed as a whole is not unpacked before its size is known."""
    path = shipped("image_dfl")
    assert read_facts(path).rows == 512
    copy = tmp_path / "a.dcm"
    copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(deflated, "MOST_BYTES", 2**17)
    with pytest.raises(InputProblemsError, match="would unpack to more than 131,072 bytes"):
        read_facts(copy)


def test_a_file_that_promises_endless_frames_is_refused(tmp_path: Path):
    path = one_slice(tmp_path, NumberOfFrames=2_000_000_000)
    planes, problems = split_into_planes([SourceSample("a", path, ())])
    assert planes == []
    assert "promises 2,000,000,000 planes" in problems[0].what


def test_without_a_decoder_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Decoder, "is_available", property(lambda _: False))
    with pytest.raises(UsageError, match=r"pip install 'diamant-pipeline\[dicom\]'"):
        open_file(shipped("JPEG2000"))


def test_a_film_is_refused_by_the_name_of_its_compression(tmp_path: Path):
    path = one_slice(tmp_path)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    data.PixelData = encapsulate([b"film"])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    with pytest.raises(InputProblemsError, match="compressed as MPEG-4"):
        open_file(path)


def test_files_are_read_without_the_packages_of_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Uncompressed and RLE files need pydicom alone."""
    path = one_slice(tmp_path)
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(tmp_path / "rle.dcm")
    for name in ("highdicom", "pylibjpeg", "openjpeg", "libjpeg"):
        monkeypatch.setitem(sys.modules, name, None)
    np.testing.assert_array_equal(open_file(tmp_path / "rle.dcm").read(0), open_file(path).read(0))


def test_other_files_with_the_extension_are_refused(tmp_path: Path):
    (tmp_path / "text.dcm").write_text("no DICOM at all" * 20)
    (tmp_path / "empty.dcm").write_bytes(b"")
    with pytest.raises(InputProblemsError, match="is no DICOM file"):
        open_file(tmp_path / "text.dcm")
    with pytest.raises(InputProblemsError, match="is empty"):
        open_file(tmp_path / "empty.dcm")

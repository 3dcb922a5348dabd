"""HEIC, AVIF and JPEG 2000 are pictures; frames of animations are planes. What is cut off or not installed is named."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.imaging.decoding import read_image
from stages.imaging.intensities import IntensityRule
from stages.imaging.masks import ClassMap, read_mask
from stages.imaging.opening import open_picture
from stages.imaging.parts import Part
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file

pillow_heif = pytest.importorskip("pillow_heif")

ROWS, COLUMNS = np.mgrid[:64, :80]
COLOURS = np.stack([ROWS * 3, COLUMNS * 3, ROWS + COLUMNS], axis=2).astype(np.uint8)
ENDINGS = {"HEIF": ".heic", "AVIF": ".avif", "JPEG2000": ".jp2", "GIF": ".gif", "WEBP": ".webp"}


def content(format_: str, *frames: np.ndarray, **options: Any) -> bytes:
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    first, *more = map(Image.fromarray, frames)
    if more:
        options |= {"save_all": True, "append_images": more}
    first.save(file, format_, **options)
    return file.getvalue()


def saved(path: Path, format_: str, *frames: np.ndarray, **options: Any) -> Path:
    path.write_bytes(content(format_, *frames, **options))
    return path


@pytest.mark.parametrize("format_", ["HEIF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("named", [True, False])
def test_colours_are_read_whatever_the_name_says(tmp_path: Path, format_: str, named: bool):  # noqa: FBT001 - a parameter of the test
    path = saved(tmp_path / ("a" + (ENDINGS[format_] if named else ".jpg")), format_, COLOURS)
    assert np.abs(read_image(path).pixels.astype(int) - COLOURS).mean() < (0.1 if format_ == "JPEG2000" else 3)
    assert open_picture(path).lossy == (format_ != "JPEG2000")


def test_lossy_jpeg_2000_is_known_as_such(tmp_path: Path):
    path = saved(tmp_path / "a.jp2", "JPEG2000", COLOURS, irreversible=True)
    assert open_picture(path).lossy


@pytest.mark.parametrize("format_", ["HEIF", "AVIF", "JPEG2000"])
def test_masks_may_have_these_formats(tmp_path: Path, format_: str):
    mask = (np.hypot(ROWS - 30, COLUMNS - 30) < 20).astype(np.uint8)
    path = saved(
        tmp_path / f"a{ENDINGS[format_]}",
        format_,
        mask * np.uint8(255),
        **({} if format_ == "JPEG2000" else {"quality": 90}),
    )
    found = read_mask(path, ClassMap.binary(), (64, 80))
    assert (found != mask).mean() < 0.01


def read_all(path: Path, planes: int) -> None:
    for plane in range(planes):
        read_image(path, Part(plane=plane))


@pytest.mark.parametrize("format_", ENDINGS)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, format_: str, share: float):
    frames = [COLOURS, COLOURS[::-1].copy()] if format_ in {"GIF", "WEBP"} else [COLOURS]
    whole = content(format_, *frames)
    path = tmp_path / f"a{ENDINGS[format_]}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputProblemsError) as error:
        read_all(path, len(frames))
    assert error.value.problems[0].where == str(path)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "AVIF"])
def test_frames_are_planes(tmp_path: Path, format_: str):
    frames = [np.roll(COLOURS // 64 * 64, step, axis=1) for step in (0, 20, 40)]
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(format_, {})
    path = saved(tmp_path / f"a{ENDINGS[format_]}", format_, *frames, **options)
    assert is_volume_file(path)
    assert open_volume(path).facts.planes == 3
    for plane in (2, 0, 1):
        found = read_image(path, Part(plane=plane)).pixels.astype(int)
        assert np.abs(found - frames[plane]).mean() < (0.1 if format_ == "WEBP" else 8)
    region = open_volume(path).read(1, (3, 5, 10, 12))
    np.testing.assert_array_equal(region, read_image(path, Part(plane=1)).pixels[3:13, 5:17])


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "AVIF", "HEIF", "JPEG2000"])
def test_one_picture_is_no_volume(tmp_path: Path, format_: str):
    assert not is_volume_file(saved(tmp_path / f"a{ENDINGS[format_]}", format_, COLOURS))


def test_of_several_heic_photos_the_main_one_is_read(tmp_path: Path):
    """As for the previews and depth maps that phones store in a JPEG."""
    path = saved(tmp_path / "a.heic", "HEIF", COLOURS, COLOURS[::-1].copy())
    assert np.abs(read_image(path).pixels.astype(int) - COLOURS).mean() < 3


def test_an_animation_under_another_name_names_the_ending(tmp_path: Path):
    path = saved(tmp_path / "a.png", "GIF", COLOURS, COLOURS[::-1].copy())
    with pytest.raises(InputProblemsError, match=r"2 pages or frames .* ends in \.gif"):
        read_image(path)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_of_many_bits_keeps_its_values(tmp_path: Path, bits: int, channels: int):
    values = (COLOURS.astype(np.uint16) << np.uint16(bits - 8)) + np.uint16(1)
    values = values if channels == 3 else values[..., 0]
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits, reversible=True))
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read(0), values)
    np.testing.assert_array_equal(volume.read(0, (3, 4, 9, 8)), values[3:12, 4:12])
    assert (volume.facts.deep, volume.facts.values, volume.facts.channels) == (True, f"{bits}-bit", channels)
    shown = read_image(path, rule=IntensityRule.parse("minmax")).pixels
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_of_many_bits_that_is_cut_off_is_refused(tmp_path: Path, channels: int):
    values = np.random.default_rng(0).integers(0, 4096, (64, 80, channels)).astype(np.uint16).squeeze()
    whole = imagecodecs.jpeg2k_encode(values, level=0, bitspersample=12, reversible=True)
    path = tmp_path / "a.jp2"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputProblemsError, match="damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("package", "extra", "format_"), [("pillow_heif", "heic", "HEIF"), ("imagecodecs", "slides", "JPEG2000")]
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, format_: str
):
    path = tmp_path / f"a{ENDINGS[format_]}"
    deep = imagecodecs.jpeg2k_encode(COLOURS.astype(np.uint16), level=0, bitspersample=12)
    path.write_bytes(deep if format_ == "JPEG2000" else content(format_, COLOURS))
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=rf"pip install 'diamant-pipeline\[{extra}\]'"):
        read_image(path)


def test_avif_without_a_pillow_that_reads_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path / "a.avif", "AVIF", COLOURS)
    monkeypatch.delitem(Image.OPEN, "AVIF")
    with pytest.raises(UsageError, match=r"Pillow 11\.3"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(128) + b"DICM", "is a DICOM file whatever its name says; rename it to end in .dcm"),
        (b"\x93NUMPY\1\0", "is a NumPy array whatever its name says; rename it to end in .npy"),
        (bytes(344) + b"n+1\0", "is a NIfTI file whatever its name says; rename it to end in .nii"),
        (b"%PDF-1.7", "is a PDF whatever its name says; PNG, .* are read; convert it to PNG"),
    ],
)
def test_a_file_of_another_format_is_named_with_its_remedy(tmp_path: Path, content: bytes, words: str):
    """Scans are read if their name says what they are, so converting them to PNG would be wrong advice."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputProblemsError, match=words):
        read_image(tmp_path / "a.png")

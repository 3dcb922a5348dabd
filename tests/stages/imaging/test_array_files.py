"""Array files: what is promised is compared before anything is unpacked, and damage is one clear problem."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from stages.errors import InputProblemsError
from stages.imaging import arrays
from stages.imaging.arrays import array_size, read_image_array, read_label_array
from stages.imaging.headers import read_header
from stages.imaging.image_facts import ImageFacts
from stages.imaging.samples import LabelFile, SourceSample

SLICE = np.arange(12, dtype=np.float32).reshape(3, 4)


def header(shape: tuple[int, ...], dtype: str = "<f4", *, by_columns: bool = False) -> bytes:
    """Return the header of a NumPy file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": by_columns, "shape": shape})
    return file.getvalue()


def archive(path: Path, content: bytes, name: str = "image", how: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an array file with one entry."""
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr(f"{name}.npy", content)
    return path


def problem(read: Callable[..., object], *given: Path) -> str:
    with pytest.raises(InputProblemsError) as caught:
        read(*given)
    (one,) = caught.value.problems
    assert one.where == str(given[0])
    return one.what


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">i2", "u1", "?"])
def test_values_and_size_are_read(tmp_path: Path, save, dtype: str):
    """In every order of rows and bytes."""
    values = (SLICE > 5 if dtype == "?" else SLICE).astype(dtype)
    for stored in (values, np.asfortranarray(values)):
        save(tmp_path / "a.npz", image=stored, label=stored)
        assert array_size(tmp_path / "a.npz") == (3, 4)
        np.testing.assert_array_equal(read_image_array(tmp_path / "a.npz")[0], values)
        np.testing.assert_array_equal(read_label_array(tmp_path / "a.npz", (3, 4)), values.astype(int))


BOMBS = {
    "a header that promises more than the archive": header((100_000, 100_000)) + bytes(48),
    "a header that promises less": header((1, 1)) + bytes(2**22),
    "a negative side": header((-3, -4)) + bytes(48),
    "no columns": header((3, 0)),
    "three dimensions": header((3, 4, 1)) + bytes(48),
    "objects": header((3, 4), "|O") + bytes(96),
    "text": header((3, 4), "<U1") + bytes(48),
    "no header": bytes(48),
    "an endless header": b"\x93NUMPY\x02\0\xff\xff\xff\x7f" + bytes(99),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_array_whose_header_does_not_fit_is_refused_before_it_is_unpacked(tmp_path: Path, bomb: str):
    """The header is read and nothing else: a read of all values would call `np.frombuffer`."""
    path = archive(tmp_path / "a.npz", BOMBS[bomb])
    with patch.object(np, "frombuffer", side_effect=AssertionError):
        said = [problem(array_size, path), problem(read_image_array, path)]
    assert said[0] == said[1]


def test_a_small_file_that_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The directory of the archive says how much it unpacks to."""
    path = archive(tmp_path / "a.npz", header((1000, 1000), "u1") + bytes(10**6))
    assert path.stat().st_size < 5000
    monkeypatch.setattr(arrays, "MOST_BYTES", 10**6)
    assert "more than 1,000,000" in problem(array_size, path)
    assert "more than 1,000,000" in problem(read_image_array, path)


def test_a_directory_that_understates_the_size_unpacks_no_more_than_it_says(tmp_path: Path):
    """The archive claims 176 bytes for a stream that unpacks to 4 MiB."""
    content = header((3, 4)) + bytes(2**22)
    small, large = (len(header((3, 4))) + 48).to_bytes(4, "little"), len(content).to_bytes(4, "little")
    path = archive(tmp_path / "a.npz", content)
    path.write_bytes(path.read_bytes().replace(large, small))
    assert "damaged" in problem(read_image_array, path)


def damaged(data: bytes) -> bytes:
    at = data.index(b"image.npy") + 40
    return data[:at] + bytes(16) + data[at + 16 :]


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_one_problem(tmp_path: Path, how: int):
    """Every compression raises other errors."""
    random = np.random.default_rng(0).integers(0, 255, (50, 40), np.uint8)
    path = archive(tmp_path / "a.npz", header((50, 40), "u1") + random.tobytes(), how=how)
    path.write_bytes(damaged(path.read_bytes()))
    assert "damaged" in problem(read_image_array, path)
    path.write_bytes(path.read_bytes()[:300])
    assert "damaged" in problem(array_size, path)


def test_an_encrypted_archive_is_one_problem(tmp_path: Path):
    path = archive(tmp_path / "a.npz", header((3, 4)) + SLICE.tobytes())
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in problem(read_image_array, path)


def test_the_headers_of_the_label_are_checked_too(tmp_path: Path):
    """A label of another size is found without decoding, as for pictures."""
    path = tmp_path / "a.npz"
    sample = SourceSample("a", path, (LabelFile(path),))
    np.savez(path, image=SLICE, label=SLICE)
    facts = read_header(sample)
    assert isinstance(facts, ImageFacts)
    assert facts.size == (3, 4)
    np.savez(path, image=SLICE, label=SLICE[:2])
    problems = read_header(sample)
    assert isinstance(problems, list)
    assert "2 x 4" in problems[0].what

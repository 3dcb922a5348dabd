"""Shorter ways for the many plain files of a large folder give what the general ones give."""

from __future__ import annotations

import pickle
import re
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.imaging.dicom.recognition import DicomPath
from stages.imaging.listing import list_folder
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.patterns import _expression, match_any_file, stem_of
from stages.imaging.samples import LabelFile, SourceSample

SLOW = re.compile(_expression("{id}.{ext}"), re.IGNORECASE | re.DOTALL).fullmatch
"""The pattern of nearly all files, by its regular expression."""
NAMES = st.lists(
    st.sampled_from(["a", "é", ".", "nii", "NII", "ome", "gz", "tif", "-", " ", "\n"]), min_size=1, max_size=7
)
PATHS = st.lists(NAMES.map("".join), min_size=1, max_size=3).map("/".join)


@given(PATHS)
def test_a_plain_name_is_read_as_by_the_regular_expression(path: str):
    """A path of another kind is left to the expression."""
    quick, slow = match_any_file(path), SLOW(path)
    assert stem_of(path) == (quick.id if quick else "")
    if quick is not None:
        assert slow is not None
        assert (quick.id, quick.folder) == (slow["id"], slow["folder0"].rstrip("/"))


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a.png", "a"),
        ("x/y/a.b.png", "a.b"),
        ("x.y/a", ""),
        ("a.nii.gz", ""),
        ("A.OME.tif", ""),
        (".png", ""),
        ("a.", ""),
        ("", ""),
    ],
)
def test_the_stem_of_a_name(path: str, stem: str):
    assert stem_of(path) == stem


def test_a_sample_from_text_is_the_sample_from_paths():
    """Also where its path was never asked for: compared, hashed, copied, replaced, and in another process."""

    def late() -> SourceSample:
        return SourceSample.at("i/a.png", "a", (LabelFile.at("m/a.png", "vessel"),), "p1")

    plain = SourceSample("a", Path("i/a.png"), (LabelFile(Path("m/a.png"), "vessel"),), "p1", grouped=True)
    assert late() == plain
    assert hash(late()) == hash(plain)
    assert repr(late()) == repr(plain)
    assert late().grouped
    sent = pickle.loads(pickle.dumps(late()))  # noqa: S301 - written here
    for other in (sent, copy(late()), replace(late(), split="")):
        assert other == plain
        assert type(other.image) is type(plain.image)
    assert replace(late(), id="b").id == "b"
    with pytest.raises(AttributeError, match="no attribute 'picture'"):
        late().picture  # type: ignore[attr-defined] # noqa: B018 - asked for


def test_a_sample_without_a_group_is_a_group_of_its_own():
    assert SourceSample.at("a.png", "a", (), "") == SourceSample("a", Path("a.png"))
    assert not SourceSample.at("a.png", "a", (), "").grouped


def test_a_path_that_is_more_than_its_text_stays(tmp_path: Path):
    (tmp_path / "IM1").write_bytes(bytes(128) + b"DICM")
    path = DicomPath(tmp_path / "IM1")
    assert SourceSample.at(path, "a", (), "").image is path
    assert LabelFile.at(path).place is path
    (file,) = list_folder(tmp_path).files
    assert isinstance(file.path, DicomPath)


@pytest.mark.parametrize("below", ["", "one/two"])
@pytest.mark.parametrize("spelling", ["images", "./images", "images/", "../{name}/images", "{root}/images"])
def test_paths_are_those_of_pathlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, below: str):
    """In the user's spelling of the folder, without a needless `./` or `//`."""
    monkeypatch.chdir(tmp_path)
    folder = Path(spelling.format(name=tmp_path.name, root=tmp_path))
    (folder / below).mkdir(parents=True)
    (folder / below / "a.png").write_bytes(b"x")
    (sample,) = find_samples(Inputs(images=folder)).samples
    assert str(sample.place) == str(folder / below / "a.png")
    assert sample.image == folder / below / "a.png"


def test_the_present_folder_is_not_part_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"x")
    (sample,) = find_samples(Inputs(images=Path())).samples
    assert sample.place == "a.png"

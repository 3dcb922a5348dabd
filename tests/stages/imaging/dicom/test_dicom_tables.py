"""A table can name folders of series, files without extension, and DICOM SEG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.imaging.dicom.series import SeriesPath
from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.pairing import Inputs, PairingRule, find_masks, find_samples
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.planes import split_into_planes
from tests.dicom_series import labels_of, scan, write_seg, write_series


def test_a_row_names_a_series_and_its_seg(tmp_path: Path):
    paths = write_series(tmp_path / "study" / "ct", scan(), name="{}")
    write_seg(tmp_path / "s.dcm", paths, labels_of(), ["lesion"])
    table = tmp_path / "t.csv"
    table.write_text("id,image,mask,group\na,study/ct,s.dcm,\nb,study/ct/2,,g\n")
    found = find_samples(Inputs(images=tmp_path, csv=table))
    assert found.problems == []
    assert isinstance(found.samples[0].image, SeriesPath)
    assert open_volume(found.samples[1].image).facts.planes == 1
    planes, problems = split_into_planes(found.samples)
    assert problems == []
    assert [plane.group for plane in planes] == [*["P-1"] * 4, "g"]
    rules = LabelRules.for_samples(planes)
    read = [read_labels(plane.masks, rules, (22, 30)).mask for plane in planes[:4]]
    np.testing.assert_array_equal(np.stack(read), labels_of())
    masks, _ = find_masks({"a"}, PairingRule.from_dict({"rule": "table"}), csv=table)
    assert [mask.label for mask in masks["a"]] == ["lesion"]


def test_a_folder_without_exactly_one_series_is_a_problem(tmp_path: Path):
    for number in (1, 2):
        write_series(tmp_path / "ct", scan(), name=f"{number}_{{}}.dcm", number=number)
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("id,image,mask\na,ct,\nb,empty,\nc,ct/1_1.dcm,\n")
    found = find_samples(Inputs(images=tmp_path, csv=tmp_path / "t.csv"))
    assert [one.id for one in found.samples] == ["c"]
    assert "is a folder with 2 images" in str(found.problems[0])
    assert "is a folder with 0 images" in str(found.problems[1])


def test_a_row_that_names_a_folder_reads_no_folders_below_it(tmp_path: Path):
    """A row may name any folder, such as the root of the disk."""
    write_series(tmp_path / "study" / "ct", scan(), name="{}")
    (tmp_path / "t.csv").write_text("id,image,mask\na,study,\nb,study/ct,\n")
    found = find_samples(Inputs(images=tmp_path, csv=tmp_path / "t.csv"))
    assert [one.id for one in found.samples] == ["b"]
    assert "is a folder with 0 images" in str(found.problems[0])

"""The tasks of a job array, and the merge, see the data under other paths, as on machines with other mounts."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import extract, merge
from stages.errors import InputProblemsError
from store.disk.publish import replace_file
from tests.conftest import extract_settings

Settings = dict[str, Any]
PLACES = ("one", "mnt/data", "scratch/of/the user")
"""Where the data are for the extraction in one piece, and for two tasks."""


def _damage(place: Path) -> None:
    """Damage the header of one image and the pixels of another, and make a mask whose image is missing."""
    images = sorted((place / "images").iterdir())
    replace_file(images[2], images[2].read_bytes()[:10])
    replace_file(images[12], images[12].read_bytes()[:300])
    shutil.copy(images[4], place / "masks" / "alone_segmentation.png")


def _folders(place: Path) -> Settings:
    _damage(place)
    return {}


def _same_id(place: Path) -> Settings:
    """Give two images one id: the text of the problem names the other file."""
    image = sorted((place / "images").iterdir())[3]
    shutil.copy(image, image.with_suffix(".webp"))
    return {}


def _table(place: Path, *, absolute: bool, data: Path) -> Settings:
    masks = {file.name.split("_segmentation")[0]: file for file in (data / "masks").iterdir()}
    with (place / "table.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "mask"])
        for image in sorted((data / "images").iterdir()):
            paths = [image, masks.get(image.stem, "")]
            rows.writerow([image.stem, *(one if absolute or one == "" else one.relative_to(place) for one in paths)])  # type: ignore[union-attr]
        rows.writerow(["absent", data / "images" / "absent.png" if absolute else "images/absent.png", ""])
    return {"csv": place / "table.csv", "images": None, "masks": None}


def _relative_table(place: Path) -> Settings:
    _damage(place)
    return _table(place, absolute=False, data=place)


def _table_of_files_elsewhere(place: Path) -> Settings:
    """Name files outside the folder of the table by absolute paths."""
    _damage(place)
    data = place.with_name("files")
    data.mkdir()
    for name in ("images", "masks"):
        shutil.move(place / name, data / name)
    return _table(place, absolute=True, data=data)


@pytest.mark.parametrize("prepare", [_folders, _same_id, _relative_table, _table_of_files_elsewhere])
def test_parts_of_machines_with_other_paths_are_merged_on_a_third(
    phantoms: Path, memo: Path, tmp_path: Path, prepare: Callable[[Path], Settings]
):
    """The data are gone when the parts are merged. Paths of a message are those of the task, and none are stored."""
    made: list[Path] = []
    alone = None
    for number, name in enumerate(PLACES):
        place = tmp_path / name
        shutil.copytree(phantoms, place)
        given = {"images": place / "images", "masks": place / "masks", **prepare(place), "on_error": "skip"}
        made.append(tmp_path / "parts" / f"{number}.zarr")
        report = extract.run(extract_settings(place, made[-1], memo, shard=f"{number}/2" if number else None, **given))
        alone = alone or report
    for name in PLACES:
        shutil.rmtree(tmp_path / name.split("/")[0])
    merged = merge.run(made[1:], tmp_path / "whole.zarr")
    assert alone is not None
    assert len(merged.skipped) == len(alone.skipped) > 0
    assert all(str(tmp_path / "mnt") in one.where or str(tmp_path / "scratch") in one.where for one in merged.skipped)
    files = {file.relative_to(made[0]): file.read_bytes() for file in made[0].rglob("*") if file.is_file()}
    if prepare is not _table_of_files_elsewhere:
        assert files == {file: (tmp_path / "whole.zarr" / file).read_bytes() for file in files}
        assert str(tmp_path).encode() not in b"".join(files.values())


def test_machines_that_see_other_files_are_named_with_their_folders(phantoms: Path, memo: Path, tmp_path: Path):
    """An image is missing on the second machine."""
    for number, name in enumerate(("first", "second"), start=1):
        shutil.copytree(phantoms, tmp_path / name)
        if number == 2:
            for kind in ("images", "masks"):
                next((tmp_path / name / kind).glob("phantom_0005*")).unlink()
        extract.run(extract_settings(tmp_path / name, tmp_path / f"{number}.zarr", memo, shard=f"{number}/2"))
    with pytest.raises(InputProblemsError, match=r"2\.zarr: was made from another list of images") as caught:
        merge.run([tmp_path / "1.zarr", tmp_path / "2.zarr"], tmp_path / "whole.zarr")
    assert f"its task read {tmp_path}/second/images and not {tmp_path}/first/images" in str(caught.value)

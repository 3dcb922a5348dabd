"""`extract --shard` and `pipeline merge`: the parts together are the store of one extraction, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import extract, merge
from stages.errors import InputProblemsError, UsageError
from stages.extraction.parts import Share
from store.disk.publish import replace_file
from store.errors import StoreCorruptError
from store.reader import AttentionStore
from tests.conftest import extract_settings


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def _make_parts(phantoms: Path, memo: Path, out: Path, of: int, **changes: Any) -> list[Path]:
    """Make all parts, the last one first: tasks do not wait for each other."""
    paths = [out / f"part{number}.zarr" for number in range(1, of + 1)]
    for number in range(of, 0, -1):
        extract.run(extract_settings(phantoms, paths[number - 1], memo, shard=f"{number}/{of}", **changes))
    return paths


@pytest.mark.parametrize("of", [1, 3, 5, 20])
def test_merged_parts_are_the_store_of_one_extraction(
    phantoms: Path, phantom_store: Path, memo: Path, tmp_path: Path, of: int
):
    """Parts may differ in size by one sample, and with more parts than images some are empty. Their order is free."""
    parts = _make_parts(phantoms, memo, tmp_path, of)
    assert [len(AttentionStore.open(part)) for part in parts] == [
        len(Share(n, of).range_of(16)) for n in range(1, of + 1)
    ]
    report = merge.run(parts[::-1], tmp_path / "whole.zarr")
    assert (report.samples, report.parts) == (16, of)
    assert _bytes(tmp_path / "whole.zarr") == _bytes(phantom_store)


def test_several_shards_of_samples_are_merged_across_their_borders(
    phantoms: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A part's last shard is not full; in the whole store the next part's samples fill it."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 4)
    extract.run(extract_settings(phantoms, tmp_path / "one.zarr", memo))
    merge.run(_make_parts(phantoms, memo, tmp_path, 3), tmp_path / "whole.zarr")
    assert _bytes(tmp_path / "whole.zarr") == _bytes(tmp_path / "one.zarr")


def test_the_number_of_all_samples_chooses_the_size_of_the_shards(
    phantoms: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """So many samples get larger shards than those of a part, also where damaged files are left out."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    monkeypatch.setattr("store.writer.MOST_SMALL_SHARDS", 3)
    copied = tmp_path / "copied"
    shutil.copytree(phantoms, copied)
    replace_file(sorted((copied / "images").iterdir())[3], b"no image")
    for name, images, changes in (("sound", phantoms, {}), ("damaged", copied, {"on_error": "skip"})):
        out = tmp_path / name
        out.mkdir()
        extract.run(extract_settings(images, out / "one.zarr", memo, **changes))
        parts = _make_parts(images, memo, out, 3, **changes)
        merge.run(parts, out / "whole.zarr")
        whole = AttentionStore.open(out / "whole.zarr").description.samples_per_shard
        assert whole > AttentionStore.open(parts[0]).description.samples_per_shard
        assert _bytes(out / "whole.zarr") == _bytes(out / "one.zarr")


def test_large_parts_begin_with_a_new_shard_and_are_linked(
    phantoms: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of 8 shards only the last is written: a damaged file of the second part moves the samples behind it."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    monkeypatch.setattr("stages.extraction.parts.FEWEST_SHARDS", 2)
    copied = tmp_path / "copied"
    shutil.copytree(phantoms, copied)
    replace_file(sorted((copied / "images").iterdir())[14], b"no image")
    for name, images, linked in (("sound", phantoms, 8), ("damaged", copied, 7)):
        out = tmp_path / name
        out.mkdir()
        extract.run(extract_settings(images, out / "one.zarr", memo, on_error="skip"))
        parts = _make_parts(images, memo, out, 3, on_error="skip")
        assert [len(AttentionStore.open(part)) % 2 for part in parts] == [0, 0, name == "damaged"]
        merge.run(parts, out / "whole.zarr")
        assert _bytes(out / "whole.zarr") == _bytes(out / "one.zarr")
        links = [file.stat().st_nlink for file in (out / "whole.zarr" / "image").glob("c.*")]
        assert sorted(links) == [1] * (8 - linked) + [2] * linked


def test_parts_of_a_version_that_divided_otherwise_are_refused(
    phantoms: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both agree on the images, but samples would be missing or doubled between them."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    parts = _make_parts(phantoms, memo, tmp_path, 3)
    monkeypatch.setattr("stages.extraction.parts.FEWEST_SHARDS", 2)
    extract.run(extract_settings(phantoms, parts[1], memo, shard="2/3"))
    with pytest.raises(InputProblemsError, match=r"part2\.zarr: was made from another list of images"):
        merge.run(parts, tmp_path / "whole.zarr")


@pytest.mark.parametrize(
    "changes",
    [
        {"tile": (16, 16), "image_size": (16, 16), "attention_size": (16, 16), "tile_background": 0.999},
        {"labels": "instances", "compress": True, "fit": "pad"},
        {"masks": None, "images": "images"},
    ],
)
def test_parts_of_other_kinds_of_stores(phantoms: Path, memo: Path, tmp_path: Path, changes: dict[str, Any]):
    """Tiles without background; instances in a compressed store; images without masks."""
    if "images" in changes:
        shutil.copytree(phantoms / "images", tmp_path / "images")
        changes = {**changes, "images": tmp_path / "images"}
    alone = extract.run(extract_settings(phantoms, tmp_path / "one.zarr", memo, **changes))
    report = merge.run(_make_parts(phantoms, memo, tmp_path, 3, **changes), tmp_path / "whole.zarr")
    assert _bytes(tmp_path / "whole.zarr") == _bytes(tmp_path / "one.zarr")
    assert str(alone).endswith("\n".join(report.hints))


def _spoiled(phantoms: Path, folder: Path) -> Path:
    """Copy the phantoms, and damage images: one in its header and three later."""
    shutil.copytree(phantoms, folder)
    for number, keep in ((2, 10), (5, 300), (6, 300), (11, 300)):
        file = folder / "images" / f"phantom_{number:04d}.png"
        replace_file(file, file.read_bytes()[:keep])
    return folder


@pytest.mark.parametrize("of", [3, 14])
def test_skipped_files_are_those_of_one_extraction(phantoms: Path, memo: Path, tmp_path: Path, of: int):
    """In the same order, and the same problem once. With 14 parts some are empty since their only image is damaged."""
    images = _spoiled(phantoms, tmp_path / "set")
    alone = extract.run(extract_settings(images, tmp_path / "one.zarr", memo, on_error="skip"))
    parts = _make_parts(images, memo, tmp_path, of, on_error="skip")
    report = merge.run(parts, tmp_path / "whole.zarr")
    assert list(report.skipped) == list(alone.skipped)
    assert len(report.skipped) == 4
    assert (0 in {len(AttentionStore.open(part)) for part in parts}) == (of == 14)
    assert _bytes(tmp_path / "whole.zarr") == _bytes(tmp_path / "one.zarr")


def test_a_broken_file_stops_only_the_task_that_has_it(phantoms: Path, memo: Path, tmp_path: Path):
    """The file's header is sound. Its task reports it, and merging names the part that is missing."""
    images = _spoiled(phantoms, tmp_path / "set")
    (images / "images" / "phantom_0002.png").unlink()
    (images / "masks" / "phantom_0002_segmentation.png").unlink()
    paths = [tmp_path / f"{number}.zarr" for number in (1, 2, 3)]
    extract.run(extract_settings(images, paths[0], memo, shard="1/5"))
    with pytest.raises(InputProblemsError, match="phantom_0005"):
        extract.run(extract_settings(images, paths[1], memo, shard="2/5"))
    with pytest.raises(
        InputProblemsError, match=r"2\.zarr: there is no store(.|\n)*4 parts of 5 not given.*: 2, 3, 4, 5"
    ):
        merge.run(paths[:2], tmp_path / "whole.zarr")


def test_warnings_that_need_all_samples_come_when_parts_are_merged(phantoms: Path, memo: Path, tmp_path: Path):
    """Inverted masks, lost objects and images without a mask: the same lines as of one extraction, and not before."""
    shutil.copytree(phantoms, tmp_path / "set")
    for file in sorted((tmp_path / "set" / "masks").iterdir()):
        mask = 255 - np.asarray(Image.open(file))
        mask[10:12, 10:12] = 0
        Image.fromarray(mask).save(file)
    for number in (1, 4, 9, 12):
        (tmp_path / "set" / "masks" / f"phantom_{number:04d}_segmentation.png").unlink()
    changes = {"labels": "instances", "image_size": (8, 8), "attention_size": (32, 48)}
    alone = extract.run(extract_settings(tmp_path / "set", tmp_path / "one.zarr", memo, **changes))
    parts = []
    for number in (1, 2, 3):
        parts.append(tmp_path / f"{number}.zarr")
        said = extract.run(extract_settings(tmp_path / "set", parts[-1], memo, shard=f"{number}/3", **changes))
        assert "pipeline merge" in said.hint
        assert "inverted" not in said.hint
        assert "no mask for" not in said.hint
    report = merge.run(parts, tmp_path / "whole.zarr")
    assert len(report.hints) >= 2
    assert "no mask for 4 of 16 images; they are not trained on: phantom_0001, phantom_0004, phantom_0009, …" in str(
        report
    )
    assert str(alone).endswith("\n".join(report.hints))
    assert _bytes(tmp_path / "whole.zarr") == _bytes(tmp_path / "one.zarr")


def test_no_sample_in_any_part_is_an_error(phantoms: Path, memo: Path, tmp_path: Path):
    """One extraction fails too."""
    shutil.copytree(phantoms, tmp_path / "set")
    for file in (tmp_path / "set" / "images").iterdir():
        replace_file(file, file.read_bytes()[:300])
    parts = _make_parts(tmp_path / "set", memo, tmp_path, 2, on_error="skip")
    with pytest.raises(InputProblemsError, match="No sample is left"):
        merge.run(parts, tmp_path / "whole.zarr")
    assert not (tmp_path / "whole.zarr").exists()


@pytest.fixture(scope="module")
def three(phantoms: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the three parts of a store. Tests must not change it."""
    folder = tmp_path_factory.mktemp("three")
    _make_parts(phantoms, memo, folder, 3)
    return folder


def _damage_chunk(folder: Path) -> None:
    file = folder / "part2.zarr" / "image" / "c.0.0.0.0"
    data = bytearray(file.read_bytes())
    data[50] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


def _drop_shard(folder: Path) -> None:
    (folder / "part3.zarr" / "attention" / "c.0.0.0.0").unlink()


def _change_part(folder: Path) -> None:
    file = folder / "part1.zarr" / "zarr.json"
    file.write_bytes(file.read_bytes().replace(b'"number": 1', b'"number": 2'))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_damage_chunk, r"part2\.zarr.*does not match its checksum"),
        (_drop_shard, r"part3\.zarr.*shard is missing"),
        (_change_part, r"part1\.zarr: its description was changed"),
    ],
)
def test_a_damaged_part_is_named_and_nothing_is_written(
    three: Path, tmp_path: Path, damage: Callable[[Path], None], named: str
):
    """A part of which a byte has changed, of which a file is missing, or which claims to be another one."""
    shutil.copytree(three, tmp_path / "parts")
    damage(tmp_path / "parts")
    with pytest.raises((InputProblemsError, StoreCorruptError, Exception), match=named):
        merge.run(sorted((tmp_path / "parts").iterdir()), tmp_path / "whole.zarr")
    assert {file.name for file in tmp_path.iterdir()} == {"parts"}


def test_missing_doubled_and_foreign_parts_are_all_named(
    three: Path, phantoms: Path, phantom_store: Path, memo: Path, tmp_path: Path
):
    """All faults are in one message, and an older store at the path stays as it was."""
    shutil.copytree(phantom_store, tmp_path / "whole.zarr")
    before = _bytes(tmp_path / "whole.zarr")
    shutil.copytree(three / "part1.zarr", tmp_path / "again.zarr")
    other = tmp_path / "other.zarr"
    extract.run(extract_settings(phantoms, other, memo, shard="2/3", layers=(-2,), image_size=(16, 16)))
    four = tmp_path / "four.zarr"
    extract.run(extract_settings(phantoms, four, memo, shard="2/4"))
    given = [three / "part1.zarr", tmp_path / "again.zarr", other, four, phantom_store, tmp_path / "none.zarr"]
    with pytest.raises(InputProblemsError) as caught:
        merge.run(given, tmp_path / "whole.zarr")
    text = str(caught.value)
    assert "again.zarr: is part 1 of 3, as" in text
    assert "other.zarr: was made with another recipe of the transformer" in text
    assert "(different: heads, size)" in text
    assert "four.zarr: is part 2 of 4, and" in text
    assert f"{phantom_store}: is a whole store" in text
    assert "none.zarr: there is no store" in text
    assert "1 part of 3 not given or not usable: 3" in text
    assert _bytes(tmp_path / "whole.zarr") == before


def test_parts_of_another_list_of_images_are_refused(three: Path, phantoms: Path, memo: Path, tmp_path: Path):
    """One task saw an image more than the others, so its range of the list is another one."""
    shutil.copytree(phantoms, tmp_path / "set")
    for kind in ("images", "masks"):
        file = next((tmp_path / "set" / kind).glob("phantom_0000*"))
        shutil.copy(file, file.with_name(file.name.replace("0000", "0000b")))
    extract.run(extract_settings(tmp_path / "set", tmp_path / "two.zarr", memo, shard="2/3"))
    with pytest.raises(InputProblemsError, match=r"two\.zarr: was made from another list of images"):
        merge.run([three / "part1.zarr", tmp_path / "two.zarr", three / "part3.zarr"], tmp_path / "whole.zarr")


@pytest.mark.parametrize(("part", "out"), [("s3://lab/part1.zarr", "whole.zarr"), ("part1.zarr", "s3://lab/x.zarr")])
def test_addresses_are_refused(part: str, out: str):
    """Parts are read and stores are written on this machine only."""
    with pytest.raises(UsageError, match=r"s3://lab/.*is an address on the network"):
        merge.run([Path(part)], Path(out))


def test_an_unfinished_part_is_told_from_one_that_was_never_begun(three: Path, tmp_path: Path):
    """Its task still writes it, or was killed."""
    (tmp_path / ".two.zarr.partial-x").mkdir()
    with pytest.raises(InputProblemsError, match=r"two\.zarr: its task has not finished, or was ended"):
        merge.run([three / "part1.zarr", tmp_path / "two.zarr", three / "part3.zarr"], tmp_path / "whole.zarr")


def test_a_task_does_not_replace_the_part_of_another_one(three: Path, phantoms: Path, memo: Path, tmp_path: Path):
    """All tasks of an array have one script; a forgotten number in --store must not cost the work of the others."""
    shutil.copytree(three / "part1.zarr", tmp_path / "part.zarr")
    with pytest.raises(UsageError, match=r"holds part 1 of 3, and would be replaced by part 2 of 3"):
        extract.run(extract_settings(phantoms, tmp_path / "part.zarr", memo, shard="2/3"))
    again = extract.run(extract_settings(phantoms, tmp_path / "part.zarr", memo, shard="1/3"))
    assert again.computed == 0


def test_the_whole_store_does_not_replace_a_part(three: Path):
    """The parts are needed until the whole is there."""
    with pytest.raises(UsageError, match="also the path of the part"):
        merge.run(sorted(three.iterdir()), three / "part1.zarr")


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.5/3", "1/99999999"])
def test_an_impossible_share_is_refused(text: str):
    with pytest.raises(UsageError, match="--shard"):
        Share.parse(text)


@pytest.mark.parametrize("step", [1, 3, 8])
def test_shares_cover_every_position_once(step: int):
    for of in range(1, 9):
        for count in range(20):
            shares = [Share(number, of).range_of(count, step) for number in range(1, of + 1)]
            assert [at for share in shares for at in share] == list(range(count))
            assert all(share.start % step == 0 or not share for share in shares)


def test_a_part_says_in_its_description_which_part_it_is(three: Path):
    described = json.loads((three / "part2.zarr" / "zarr.json").read_bytes())["attributes"]["attention_store"]
    assert (described["part"]["number"], described["part"]["of"]) == (2, 3)

"""Adding images to a store: old samples keep their bytes, and only the new images are decoded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages import extract
from stages.errors import UsageError
from stages.settings import ExtractSettings
from store import AttentionStore
from store.check import verify_store
from tests.stages.growing_folders import Folders

Settings = Callable[..., ExtractSettings]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)


def test_added_images_follow_the_old_ones(folders: Folders):
    """Ids that sort before the old ones come after them all the same; the samples are those of a whole extraction."""
    folders.add("b", "c", "d", "e", "f")
    report = extract.run(folders.settings())
    assert report.samples == 5
    before = folders.files()
    folders.add("a", "g")
    report = extract.run(folders.settings())
    assert "added to the store: 2 samples; 5 were kept" in str(report)
    assert "s.zarr: 7 samples, 7 with a mask" in str(report)
    assert "computed for 2, remembered for 0" in str(report)
    store = AttentionStore.open(folders.store)
    assert [str(id_) for id_ in store.ids] == ["b", "c", "d", "e", "f", "a", "g"]
    assert verify_store(folders.store) == []
    whole = replace(folders.settings(), store=folders.store.with_name("whole.zarr"))
    extract.run(whole)
    for sample in AttentionStore.open(whole.store):
        (position,) = [at for at, id_ in enumerate(store.ids) if id_ == sample.id]
        for name, value in vars(sample).items():
            np.testing.assert_array_equal(getattr(store[position], name), value, err_msg=name)
    after = folders.files()
    for name in ("image/c.0.0.0.0", "image/c.1.0.0.0", "attention/c.1.0.0.0", "mask/c.0.0.0"):
        assert after[name] == before[name], "the full shard is the same file"


def test_old_images_are_not_decoded_again(folders: Folders, monkeypatch: pytest.MonkeyPatch):
    folders.add("a", "b", "c")
    extract.run(folders.settings())
    folders.add("d")
    decoded = []
    original = extract.extract_shard
    monkeypatch.setattr(
        extract, "extract_shard", lambda part, *rest: decoded.extend(one.id for one in part) or original(part, *rest)
    )
    extract.run(folders.settings())
    assert decoded == ["d"]


def test_without_new_images_the_store_stays(folders: Folders):
    folders.add("a", "b", "c")
    extract.run(folders.settings())
    before = folders.files()
    assert "added to the store: 0 samples; 3 were kept" in str(extract.run(folders.settings()))
    assert folders.files() == before


def test_many_additions_give_the_store_of_one(folders: Folders):
    """The bytes do not depend on the number of steps if the order of the ids is that of the additions."""
    for name in "abcdefg":
        folders.add(name)
        extract.run(folders.settings())
    whole = replace(folders.settings(), store=folders.store.with_name("whole.zarr"))
    extract.run(whole)
    contents = [
        {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        for path in (folders.store, whole.store)
    ]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folders: folders.draw("a", seed=9), "a have another image, mask or group"),
        (lambda folders: folders.draw_mask("b", seed=9), "b have another image, mask or group"),
        (lambda folders: (folders.masks / "b.png").unlink(), "b have another image, mask or group"),
        (lambda folders: folders.remove("a"), "a are in the store, and their images are not there"),
        (lambda folders: folders.change(image_size=(16, 24)), r"in another way \(size"),
        (lambda folders: folders.change(layers=(-1,)), r"in another way \(model or recipe, heads"),
        (lambda folders: folders.change(compress=True), r"in another way \(compress"),
        (lambda folders: folders.change(fit="pad"), r"in another way \(images"),
        (lambda folders: folders.change(tile=(8, 8)), "images that are cut into tiles cannot be added"),
        (lambda folders: folders.extract_without_record(), "does not record the digests of its masks"),
    ],
    ids=["image", "mask", "no_mask", "removed", "size", "layers", "compress", "fit", "tile", "no_record"],
)
def test_what_does_not_fit_the_store_is_refused(folders: Folders, change: Callable[[Folders], object], message: str):
    """The store stays as it was."""
    folders.add("a", "b", "c")
    extract.run(folders.settings())
    change(folders)
    folders.add("d")
    before = folders.files()
    with pytest.raises(UsageError, match=message):
        extract.run(folders.settings())
    assert folders.files() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folders: (folders.images / "a.jpg").write_bytes(b""),
            r"a are in the store, and their .* cannot be used\. .*a\.jpg: has the same id 'a' as .*rename one",
        ),
        (
            lambda folders: (folders.masks / "b_mask.png").write_bytes(b""),
            r"b are in the store, and their .* cannot be used\. .*b\.png: has 2 masks: ",
        ),
        (
            lambda folders: [file.unlink() or file.symlink_to("gone") for file in folders.images.glob("[ab].png")],
            r"a, b are in the store, .* cannot be used\. .*a\.png: the link points to no file.* \(3 more problems\)\.",
        ),
    ],
    ids=["same_stem", "two_masks", "links"],
)
def test_the_message_says_why_a_sample_was_not_found_though_its_file_is_there(
    folders: Folders, change: Callable[[Folders], object], message: str
):
    folders.add("a", "b", "c")
    extract.run(folders.settings())
    change(folders)
    before = folders.files()
    for run in (extract.run, extract.plan):
        with pytest.raises(UsageError, match=message):
            run(folders.settings())
    assert folders.files() == before


def test_the_message_says_that_ids_begin_with_the_folder_now_or_do_not_any_more(folders: Folders):
    folders.add("a", "b")
    for name in "ab":
        (folders.images / f"of_{name}").mkdir()
        (folders.images / f"{name}.png").rename(folders.images / f"of_{name}" / f"{name}.png")
    second = folders.images / "of_b" / "a.png"
    folders.change(masks=None)
    extract.run(folders.settings())
    shutil.copy(folders.images / "of_a" / "a.png", second)
    with pytest.raises(UsageError, match=r"a, b are in the store, and files in several folders .* folder: of_a-a\."):
        extract.run(folders.settings())
    shutil.rmtree(folders.store)
    extract.run(folders.settings())
    second.unlink()
    with pytest.raises(UsageError, match=r"of_a-a, .* and no name is in several folders any more, .* folder: a\."):
        extract.run(folders.settings())


def test_other_settings_are_refused_without_a_new_image_too(folders: Folders):
    """Without new images the rules that follow from images are not compared."""
    folders.add("a", "b", "c")
    folders.change(window="minmax")
    extract.run(folders.settings())
    extract.run(folders.settings())
    for change in ({"layers": (-1,)}, {"fit": "pad"}, {"image_size": (16, 24)}):
        folders.change(layers=(-2, -1), fit="stretch", image_size=(16, 16))
        folders.change(**change)
        with pytest.raises(UsageError, match="in another way"):
            extract.run(folders.settings())


@pytest.mark.parametrize("readable_header", [True, False])
def test_a_new_file_that_is_damaged_does_not_stop_the_next_addition(folders: Folders, *, readable_header: bool):
    """With `on_error` "skip" the command can be repeated. The damaged file is left out each time, and not counted."""
    folders.add("a", "b", "c")
    extract.run(folders.settings())
    folders.add("d")
    sound = (folders.images / "d.png").read_bytes()
    (folders.images / "d.png").write_bytes(sound[: len(sound) // 2] if readable_header else b"no image")
    folders.change(on_error="skip")
    for _ in range(2):
        report = extract.run(folders.settings())
        assert "added to the store: 0 samples; 3 were kept" in str(report)
        assert [problem.where for problem in report.skipped] == [str(folders.images / "d.png")]
        assert verify_store(folders.store) == []
        assert len(AttentionStore.open(folders.store)) == report.samples == 3
    (folders.images / "d.png").write_bytes(sound)
    assert extract.run(folders.settings()).samples == 4


def test_a_copy_stands_in_where_the_disk_has_no_links(folders: Folders, monkeypatch: pytest.MonkeyPatch):
    folders.add("a", "b", "c")
    extract.run(folders.settings())

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", refused)
    folders.add("d")
    extract.run(folders.settings())
    assert verify_store(folders.store) == []
    assert len(AttentionStore.open(folders.store)) == 4


def test_without_the_setting_nothing_is_recorded_or_kept(folders: Folders):
    folders.add("a", "b")
    folders.change(append=False)
    extract.run(folders.settings())
    assert not AttentionStore.open(folders.store).has("mask_digest")

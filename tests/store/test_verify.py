"""`pipeline verify`: exit statuses, the verdict on standard output, and random shares of a store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.verification import random_samples, run_verification
from store.check import check_store
from store.errors import UsageError
from store.format import SHARDED

MakeStore = Callable[..., Path]


def verify(path: Path, *, sample: str | None = None, seed: int | None = None, as_json: bool = False) -> int:
    return run_verification(path, sample=sample, seed=seed, as_json=as_json, progress=lambda shards, _: shards)


@pytest.fixture
def sound(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a store of ten samples in five shards per array."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    return make_store(10)


def flip(file: Path, position: int = 5) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_sound_store_is_0(sound: Path, capsys: pytest.CaptureFixture[str]):
    assert verify(sound) == 0
    assert capsys.readouterr().out == f"{sound}: sound; checked every byte\n"


def test_damage_is_1_even_if_parts_are_missing_too(sound: Path, capsys: pytest.CaptureFixture[str]):
    """Every fault has a line of its own on standard output."""
    flip(sound / "image" / "c.0.0.0.0")
    (sound / "mask" / "c.1.0.0").unlink()
    assert verify(sound) == 1
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("fault: `image` in ")
    assert lines[0].endswith("(samples 0-1): sample 0 does not match its checksum.")
    assert lines[1].startswith("fault: `mask` in ")
    assert lines[1].endswith("(samples 2-3): the shard is missing.")


@pytest.mark.parametrize("name", ["image/c.4.0.0.0", "group/c.0", "mask/zarr.json", "zarr.json"])
def test_missing_parts_alone_are_3(sound: Path, name: str, capsys: pytest.CaptureFixture[str]):
    (sound / name).unlink()
    assert verify(sound, as_json=True) == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["verdict"] == "missing"
    assert shown["sound"] is False
    assert len(shown["faults"]) == 1


def test_no_store_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert verify(tmp_path / "nothing.zarr") == 3
    assert "there is no store here" in capsys.readouterr().out
    assert verify(tmp_path) == 3
    assert "not an attention store" in capsys.readouterr().out


def test_a_store_of_a_later_version_is_2(sound: Path, capsys: pytest.CaptureFixture[str]):
    """The store is not reported as damaged, because another version of the program can read it."""
    root = json.loads((sound / "zarr.json").read_text())
    root["attributes"]["attention_store"]["version"] = 3
    (sound / "zarr.json").write_text(json.dumps(root))
    assert verify(sound) == 2
    assert "Update this program" in capsys.readouterr().out


@pytest.mark.parametrize("sample", ["0", "0%", "101%", "100.1%", "-1", "some", "5 %%", "", "1e3", "five%"])
def test_a_malformed_sample_is_misuse(sound: Path, sample: str):
    with pytest.raises(UsageError, match=r"--sample .*: give a number of samples such as 20, or a share such as 5%"):
        verify(sound, sample=sample)


def test_a_seed_without_a_sample_is_misuse(sound: Path):
    with pytest.raises(UsageError, match="--seed 3: without --sample every sample is read"):
        verify(sound, seed=3)


def test_an_address_is_misuse():
    with pytest.raises(UsageError, match="kind of address"):
        verify(Path("ftp://bucket/s.zarr"))


@pytest.mark.parametrize(
    ("sample", "samples", "count"),
    [
        ("5%", 100, 5), ("7%", 100, 7), ("5%", 101, 6), ("0.5%", 10, 1), ("100%", 9, 9), ("3", 9, 3), ("30", 9, 9),
        ("50%", 0, 0),
    ],
)  # fmt: skip
def test_a_share_is_rounded_up_and_a_number_is_exact(sample: str, samples: int, count: int):
    chosen = random_samples(sample, seed=1)(samples).tolist()
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(samples))


def test_a_seed_chooses_the_same_samples_and_another_one_others():
    chosen = [random_samples("5%", seed=seed)(1000).tolist() for seed in (4, 4, 5)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_share_finds_damage_in_its_samples_only(sound: Path, capsys: pytest.CaptureFixture[str]):
    """The report says how much was checked, and with which seed."""
    flip(sound / "attention" / "c.3.0.0.0")  # sample 6
    checked = {seed: random_samples("3", seed)(10).tolist() for seed in range(20)}
    with_it = next(seed for seed, chosen in checked.items() if 6 in chosen)
    without = next(seed for seed, chosen in checked.items() if 6 not in chosen)
    assert verify(sound, sample="3", seed=without) == 0
    assert f"sound; checked all metadata and columns, and 3 of 10 samples (seed {without})" in capsys.readouterr().out
    assert verify(sound, sample="3", seed=with_it) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"and 3 of 10 samples (seed {with_it})")


def test_a_share_finds_every_missing_shard_and_every_damaged_column(sound: Path):
    """The shards of all samples must exist and all columns are read, because both checks are cheap."""
    chosen = check_store(sound, choose=lambda _: np.array([0]))
    assert (chosen.verdict, chosen.samples, chosen.checked) == ("sound", 10, 1)
    for name in SHARDED:
        next((sound / name).glob("c.4.*")).unlink()
    flip(sound / "group" / "c.0")
    found = check_store(sound, choose=lambda _: np.array([0]))
    assert [fault.kind for fault in found.faults] == ["damaged", "missing", "missing", "missing"]
    assert [fault.text.partition(":")[0] for fault in found.faults[1:]] == ["`image`", "`mask`", "`attention`"]


def test_an_unseeded_share_prints_a_seed_that_repeats_it(sound: Path, capsys: pytest.CaptureFixture[str]):
    assert verify(sound, sample="40%", as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["checked"], shown["samples"]) == (4, 10)
    assert verify(sound, sample="40%", seed=shown["seed"], as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == shown


def test_a_store_with_a_folder_too_many_is_damaged(sound: Path):
    """Readers ignore such a folder. `verify` names it, because nothing checks its bytes."""
    shutil.copytree(sound / "mask", sound / "novelty")
    found = check_store(sound)
    assert [fault.text for fault in found.faults] == [f"{sound}: novelty does not belong to the store"]
    assert found.verdict == "damaged"


def test_a_description_in_other_bytes_is_damaged_although_its_values_are_right(sound: Path):
    """The bytes of a store follow from its contents; other bytes show that something rewrote the file."""
    root = json.loads((sound / "zarr.json").read_text())
    (sound / "zarr.json").write_text(json.dumps(root))
    found = check_store(sound)
    assert [fault.text.partition(",")[2] for fault in found.faults] == [" but not in the bytes that were written."]
    assert found.verdict == "damaged"


@pytest.mark.parametrize("indent", [2, None])
def test_a_description_of_version_1_may_be_in_any_bytes_that_zarr_wrote(tmp_path: Path, indent: int | None):
    """Zarr's versions differ in the indentation; none of them wrote four spaces."""
    path = shutil.copytree(Path(__file__).parents[1] / "golden" / "v1" / "store.zarr", tmp_path / "s.zarr")
    root = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps(root, indent=indent))
    assert check_store(path).faults == []
    (path / "zarr.json").write_text(json.dumps(root, indent=4))
    assert check_store(path).verdict == "damaged"


@pytest.mark.parametrize("name", ["image", "group"])
def test_a_file_that_belongs_to_no_sample_is_damage(sound: Path, name: str):
    """Also where its name is that of the next chunk."""
    (last,) = (sound / name).glob("c.4.*" if name == "image" else "c.0")
    extra = last.with_name(last.name.replace("c.4", "c.5") if name == "image" else "c.1")
    shutil.copyfile(last, extra)
    expected = f"`{name}`: {extra.name} does not belong to the store"
    assert [fault.text for fault in check_store(sound).faults] == [expected]


def test_each_damaged_sample_of_a_shard_is_named_and_a_missing_shard_once(sound: Path):
    shard = sound / "image" / "c.1.0.0.0"
    flip(shard)
    flip(shard, shard.stat().st_size // 2)
    (sound / "mask" / "c.1.0.0").unlink()
    texts = [fault.text for fault in check_store(sound).faults]
    assert [text.rpartition(": ")[2] for text in texts] == [
        "sample 2 does not match its checksum.",
        "sample 3 does not match its checksum.",
        "the shard is missing.",
    ]

"""Test files of arbitrary content: they give a result or one of our own errors, never a crash or an endless wait.

Hypothesis makes tables, weights files, runs, a store's metadata, settings and pictures, from scratch or by damaging
valid ones. Every run tries the same examples, few enough for CI.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from pipeline.params import load_settings
from stages.attention.card import METADATA_KEY, read_card
from stages.attention.naming import find_model
from stages.attention.weight_files import read_tensors
from stages.errors import PipelineError, UsageError
from stages.imaging.decoding import read_image
from stages.imaging.samples import id_problem
from stages.imaging.table import read_table
from stages.pretraining.state import load_state as load_pretraining
from stages.segmentation.checkpoint import MODEL_FILE, STATE_FILE, load_model, load_state
from stages.segmentation.run_splits import read_run_splits
from stages.segmentation.splits import split_by_csv
from stages.settings import ExtractSettings
from store import AttentionStore
from store.check import verify_store
from store.reader import is_store

bounded = settings(
    max_examples=60,
    derandomize=True,
    deadline=timedelta(seconds=20),  # finds a hang; high, because a busy machine is slow
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CELL = st.text(st.sampled_from('ab,;"\n\r\t\0./\\ é\u2028'), max_size=6)
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)
CUTS = st.none() | st.floats(0, 1)


def damaged(sound: bytes, damage: list[tuple[float, int]], cut: float | None) -> bytes:
    """Return damaged bytes: some changed, at given fractions of the length, and the end cut off at `cut`."""
    data = bytearray(sound)
    for share, change in damage:
        data[int(share * len(data))] ^= change
    return bytes(data if cut is None else data[: int(cut * len(data))])


def require_result_or_own_error(act: Callable[[], object]) -> None:
    """Call `act`. It may raise our own errors only, with a message."""
    try:
        act()
    except PipelineError as error:
        assert str(error).strip()  # noqa: PT017 - a result and an error are both right


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path, as keys and indices, to every value of a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path_to for key, one in inner for path_to in places(one, (*at, key)))]


def same_json(one: bytes, other: bytes) -> bool:
    """Return True if two files hold equal JSON. White space may differ."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def put(document: Any, path_to: tuple[Any, ...], value: Any) -> Any:
    """Return the document with the value at the path `path_to` replaced."""
    if not path_to:
        return value
    document = document.copy()
    document[path_to[0]] = put(document[path_to[0]], path_to[1:], value)
    return document


@bounded
@given(content=st.binary(max_size=200) | st.lists(st.lists(CELL, max_size=5), max_size=5))
def test_tables_of_any_content(tmp_path: Path, content: bytes | list[list[str]]):
    """Every id that is read from a table can name a file, whatever the table holds."""
    if not isinstance(content, bytes):
        content = "\n".join(["id,image,mask", *(",".join(row) for row in content)]).encode()
    table = tmp_path / "t.csv"
    table.write_bytes(content)

    def act() -> None:
        samples, problems = read_table(table)
        assert all(id_problem(sample.id) is None for sample in samples)
        assert all(str(problem).isprintable() for problem in problems)

    require_result_or_own_error(act)


@bounded
@given(content=st.binary(max_size=200) | st.lists(st.lists(CELL, max_size=4), max_size=5))
def test_splits_of_any_content(tmp_path: Path, phantom_store: Path, content: bytes | list[list[str]]):
    """A user's table of splits and the table of splits in a run are both read."""
    if not isinstance(content, bytes):
        content = "\n".join(["id,split", *(",".join(row) for row in content)]).encode()
    table = tmp_path / "splits.csv"
    table.write_bytes(content)
    store = AttentionStore.open(phantom_store)
    require_result_or_own_error(lambda: split_by_csv(store, table))
    require_result_or_own_error(lambda: read_run_splits(table))


def _weights() -> bytes:
    return save({"cls_token": torch.zeros(1, 1, 4), "norm.weight": torch.ones(4)}, metadata={METADATA_KEY: "{}"})


def _with_header(header: bytes, body: bytes = bytes(32), claimed: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if claimed is None else claimed) + header + body


HEADERS = st.builds(
    _with_header,
    header=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60).map(lambda data: b"{" + data),
    claimed=st.none() | st.integers(0, 2**64 - 1),
) | st.builds(damaged, st.just(_weights()), DAMAGE, CUTS)


@bounded
@given(content=HEADERS)
def test_weights_of_any_header(tmp_path: Path, content: bytes):
    """A header may claim any length and any tensors. Every reader of the format is tested."""
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    for read in (read_tensors, read_card, load_state, load_pretraining):
        require_result_or_own_error(lambda read=read: read(file))


@bounded
@given(card=JSON)
def test_weights_with_any_card(tmp_path: Path, card: Any):
    """The card that `pretrain` writes into a weights file is not trusted when it is read."""
    file = tmp_path / "w.safetensors"
    file.write_bytes(save({"cls_token": torch.zeros(1)}, metadata={METADATA_KEY: json.dumps(card)}))
    require_result_or_own_error(lambda: read_card(file))


@pytest.mark.parametrize("form", ["zip", "bare_pickle"])
@bounded
@given(damage=DAMAGE, cut=CUTS)
def test_pickled_weights_damaged_anywhere(
    tmp_path: Path, form: str, damage: list[tuple[float, int]], cut: float | None
):
    """Both file forms of `torch.save` are tested, with bytes changed and the end cut off."""
    sound = io.BytesIO()
    torch.save({"teacher": {"cls_token": torch.zeros(4)}}, sound, _use_new_zipfile_serialization=form == "zip")
    file = tmp_path / "w.pth"
    file.write_bytes(damaged(sound.getvalue(), damage, cut))
    require_result_or_own_error(lambda: read_tensors(file))


@bounded
@given(data=st.data(), value=JSON)
def test_runs_with_any_card(tmp_path: Path, trained: Path, data: st.DataObject, value: Any):
    """One value of a run's description is replaced by another value."""
    content = (trained / MODEL_FILE).read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    card = json.loads(header["__metadata__"]["diamant"])
    header["__metadata__"]["diamant"] = json.dumps(put(card, data.draw(st.sampled_from(places(card))), value))
    (tmp_path / MODEL_FILE).write_bytes(_with_header(json.dumps(header).encode(), content[8 + length :]))
    require_result_or_own_error(lambda: load_model(tmp_path, torch.device("cpu")))
    require_result_or_own_error(lambda: load_state(tmp_path / MODEL_FILE))


@bounded
@given(data=st.data(), value=JSON)
def test_stores_with_any_metadata(tmp_path: Path, phantom_store: Path, data: st.DataObject, value: Any):
    """One value in one of the store's JSON files is replaced. The store is opened, read and verified."""
    path = tmp_path / "s.zarr"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(phantom_store, path)
    file = data.draw(st.sampled_from(sorted(path.rglob("zarr.json"))))
    document = json.loads(file.read_text())
    document.pop("consolidated_metadata", None)
    file.write_text(json.dumps(put(document, data.draw(st.sampled_from(places(document))), value)))

    def act() -> None:
        store = AttentionStore.open(path)
        assert len(store) == 16
        assert store.read([0, 15]).image.shape[0] == 2
        assert len(store[3].id) > 0

    require_result_or_own_error(act)
    assert all(fault.strip() for fault in verify_store(path))


@bounded
@given(damage=DAMAGE, cut=CUTS, name=st.sampled_from(["group/zarr.json", "image/zarr.json", "checksum/zarr.json"]))
def test_stores_with_damaged_metadata(
    tmp_path: Path, phantom_store: Path, damage: list[tuple[float, int]], cut: float | None, name: str
):
    """Bytes of a JSON file are changed and cut off. `verify` finds every change of the content."""
    path = tmp_path / "s.zarr"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(phantom_store, path)
    sound = (path / name).read_bytes()
    content = damaged(sound, damage, cut)
    assume(not same_json(content, sound))
    (path / name).write_bytes(content)
    assert verify_store(path), "a change of the metadata was not seen"


@bounded
@given(content=st.binary(max_size=80) | JSON.map(lambda value: json.dumps({"extract": value}).encode()))
def test_settings_of_any_content(tmp_path: Path, content: bytes):
    """A `params.yaml` gives settings or a usage error."""
    params = tmp_path / "params.yaml"
    params.write_bytes(content)
    try:
        assert isinstance(load_settings(ExtractSettings, "extract", {}, params), ExtractSettings)
    except UsageError as error:
        assert str(error).strip()  # noqa: PT017 - a result and an error are both right


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@bounded
@given(damage=DAMAGE, cut=CUTS)
def test_pictures_damaged_anywhere(tmp_path: Path, kind: str, damage: list[tuple[float, int]], cut: float | None):
    """A picture file gives pixels or one error."""
    sound = io.BytesIO()
    Image.fromarray(np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)).save(sound, format=kind)
    file = tmp_path / "a.png"
    file.write_bytes(damaged(sound.getvalue(), damage, cut))
    require_result_or_own_error(lambda: read_image(file))


@pytest.mark.parametrize("form", ["safetensors", "zip", "bare_pickle"])
def test_undamaged_weights_are_read(tmp_path: Path, form: str):
    """Every form that the tests above damage is read when it is not damaged. Otherwise they would prove nothing."""
    file = tmp_path / "w.pth"
    if form == "safetensors":
        file.write_bytes(_weights())
    else:
        torch.save({"cls_token": torch.zeros(4)}, file, _use_new_zipfile_serialization=form == "zip")
    assert read_tensors(file)["cls_token"].numel() == 4


def test_undamaged_files_are_read(tmp_path: Path, phantoms: Path, phantom_store: Path, trained: Path):
    """Tables, splits, cards, runs, stores, settings and pictures are read when they are not damaged."""
    image = min((phantoms / "images").iterdir())
    (tmp_path / "t.csv").write_text(f"id,image,mask\na,{image},\n")
    assert [sample.id for sample in read_table(tmp_path / "t.csv")[0]] == ["a"]
    store = AttentionStore.open(phantom_store)
    (tmp_path / "s.csv").write_text(f"id,split\n{store.ids[0]},train\n")
    assert split_by_csv(store, tmp_path / "s.csv")[0] == "train"
    assert len(read_run_splits(trained / "splits.csv")) == len(store)
    assert read_card(Path(find_model("dino_phantom_tiny8").file)) is not None
    load_model(trained, torch.device("cpu"))
    load_state(trained / STATE_FILE)
    assert verify_store(phantom_store) == []
    (tmp_path / "params.yaml").write_text("extract: {batch_size: 3}")
    assert load_settings(ExtractSettings, "extract", {}, tmp_path / "params.yaml").batch_size == 3
    assert read_image(image).pixels.shape == (36, 48, 3)


DEEP = 100_000
"""Levels of nesting that Python's JSON reader refuses. Hypothesis does not nest that deep."""


@pytest.mark.parametrize("name", ["", "image", "sample"])
def test_a_store_with_metadata_nested_deep(tmp_path: Path, phantom_store: Path, name: str):
    """Metadata that is nested too deeply is an error like other damage. The store can still be replaced."""
    shutil.copytree(phantom_store, tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / name / "zarr.json").write_text("[" * DEEP)
    with pytest.raises(PipelineError):
        AttentionStore.open(tmp_path / "s.zarr").read([0])
    assert verify_store(tmp_path / "s.zarr")
    assert is_store(tmp_path / "s.zarr")


def test_cards_nested_deep(tmp_path: Path, trained: Path):
    """Cards of weights, of runs and of saved states are tested."""
    card = "[" * DEEP + "]" * DEEP
    for key, read in ((METADATA_KEY, read_card), ("diamant", load_state), ("diamant", load_pretraining)):
        (tmp_path / "deep.safetensors").write_bytes(save({"a": torch.zeros(1)}, metadata={key: card}))
        with pytest.raises(PipelineError):
            read(tmp_path / "deep.safetensors")
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / MODEL_FILE).write_bytes(save({"a": torch.zeros(1)}, metadata={"diamant": card}))
    with pytest.raises(PipelineError):
        load_model(tmp_path / "run", torch.device("cpu"))
    header = b'{"a":' + b"[" * DEEP
    (tmp_path / "deep.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert read_card(tmp_path / "deep.safetensors") is None
    with pytest.raises(PipelineError):
        read_tensors(tmp_path / "deep.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [("extract: " + "[" * 1000, "nested too deep"), ("extract: {images: 2020-99-99}", "Put it in quotes"),
     ("train: {seed: " + "9" * 5000 + "}", "Put it in quotes")],
    ids=["deep", "date", "digits"],
)  # fmt: skip
def test_settings_that_yaml_cannot_make_values_of(tmp_path: Path, text: str, message: str):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_settings(ExtractSettings, "extract", {}, tmp_path / "params.yaml")

"""Local files never use the network, and with `--offline` nothing does."""

from __future__ import annotations

import dataclasses
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from pipeline.params import load_settings
from stages.attention.architectures import build_transformer
from stages.attention.hub import weights_without_network
from stages.attention.naming import find_model
from stages.errors import UnknownModelError, UsageError
from stages.settings import (
    EvaluateSettings,
    ExtractSettings,
    PhantomSettings,
    PredictSettings,
    PretrainSettings,
    TrainSettings,
)
from tests.faults.kinds import furnish, observe
from tests.faults.network import no_network

MODEL = "dino_vits16"
SETTINGS = (ExtractSettings, PredictSettings, PretrainSettings, TrainSettings)


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIPELINE_OFFLINE", "HF_HUB_OFFLINE", "DVC_STUDIO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file of the smallest model of the hub, with random values."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    tensors = build_transformer(find_model(MODEL), 224).state_dict()
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that the hub's client uses for its downloads."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    house = tmp_path_factory.mktemp("network") / "house"
    furnish(house)
    return house


@pytest.fixture
def room(furnished: Path, tmp_path: Path) -> Iterator[Path]:
    room = tmp_path / "room"
    shutil.copytree(furnished, room)
    yield room
    shutil.rmtree(room)


def _fill(cache: Path, weights: Path) -> None:
    """Put the weights where the hub's client puts a download."""
    folder = cache / f"models--timm--{find_model(MODEL).timm_id}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    shutil.copy(weights, folder / "snapshots" / "abc" / "model.safetensors")


def test_the_record_sees_attempts():
    """Otherwise the tests below would prove nothing. After the block the network is free again."""
    with no_network() as attempts:
        for use in (
            socket.socket,
            lambda: socket.getaddrinfo("localhost", 80),
            lambda: socket.create_connection(("127.0.0.1", 9)),
        ):
            with pytest.raises(OSError, match="unreachable"):
                use()
    assert len(attempts) >= 3
    socket.socket().close()


def test_without_offline_a_model_of_the_hub_is_asked_for(room: Path, cache: Path):
    """The attempt is recorded, and the message says what to download."""
    assert not cache.exists()
    with no_network() as attempts:
        observed = observe(f"extract --model {MODEL}", room)
    assert attempts
    assert observed.status == 1
    assert "could not be downloaded" in observed.err


@pytest.mark.parametrize("offline", ["", " --offline"], ids=["plain", "offline"])
def test_a_weights_file_opens_no_socket(room: Path, cache: Path, weights: Path, offline: str):
    """From extraction over training to prediction, with and without --offline."""
    assert not cache.exists()
    with no_network() as attempts:
        for command in (
            f"extract --model {MODEL} --weights {weights}{offline}",
            f"train{offline}",
            "evaluate",
            f"predict --weights {weights}{offline}",
            f"pretrain --arch vit_tiny_patch8 --init untrained_tiny8{offline}",
            f"extract --model new.safetensors{offline}",
            "models",
        ):
            observed = observe(command, room)
            assert observed.status == 0, observed.err
    assert attempts == []


def test_an_earlier_download_opens_no_socket(room: Path, cache: Path, weights: Path):
    """The hub's folder on this disk is enough, for extract, predict and pretrain."""
    _fill(cache, weights)
    with no_network() as attempts:
        for command in (
            f"extract --model {MODEL} --offline --dry-run",
            f"extract --model {MODEL} --offline",
            "train",
            "predict --offline",
            f"pretrain --arch vit_small_patch16 --init {MODEL} --offline --steps 1 --batch-size 2",
        ):
            observed = observe(command, room)
            assert observed.status == 0, observed.err
    assert attempts == []


@pytest.mark.parametrize("variable", ["PIPELINE_OFFLINE", "HF_HUB_OFFLINE", "--offline"])
def test_offline_without_the_weights_says_where_to_put_them(
    room: Path, cache: Path, weights: Path, variable: str, monkeypatch: pytest.MonkeyPatch
):
    """Extract, its plan, pretrain and predict fail at once, with the address and the place of the file."""
    option = " --offline" if variable.startswith("--") else ""
    if not option:
        monkeypatch.setenv(variable, "1")
    assert observe(f"extract --model {MODEL} --weights {weights} --store other.zarr", room).status == 0
    assert observe("train --store other.zarr --out other", room).status == 0
    with no_network() as attempts:
        for command in (
            f"extract --model {MODEL}",
            f"extract --model {MODEL} --dry-run",
            f"pretrain --arch vit_small_patch16 --init {MODEL}",
            "predict --run other",
        ):
            observed = observe(command + option, room)
            assert observed.status == 1
            for word in (MODEL, "nothing is downloaded offline", "--weights FILE", find_model(MODEL).url, str(cache)):
                assert word in observed.err
    assert attempts == []


@pytest.mark.usefixtures("cache")
def test_the_plan_of_the_images_is_shown_without_the_weights(room: Path):
    """Pairs, classes and sizes can be checked before the weights are there; the exit status is that of an error."""
    observed = observe(f"extract --model {MODEL} --offline --dry-run", room)
    assert observed.status == 1
    for title in ("pairs", "groups", "sizes", "labels"):
        assert f"\n{title} " in observed.out
    assert "not known without the transformer's weights" in observed.out
    assert "\ntime" not in observed.out
    assert "Traceback" not in observed.err


@pytest.mark.parametrize("model", ["untrained_tiny8", "dino_phantom_tiny8", "vit_tiny_patch8"])
def test_models_that_need_no_download_work_offline(model: str):
    """They get no file, and a file that the user gives is kept."""
    assert weights_without_network(model, None) is None
    assert weights_without_network(model, Path("w.pth")) == Path("w.pth")


def test_an_unknown_model_is_an_error_offline_too():
    with pytest.raises(UnknownModelError):
        weights_without_network("dino_vits9", None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("ON", True), ("yes", True), ("2", True), (" 1 ", True), ("0", False), ("", False),
     ("false", False), ("No", False), ("off", False)],
)  # fmt: skip
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_environment_switches_offline_on(
    settings: type,
    value: str,
    expected,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setenv("PIPELINE_OFFLINE", value)
    assert load_settings(settings, "x", {}, tmp_path / "none.yaml").offline is expected


def test_the_environment_never_switches_offline_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`params.yaml` may ask for it; only the command line can take it back."""
    (tmp_path / "params.yaml").write_text("extract: {offline: true}")
    monkeypatch.setenv("PIPELINE_OFFLINE", "0")
    assert load_settings(ExtractSettings, "extract", {}, tmp_path / "params.yaml").offline
    assert not load_settings(ExtractSettings, "extract", {"offline": False}, tmp_path / "params.yaml").offline
    (tmp_path / "params.yaml").write_text("extract: {offline: maybe}")
    monkeypatch.delenv("PIPELINE_OFFLINE")
    with pytest.raises(UsageError, match=r"extract\.offline"):
        load_settings(ExtractSettings, "extract", {}, tmp_path / "params.yaml")


def test_the_hubs_variable_does_not_concern_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Training uses no hub; it may still report to DVC Studio."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = {settings: load_settings(settings, "x", {}, tmp_path / "none.yaml").offline for settings in SETTINGS}
    assert found == {ExtractSettings: True, PredictSettings: True, PretrainSettings: True, TrainSettings: False}


def test_only_commands_that_can_reach_the_network_have_the_setting():
    for settings in (PhantomSettings, EvaluateSettings):
        assert "offline" not in {field.name for field in dataclasses.fields(settings)}

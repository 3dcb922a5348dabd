"""Test reading single objects of a server that fails in many ways."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import pytest

from store.remote.address import RemoteAddress
from store.remote.clients import Patience, _connections, client_of, hub_token
from store.remote.failures import REMEDIES, FetchError, classify, remedy_of
from store.remote.transfer import object_size, read_object
from tests.store.remote.conftest import QUICK
from tests.store.remote.faulty_server import Served

CONTENT = bytes(range(256)) * 4000
"""More than one block of the server, and several parts that are passed on."""


def _client(server: Served, patience: Patience = QUICK):
    (server.folder / "x").write_bytes(CONTENT)
    return client_of(RemoteAddress("http", server.address.partition("://")[2]), {}, patience)


def _read(client, start: int = 0, stop: int | None = None) -> bytes:
    content = bytearray()
    size = read_object(client, "x", content.extend, start=start, stop=stop, patience=QUICK)
    assert size == len(CONTENT)
    return bytes(content)


@pytest.mark.parametrize("ranges", [True, False], ids=["parts", "whole-files-only"])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 10), (300_000, 700_001), (1_000_000, 9_999_999)])
def test_a_part_of_an_object_is_read(server: Served, start: int, stop: int | None, *, ranges: bool):
    server.ranges = ranges
    assert _read(_client(server), start, stop) == CONTENT[start:stop]


@pytest.mark.parametrize("ranges", [True, False], ids=["parts", "whole-files-only"])
@pytest.mark.parametrize("tags", ['"{size}"', 'W/"{size}"', ""])
def test_a_dropped_connection_is_resumed(server: Served, tags: str, *, ranges: bool):
    server.ranges, server.tags = ranges, tags
    server.fault = lambda _, number: "drop" if number == 1 else None
    assert _read(_client(server)) == CONTENT
    assert server.asked["x"] >= 2


def test_attempts_that_bring_bytes_are_not_counted(server: Served):
    """Each attempt brings half of the rest, and there are more of them than are allowed without."""
    server.fault = lambda _, number: "drop" if number <= QUICK.attempts + 1 else None
    assert _read(_client(server)) == CONTENT
    assert server.asked["x"] > QUICK.attempts


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_failure_that_may_pass_is_tried_again(server: Served, status: int):
    server.fault = lambda _, number: status if number == 1 else None
    assert _read(_client(server)) == CONTENT


def test_a_server_that_stalls_is_asked_again(server: Served):
    server.fault = lambda _, number: "stall" if number == 1 else None
    assert _read(_client(server)) == CONTENT


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (503, "network", QUICK.attempts),
        (404, "missing", 1),
        (403, "denied", 1),
        (401, "credentials", 1),
        (301, "region", 1),
        (400, "network", 1),
        ((400, b"the region 'us-east-1' is wrong; expecting 'eu-west-3'"), "region", 1),
        ((403, b"<Code>InvalidAccessKeyId</Code>"), "credentials", 1),
    ],
)
def test_a_lasting_failure_is_final(server: Served, fault: object, kind: str, requests: int):
    server.fault = lambda *_: fault
    client = _client(server)
    with pytest.raises(FetchError) as caught:
        _read(client)
    assert (caught.value.kind, server.asked["x"]) == (kind, requests)
    with pytest.raises(FetchError):
        object_size(client, "x", QUICK)


def test_an_object_that_is_replaced_meanwhile_is_noticed(server: Served):
    client = _client(server)

    def replace(_: str, number: int) -> object:
        if number == 2:
            (server.folder / "x").write_bytes(CONTENT + b"more")
        return "drop" if number == 1 else None

    server.fault = replace
    with pytest.raises(FetchError, match="replaced"):
        _read(client)
    server.tags = ""
    (server.folder / "x").write_bytes(CONTENT)
    server.asked.clear()
    with pytest.raises(FetchError, match="replaced"):
        _read(client)


def test_the_size_of_an_object(server: Served):
    assert object_size(_client(server), "x", QUICK) == len(CONTENT)


def test_a_port_that_nobody_listens_at_is_a_network_failure():
    client = client_of(RemoteAddress("http", "127.0.0.1:9/x"), {}, QUICK)
    with pytest.raises(FetchError, match=r"refuses the connection|cannot be reached") as caught:
        object_size(client, "x", QUICK)
    assert caught.value.kind == "network"


def test_an_unknown_failure_shows_nothing_of_its_message():
    assert "secret" not in classify(RuntimeError("GET https://host/x?sig=secret")).what


def test_every_kind_of_address_has_a_remedy():
    for scheme in REMEDIES:
        assert remedy_of("denied", scheme)
    assert "AWS_REGION" in remedy_of("region", "s3")
    assert "--store-cache" in remedy_of("disk", "s3")
    assert "again" in remedy_of("network", "s3")


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_clients_of_clouds_are_made_without_a_request(scheme: str, tmp_path: Path):
    environment = {"AWS_ENDPOINT_URL": "http:" + "//127.0.0.1:9", "HOME": str(tmp_path)}
    if scheme == "az":
        with pytest.raises(FetchError, match="no credentials"):
            client_of(RemoteAddress(scheme, "bucket/x"), environment, QUICK)
    else:
        assert client_of(RemoteAddress(scheme, "bucket/x"), environment, QUICK)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(FetchError) as caught:
        client_of(RemoteAddress("s3", "b/x"), {}, QUICK)
    assert caught.value.kind == "extra"


def test_the_token_of_the_hub_is_sent_to_the_hub_only(server: Served, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("hf_of_file\n")
    folder = server.folder / "datasets/o/n/resolve/main/s.zarr"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(CONTENT)
    environment = {"HF_ENDPOINT": server.address, "HF_TOKEN": "hf_secret"}
    client = client_of(RemoteAddress("hf", "datasets/o/n/s.zarr"), environment, QUICK)
    assert _read(client) == CONTENT
    assert {headers["authorization"] for headers in server.headers} == {"Bearer hf_secret"}
    server.headers.clear()
    place = RemoteAddress("http", server.address.partition("://")[2])
    (server.folder / "x").write_bytes(CONTENT)
    assert _read(client_of(place, environment, QUICK)) == CONTENT
    assert not any("authorization" in {name.lower() for name in headers} for headers in server.headers)
    assert hub_token({"HF_TOKEN_PATH": str(token)}) == "hf_of_file"
    assert hub_token({"HOME": str(tmp_path)}) == ""


PROFILES = """
[default]
aws_access_key_id = default-key
aws_secret_access_key = default-secret
[lab]
aws_access_key_id = lab-key
aws_secret_access_key = lab-secret
aws_session_token = lab-token
"""
CONFIG = "[default]\nregion = eu-west-1\n[profile lab]\nregion = eu-north-1\nendpoint_url = https://s3.lab\n"


def _profile(tmp_path: Path, **environment: str):
    (tmp_path / ".aws").mkdir(exist_ok=True)
    (tmp_path / ".aws" / "credentials").write_text(PROFILES)
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    client = client_of(RemoteAddress("s3", "b/x"), {"HOME": str(tmp_path), **environment}, QUICK)
    provider = client.credential_provider
    return {**client.config, **(provider() if provider else {})}


def test_keys_and_region_come_from_the_profile(tmp_path: Path):
    found = _profile(tmp_path)
    assert (found["access_key_id"], found["region"]) == ("default-key", "eu-west-1")
    found = _profile(tmp_path, AWS_PROFILE="lab")
    assert (found["access_key_id"], found["token"]) == ("lab-key", "lab-token")
    assert (found["region"], found["endpoint"]) == ("eu-north-1", "https://s3.lab")


def test_keys_and_region_of_the_environment_come_first(tmp_path: Path):
    found = _profile(
        tmp_path, AWS_PROFILE="lab", AWS_ACCESS_KEY_ID="own", AWS_REGION="us-east-2", AWS_ENDPOINT_URL="https://e"
    )
    assert "lab-key" not in found.values()
    assert "eu-north-1" not in found.values()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_the_server_of_the_environment_comes_before_that_of_the_profile(name: str, tmp_path: Path):
    """Otherwise the keys would be sent to another server than the user named."""
    assert _profile(tmp_path, AWS_PROFILE="lab", **{name: "https://own"})["endpoint"] == "https://own"


def test_the_server_for_s3_comes_before_the_one_for_all_services(tmp_path: Path):
    found = _profile(tmp_path, AWS_ENDPOINT_URL="https://all", AWS_ENDPOINT_URL_S3="https://s3")
    assert found["endpoint"] == "https://s3"


def test_a_server_of_the_profile_without_encryption_is_reached(server: Served, tmp_path: Path):
    """Read from such a server: the client must not insist on encryption."""
    config = tmp_path / "config"
    config.write_text(f"[default]\nregion = x\nendpoint_url = {server.address}\n")
    environment = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(config)}
    config.write_text(config.read_text() + "aws_access_key_id = k\naws_secret_access_key = s\n")
    client = client_of(RemoteAddress("s3", "b/x"), environment, QUICK)
    with pytest.raises(FileNotFoundError):
        client.get("no-such-file")


def test_a_token_of_the_environment_is_not_sent_with_keys_of_the_profile(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A token that was left over belongs to other keys: the server would refuse both."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "left-over")
    keys = tmp_path / "credentials"
    keys.write_text("[default]\naws_access_key_id = k\naws_secret_access_key = s\n")
    environment = {
        "HOME": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_ENDPOINT_URL": server.address,
        "AWS_REGION": "x", "AWS_SESSION_TOKEN": "left-over",
    }  # fmt: skip
    with pytest.raises(FileNotFoundError):
        client_of(RemoteAddress("s3", "b/x"), environment, QUICK).get("no-such-file")
    sent = {name.lower(): value for name, value in server.headers[-1].items()}
    assert "Credential=k/" in sent["authorization"]
    assert "x-amz-security-token" not in sent


def test_a_server_without_encryption_that_is_not_used_opens_nothing(tmp_path: Path):
    """Encryption is given up only for the server that the keys are sent to."""
    found = []
    for used in ("https://127.0.0.1:9", "http://127.0.0.1:9"):
        environment = {
            "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "x",
            "AWS_ENDPOINT_URL_S3": used, "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        }  # fmt: skip
        options = client_of(RemoteAddress("s3", "b/x"), environment, QUICK).client_options
        assert options is not None
        found.append(options["allow_http"])
    assert [str(one).lower() for one in found] == ["false", "true"]


def test_a_profile_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(FetchError, match="no profile `other`"):
        _profile(tmp_path, AWS_PROFILE="other")


def test_a_connection_that_ends_silently_is_a_dropped_one(server: Served, monkeypatch: pytest.MonkeyPatch):
    import obstore

    class Short:
        meta: ClassVar = {"size": 10, "e_tag": None}
        range = (0, 10)

        def stream(self, **_: int) -> list[bytes]:
            return [b"abc"]

    client = _client(server)
    monkeypatch.setattr(obstore, "get", lambda *_, **__: Short())
    content = bytearray()
    with pytest.raises(FetchError, match="connection was dropped"):
        read_object(client, "x", content.extend, patience=QUICK)
    assert content == b"abc"


def test_a_server_that_refuses_a_whole_file_too_is_not_asked_for_ever(server: Served, monkeypatch: pytest.MonkeyPatch):
    import obstore

    def refuse(*_: object, **__: object) -> None:
        raise obstore.exceptions.NotSupportedError("Range")

    client = _client(server)
    monkeypatch.setattr(obstore, "get", refuse)
    with pytest.raises(FetchError, match="a part of a file"):
        read_object(client, "x", lambda _: None, start=5, patience=QUICK)


@pytest.mark.parametrize("text", ["<Code>RequestTimeTooSkewed</Code>", "invalid peer certificate: NotValidYet"])
def test_a_wrong_clock_is_named(text: str):
    failure = classify(PermissionError(text))
    assert (failure.kind, "clock" in failure.what) == ("clock", True)
    assert "clock" in remedy_of("clock", "s3")


def test_a_key_file_that_is_no_key_is_a_failure_of_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = tmp_path / "key.json"
    key.write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    with pytest.raises(FetchError) as caught:
        client_of(RemoteAddress("gs", "bucket/x"), {}, QUICK)
    assert caught.value.kind == "credentials"


@pytest.mark.parametrize(
    ("scheme", "environment", "plain"),
    [
        ("s3", {"AWS_ENDPOINT_URL": "http" + "://lab"}, True),
        ("az", {"AZURE_STORAGE_ENDPOINT": "http" + "://lab"}, True),
        ("az", {"AZURE_STORAGE_USE_EMULATOR": "true"}, True),
        ("gs", {"GOOGLE_ALLOW_HTTP": "1"}, True),
        ("gs", {"AWS_ENDPOINT_URL": "http" + "://lab"}, False),
        ("https", {"GOOGLE_ALLOW_HTTP": "1"}, False),
    ],
)
def test_connections_without_encryption_are_allowed_for_named_servers_only(
    scheme: str, environment: dict[str, str], *, plain: bool
):
    assert _connections(RemoteAddress(scheme, "b/x"), environment, QUICK, token=False)["allow_http"] == plain

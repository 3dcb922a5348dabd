"""Make clients of object stores and web servers. Only the helper process does this.

Credentials come from the environment and from the files that the clouds' own programs use. They are read here and go
nowhere else.
"""

from __future__ import annotations

import configparser
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.remote.address import RemoteAddress
from store.remote.failures import FetchError, classify

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Patience", "client_of"]

HUB = "https://huggingface.co"

ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Environment variables with the address of another server than the cloud's own. The first that is set counts.
It may be one without encryption."""

PLAIN = {"gs": ("GOOGLE_ALLOW_HTTP",), "az": ("AZURE_STORAGE_USE_EMULATOR",)}
"""Environment variables that allow connections without encryption, to servers that imitate a cloud."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Say how long to wait for a server, and how often to try again."""

    connect: float = 10.0
    """Seconds to wait for a connection."""
    no_progress: float = 30.0
    """Seconds without a byte after which a request counts as failed. There is no limit for a whole file."""
    attempts: int = 6
    """Attempts without a single new byte, after which a transient failure is final."""
    outage: float = 300.0
    """Seconds without a single new byte for which a server that has answered before is asked again all the same."""
    pause: float = 0.25
    """Seconds before the second attempt; doubled for each further one."""
    longest_pause: float = 8.0


def client_of(address: RemoteAddress, environment: Mapping[str, str], patience: Patience) -> ObjectStore:
    """Return a client of the folder at an address.

    Args:
        address: of a store.
        environment: variables with credentials.
        patience: the limits of waiting.

    Raises:
        FetchError: the extra `remote` is not installed, or the settings in the environment are wrong.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store
    except ImportError:
        raise FetchError("extra", "the package that reads it is not installed") from None
    endpoint = environment.get("HF_ENDPOINT") or HUB
    place = address.resolved(endpoint)
    options: dict[str, Any] = {
        "client_options": _connections(place, environment, patience, token=address.scheme == "hf"),
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(days=1)},  # `transfer` tries again, and resumes
    }
    try:
        if place.scheme == "s3":
            own = _s3_profile(environment)
            if "endpoint" in own:
                options["client_options"]["allow_http"] |= own["endpoint"].startswith("http:")
            if "access_key_id" in own:  # given as a whole, so that no token of the environment is sent with them
                own["credential_provider"] = partial(
                    _credential, own.pop("access_key_id"), own.pop("secret_access_key"), own.pop("session_token", None)
                )
            return S3Store(place.bucket, prefix=place.path or None, **own, **options)
        if place.scheme == "gs":
            return GCSStore(place.bucket, prefix=place.path or None, **options)
        if place.scheme == "az":
            return AzureStore(place.bucket, prefix=place.path or None, **options)
        return HTTPStore(str(place), **options)
    except (BaseError, ValueError) as error:
        failure = classify(error)
        if failure.kind == "network" and place.scheme in {"s3", "gs", "az"}:  # no request was sent yet
            failure = FetchError("credentials", "the credentials or settings in the environment cannot be used")
        raise failure from None


def _connections(
    place: RemoteAddress, environment: Mapping[str, str], patience: Patience, *, token: bool
) -> dict[str, Any]:
    """Return the options of the connections: time-outs, and the token of the Hugging Face Hub."""
    servers = [environment[name] for name in ENDPOINTS.get(place.scheme, ()) if environment.get(name)]
    used = servers[:1] if place.scheme == "s3" else servers  # the first one, as in `_s3_profile`
    plain = place.scheme == "http" or any(server.startswith("http:") for server in used)
    plain |= any(environment.get(name, "").strip().lower() in {"1", "true"} for name in PLAIN.get(place.scheme, ()))
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=patience.connect),
        "read_timeout": timedelta(seconds=patience.no_progress),
        "timeout": timedelta(days=1),
        "allow_http": plain,
    }
    if token and (secret := hub_token(environment)):
        options["default_headers"] = {"authorization": f"Bearer {secret}"}
    return options


def hub_token(environment: Mapping[str, str]) -> str:
    """Return the user's token of the Hugging Face Hub; empty if there is none."""
    if found := environment.get("HF_TOKEN", "").strip():
        return found
    home = Path(environment.get("HF_HOME") or Path(environment.get("HOME", "/nonexistent")) / ".cache" / "huggingface")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return Path(environment.get("HF_TOKEN_PATH") or home / "token").read_text(encoding="utf-8").strip()
    return ""


def _credential(key: str, secret: str, token: str | None) -> dict[str, Any]:
    """Return keys as obstore asks for them."""
    return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}


def _s3_profile(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return keys, region and server, as Amazon's own programs find them: the environment comes before the profile.

    Raises:
        FetchError: AWS_PROFILE names a profile that is not in the files.
    """
    found: dict[str, Any] = {}
    wanted = environment.get("AWS_PROFILE", "")
    profile = wanted or "default"
    home = Path(environment.get("HOME", "/nonexistent")) / ".aws"
    credentials = _section(Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), profile)
    name = profile if profile == "default" else f"profile {profile}"
    config = _section(Path(environment.get("AWS_CONFIG_FILE") or home / "config"), name)
    if wanted and not credentials and not config:
        raise FetchError("credentials", f"there is no profile `{wanted}`, which AWS_PROFILE names")
    keys = {**config, **credentials}
    if not environment.get("AWS_ACCESS_KEY_ID") and "aws_access_key_id" in keys:
        found["access_key_id"] = keys["aws_access_key_id"]
        found["secret_access_key"] = keys.get("aws_secret_access_key", "")
        if "aws_session_token" in keys:
            found["session_token"] = keys["aws_session_token"]
    if not (environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")) and "region" in keys:
        found["region"] = keys["region"]
    servers = [environment[name] for name in ENDPOINTS["s3"] if environment.get(name)]
    if servers or "endpoint_url" in keys:
        found["endpoint"] = servers[0] if servers else keys["endpoint_url"]
    return found


def _section(file: Path, name: str) -> dict[str, str]:
    """Return one section of a file of Amazon's programs; empty if it is not there."""
    parser = configparser.RawConfigParser()
    with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
        parser.read(os.fspath(file), encoding="utf-8")
    return dict(parser[name]) if parser.has_section(name) else {}

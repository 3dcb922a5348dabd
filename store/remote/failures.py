"""Describe failed requests: what failed, whether trying again can help, and what the user can do.

The messages of the network library may hold signed addresses, tokens and host names of the cloud. They are never
shown: known failures are recognised in them and described in our words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["ErrorKind", "FetchError", "classify", "remedy_of"]

ErrorKind = Literal[
    "missing", "denied", "credentials", "region", "network", "changed", "range", "disk", "extra", "clock"
]


@dataclass
class FetchError(Exception):
    """Report a failed request."""

    kind: ErrorKind
    what: str
    """The failure in words, such as `the server answered with status 503`."""
    transient: bool = False
    """True if the same request may succeed later."""

    def __str__(self) -> str:
        return self.what


_STATUS = re.compile(r"status code: (\d{3})")
_REGION = re.compile(r"expecting '([a-z0-9-]{1,40})'|<Region>([a-z0-9-]{1,40})</Region>")
_CREDENTIALS = (
    "169.254.169.254", "computeMetadata", "token request", "credential", "MissingAccount",
    "Account must be specified", "MissingKey", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
)  # fmt: skip
"""Words in messages of the network library about credentials that are missing or not accepted."""

_CLOCK = ("RequestTimeTooSkewed", "not yet valid", "NotValidYet")
"""Words in messages of the network library about a clock that is wrong: signatures and certificates have a date."""

_REASONS = (
    ("dns error", "the name of the server is not known"),
    ("Connection refused", "the server refuses the connection"),
    ("ConnectionRefused", "the server refuses the connection"),
    ("ertificate", "the server's certificate is not accepted"),
    ("TimedOut", "the server does not answer"),
    ("kind: Timeout", "the server does not answer"),
    ("Interrupted", "the connection was dropped"),
    ("error sending request", "the server cannot be reached"),
)
"""Words in messages of the network library, and what they mean; the first that is found counts."""

_BY_NAME: dict[str, tuple[ErrorKind, str]] = {
    "NotFoundError": ("missing", "it does not exist"),
    "FileNotFoundError": ("missing", "it does not exist"),
    "UnauthenticatedError": ("credentials", "the server asks for credentials"),
    "PreconditionError": ("changed", "it was replaced while it was being read"),
    "NotSupportedError": ("range", "the server cannot send a part of a file"),
}
"""Errors of the network library whose class says everything."""

LEAST_TRANSIENT = 500
TOO_MANY = 429
TIMED_OUT = 408
"""Statuses of HTTP after which the same request may succeed later: these two, and all from `LEAST_TRANSIENT`."""


def classify(error: Exception) -> FetchError:
    """Return the failure that an error of the network library means."""
    text, name = str(error), type(error).__name__
    if isinstance(error, FetchError):
        return error
    for words, failure in ((_CLOCK, CLOCK), (_CREDENTIALS, CREDENTIALS)):
        if any(word in text for word in words):
            return FetchError(*failure)
    if name in _BY_NAME:
        return FetchError(*_BY_NAME[name])
    if found := _REGION.search(text):
        return FetchError("region", f"the bucket is in the region {found[1] or found[2]}")
    if "configured region" in text:
        return FetchError("region", "the bucket is in another region, or at another server")
    return FetchError("denied", "the server refuses access (status 403)") if name == DENIED else _of_network(text)


CLOCK: tuple[ErrorKind, str] = ("clock", "the clock of this machine differs from the server's")
CREDENTIALS: tuple[ErrorKind, str] = ("credentials", "there are no credentials, or they are not accepted")
DENIED = "PermissionDeniedError"


def _of_network(text: str) -> FetchError:
    """Return the failure of a request that got a status of HTTP, or no answer at all."""
    if found := _STATUS.search(text):
        status = int(found[1])
        transient = status >= LEAST_TRANSIENT or status in {TOO_MANY, TIMED_OUT}
        return FetchError("network", f"the server answered with status {status}", transient=transient)
    reason = next((words for sign, words in _REASONS if sign in text), "the request failed")
    return FetchError("network", reason, transient=True)


REMEDIES = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of ~/.aws/credentials; for a "
    "public bucket AWS_SKIP_SIGNATURE=true, for another server than Amazon's AWS_ENDPOINT_URL.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run `gcloud auth application-default login`; for a "
    "public bucket set GOOGLE_SKIP_SIGNATURE=true.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN; for a public "
    "container AZURE_SKIP_SIGNATURE=true.",
    "https": "The files must be public: credentials are not sent to web servers.",
    "http": "The files must be public: credentials are not sent to web servers.",
    "hf": "Set HF_TOKEN, or run `hf auth login`; for a gated repository ask for access on its page first. The "
    "Hub answers in the same way if the repository does not exist: check the address.",
}
"""Advice about missing or refused credentials, by the kind of address."""


def remedy_of(kind: ErrorKind, scheme: str) -> str:
    """Return what a user can do about a failure.

    Args:
        kind: of the failure.
        scheme: of the store's address.
    """
    if kind in {"credentials", "denied"}:
        return REMEDIES[scheme]
    if kind == "region":
        return "Set AWS_REGION to the bucket's region (`aws s3api get-bucket-location --bucket BUCKET` prints it)."
    if kind == "clock":
        return "Set the clock of this machine (`date` shows it), then start the command again."
    if kind == "disk":
        return (
            "Make room and allow writing there, or choose another place with --store-cache, or a smaller "
            "--store-cache-size."
        )
    return "Check the address and the network, and start the command again; what was fetched is kept."

"""`extract --cluster ADDRESS`: schedulers that cannot be reached or are not protected, and TLS."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import dask
import pytest

from stages.errors import PipelineError, UsageError
from stages.extract import run
from stages.extraction import cluster as cluster_module
from stages.extraction.cluster import connect, require_cluster
from tests.conftest import extract_settings
from tests.stages.extraction.clusters import bytes_of, workers

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

pytestmark = [
    # Dask leaves sockets and event loops to the garbage collector when a cluster closes.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:distributed"),
]


def test_waiting_for_a_scheduler_without_workers_ends(monkeypatch: pytest.MonkeyPatch):
    """The message says how to start a worker."""
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.2)
    with workers(n_workers=0) as started:
        address = started.scheduler_address
        with pytest.raises(PipelineError, match=f"no worker.*dask worker {address}"), connect(address):
            pass


def test_no_scheduler_at_the_address_is_an_error():
    """The error comes within dask's own time limit."""
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(PipelineError, match=r"tcp://127\.0\.0\.1:9: cannot reach the scheduler"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize(
    "host", ["10.0.0.7", "scheduler.example.org", "192.168.1.5", "[2001:db8::1]", "127.0.0.1.evil.org"]
)
def test_plain_tcp_to_another_machine_needs_the_users_permission(host: str):
    """Anyone who reaches such a scheduler can run code. The message says so, and what to do."""
    with pytest.raises(UsageError, match=r"run code.*tls://.*--cluster-insecure"):
        require_cluster(f"tcp://{host}:8786", insecure=False)
    require_cluster(f"tcp://{host}:8786", insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_plain_tcp_on_this_machine_is_allowed(host: str):
    """Such a connection stays on this machine."""
    require_cluster(f"tcp://{host}:8786", insecure=False)


@pytest.mark.parametrize(
    "address",
    ["localhost:8786", "http://localhost:8786", "tcp://localhost", "tcp://:8786", "tcp://h:x", "tls://[::1:8786", ""],
)
def test_an_invalid_address_is_refused(address: str):
    """The message shows the form of a valid address."""
    with pytest.raises(UsageError, match="not the address of a scheduler"):
        require_cluster(address, insecure=True)


def test_without_distributed_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    """The error comes before any other work."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r'pip install "diamant-pipeline\[cluster\]"'):
        require_cluster("tcp://127.0.0.1:8786", insecure=False)


def test_tls_without_certificates_says_where_they_are_named():
    """There is no fallback to a plain connection."""
    with pytest.raises(UsageError, match=r"names no certificates.*distributed\.comm\.tls\.ca-file"):
        require_cluster("tls://scheduler.example.org:8786", insecure=False)


def test_tls_with_dasks_own_configuration(phantoms: Path, phantom_store: Path, tmp_path: Path):
    """A cluster with certificates of its own authority works. With other certificates it refuses the connection."""
    tls = _certificates(tmp_path)
    with dask.config.set(tls):
        security = distributed.Security(require_encryption=True)
        with workers(protocol="tls", security=security, n_workers=1) as started:
            address = started.scheduler_address
            assert address.startswith("tls://")
            run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", cluster=address))
            foreign = {**_certificates(tmp_path), "distributed.comm.timeouts.connect": "1s"}
            with dask.config.set(foreign), pytest.raises(PipelineError, match="cannot reach"), connect(address):
                pass
    assert bytes_of(tmp_path / "s.zarr") == bytes_of(phantom_store)


def _certificates(folder: Path) -> dict[str, Any]:
    """Return dask settings for a new self-signed certificate that is its own authority."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    stem = f"{certificate.serial_number:x}"
    (folder / f"{stem}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / f"{stem}.key").write_bytes(private)
    role = {"cert": str(folder / f"{stem}.crt"), "key": str(folder / f"{stem}.key")}
    roles = {f"{name}.{part}": role[part] for name in ("scheduler", "worker", "client") for part in role}
    return {f"distributed.comm.tls.{key}": value for key, value in {"ca-file": role["cert"], **roles}.items()}

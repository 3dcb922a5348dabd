"""Test the process that fetches files: it is shared by nobody, survives nothing, and is replaced when it ends."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from store import AttentionStore, StoreUnreachableError
from store.remote import connection as module
from store.remote.address import RemoteAddress
from store.remote.connection import Connection, connection
from store.remote.failures import FetchError
from store.remote.frames import read_frame, write_frame
from store.remote.helper import THREADS, main, serve
from tests.store.remote.faulty_server import Served

Address = Callable[..., RemoteAddress]


@pytest.fixture
def served(server: Served, make_store: Callable[..., Path]) -> Path:
    """Serve a store as `x.zarr`."""
    assert server.address
    return make_store(16, name="served/x.zarr")


@pytest.fixture(autouse=True)
def no_process_stays():
    """End the helper after each test."""
    yield
    module._HELD.close()
    module._HELD.connection = None


def test_a_store_is_read_through_the_helper(served: Path, address: Address):
    found = AttentionStore.open(address("x.zarr"))
    assert np.array_equal(found.read(range(16)).image, AttentionStore.open(served).read(range(16)).image)


def test_a_helper_that_was_killed_is_replaced(served: Path, address: Address):
    AttentionStore.open(address("x.zarr"))
    process = connection()._process
    assert process is not None
    process.kill()
    process.wait()
    held = module._HELD.connection
    assert held is not None
    held._receiver.join()
    with pytest.raises(FetchError, match="has ended"):
        held.send({"op": "size", "scheme": "http", "rest": "127.0.0.1:9", "path": "x"}).result()
    assert np.array_equal(AttentionStore.open(address("x.zarr"))[3].image, AttentionStore.open(served)[3].image)


def test_a_forked_process_reads_with_its_own_helper(served: Path, address: Address):
    """As the workers of a data loader do: the store was opened, and read, before the fork."""
    found = AttentionStore.open(address("x.zarr"))
    found.read([0])
    before = connection()._process
    assert before is not None
    child = os.fork()
    if not child:
        same = False
        try:
            own = connection()._process
            same = own is not None and own.pid != before.pid
            same &= np.array_equal(found.read(range(16)).image, AttentionStore.open(served).read(range(16)).image)
        finally:
            module._HELD.close()
            os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(found.read([9]).mask, AttentionStore.open(served).read([9]).mask)


def test_a_reader_does_not_import_the_network_library(served: Path, server: Served, tmp_path: Path):
    program = (
        "import sys\nfrom store import AttentionStore\n"
        f"AttentionStore.open({server.address + '/x.zarr'!r}).read(range(16))\n"
        "assert 'obstore' not in sys.modules\n"
        f"AttentionStore.open({str(served)!r}).read(range(16))\n"
        "assert 'obstore' not in sys.modules and 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "PIPELINE_STORE_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(Path(module.__file__).parents[2])
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=tmp_path)


def test_a_local_store_needs_nothing_of_the_network(make_store: Callable[..., Path], tmp_path: Path):
    program = (
        f"import sys\nfrom store import AttentionStore\nAttentionStore.open({str(make_store())!r}).read([0])\n"
        "assert not {'obstore', 'store.remote.connection', 'store.remote.files'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=tmp_path)


def test_requests_after_the_end_fail():
    (requests, written), (answers, answered) = os.pipe(), os.pipe()
    os.close(requests)
    with os.fdopen(answered, "wb"):
        broken = Connection(os.fdopen(written, "wb"), os.fdopen(answers, "rb"))
        with pytest.raises(FetchError, match="has ended"):
            broken.send({"op": "size"}).result()
    broken.close()


def test_an_answer_that_is_cut_short_is_the_end():
    stream = io.BytesIO()
    write_frame(stream, {"id": 1}, b"content")
    whole = stream.getvalue()
    assert read_frame(io.BytesIO(whole)) == ({"id": 1}, b"content")
    for end in (0, 5, 18, len(whole) - 1):
        assert read_frame(io.BytesIO(whole[:end])) is None


def test_the_helper_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch):
    """It ends when its input ends; requests without a reader of the answers are no error."""
    ended = []
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(os, "_exit", ended.append)
    main()
    assert ended == [0]
    requests, answers = io.BytesIO(), io.BytesIO()
    write_frame(requests, {"id": 1, "order": None})
    requests.seek(0)
    answers.close()
    serve(requests, answers, _Failing())  # type: ignore[arg-type]


class _Failing:
    def carry_out(self, _: object) -> None:
        raise FetchError("network", "failed")


def test_an_unreachable_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIPELINE_STORE_CACHE", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http" + "://127.0.0.1:9")
    with pytest.raises(StoreUnreachableError, match=r"s3://bucket/x\.zarr/zarr\.json: cannot be read") as caught:
        AttentionStore.open("s3://bucket/x.zarr")
    assert "of-a-test" not in str(caught.value)


def test_streams_of_the_parent_are_given_up_after_a_fork():
    """Later output to them goes nowhere, and their descriptors are not used for other files."""
    (requests, written), (answers, answered) = os.pipe(), os.pipe()
    os.close(answered)
    held = module._Held()
    held.after_fork()
    held.connection = inherited = Connection(os.fdopen(written, "wb"), open(os.devnull, "rb"))  # noqa: SIM115, PTH123 - closed by the connection
    inherited._receiver.join()
    inherited._answers = os.fdopen(answers, "rb")
    held.after_fork()
    assert held.connection is None
    held.close()
    write_frame(inherited._requests, {"id": 1})
    assert os.read(requests, 1) == b""
    inherited._answers.close()
    inherited.close()
    os.close(requests)


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("x"), OSError("x"), KeyError("x"), MemoryError()])
def test_an_unforeseen_failure_is_an_answer_too(error: Exception):
    """Without one the reader would wait forever. More requests fail than there are threads; the next is done."""

    class Failing:
        def carry_out(self, request: dict[str, object]) -> tuple[int, bytearray]:
            if request["op"] == "read":
                raise error
            return 5, bytearray()

    (requests, written), (answers, answered) = os.pipe(), os.pipe()
    streams = [os.fdopen(requests, "rb"), os.fdopen(answered, "wb")]

    def work() -> None:
        with streams[0], streams[1]:
            serve(streams[0], streams[1], Failing())  # type: ignore[arg-type]

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    asked = Connection(os.fdopen(written, "wb"), os.fdopen(answers, "rb"))
    futures = [asked.send({"op": "read"}) for _ in range(THREADS["read"] + 1)]
    for future in futures:
        with pytest.raises(FetchError, match=rf"the request failed \({type(error).__name__}\)"):
            future.result()
    assert asked.send({"op": "size"}).result().size == 5
    asked.close()
    thread.join()

"""Provide a `pipeline` command that starts without importing torch, for tests: `python -m tests.warm SOCKET`.

A new interpreter takes seconds to import torch and timm, and DVC starts one for every stage. Here one server imports
them once. The command is a small client: it sends its arguments, folder, environment and output streams to the server,
which forks a child that runs the real command line with them. The client exits with the child's status.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [1, 2])
    server.sendall(request)
    status = server.recv(1)
sys.exit(status[0] if status else 70)
"""


@contextlib.contextmanager
def warm_pipeline() -> Iterator[Path]:
    """Start a server; yield the folder with a `pipeline` command that uses it."""
    with tempfile.TemporaryDirectory(prefix="warm-") as name:  # short: the path of a socket has at most 107 bytes
        address = Path(name) / "socket"
        command = Path(name) / "bin" / "pipeline"
        command.parent.mkdir()
        command.write_text(CLIENT.format(python=sys.executable, address=str(address)))
        command.chmod(0o755)
        server = subprocess.Popen([sys.executable, "-m", "tests.warm", str(address)], cwd=ROOT)
        try:
            deadline = time.monotonic() + 120
            while not address.exists():
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.05)
            yield command.parent
        finally:
            server.kill()
            server.wait()


def serve(address: Path) -> None:
    """Import what the commands need, then run one request after another until the process is killed."""
    import torch

    for module in (
        "pipeline.cli",
        *(f"stages.{verb}" for verb in ("compare", "evaluate", "extract", "phantom", "predict", "train")),
    ):
        importlib.import_module(module)

    torch.set_num_threads(1)
    with socket.socket(socket.AF_UNIX) as listener:
        unfinished = address.with_suffix(".new")
        listener.bind(str(unfinished))
        listener.listen()
        unfinished.rename(address)  # from now on clients can connect
        while True:
            client, _ = listener.accept()
            with client:
                client.sendall(bytes([_run(client)]))


def _run(client: socket.socket) -> int:
    """Run one request in a fork; return its exit status."""
    head, streams, _, _ = socket.recv_fds(client, 8, 2)
    with client.makefile("rb") as file:
        arguments, folder, environment = json.loads(file.read(int.from_bytes(head, "big")))
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            for number, stream in enumerate(streams, start=1):
                os.dup2(stream, number)
            # New objects: the server's own ones remember what kind of file they were opened on.
            sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
            status = _main(arguments)
        except BaseException:  # noqa: BLE001 - a fork must never return into its parent's program
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for stream in streams:
        os.close(stream)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


def _main(arguments: list[str]) -> int:
    from pipeline.cli import main

    sys.argv = arguments
    try:
        main()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

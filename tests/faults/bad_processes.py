"""List the kinds of bad requests for several processes under `torchrun`: `KINDS`."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

from tests.faults.bad_comparisons import COMPARE
from tests.faults.kinds import Kind


def _nothing(_: Path) -> None:
    """Change nothing: the environment is the fault."""


def _with(**variables: str) -> Callable[[Path], AbstractContextManager[object]]:
    """Return a function that sets variables of the environment."""
    return lambda _room: patch.dict(os.environ, variables)


@contextlib.contextmanager
def _port_in_use(_room: Path) -> Iterator[None]:
    """Listen at the port at which the processes are to find each other."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with patch.dict(os.environ, RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port):
            yield


@contextlib.contextmanager
def _one_gpu(_room: Path) -> Iterator[None]:
    """Pretend that this is the second process on a machine with one GPU. The first process is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with (
        patch.dict(os.environ, RANK="0", WORLD_SIZE="2", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
        patch("stages.runtime.devices._cuda_devices", lambda: 1),
        patch("torch.cuda.device_count", lambda: 0),
        patch("stages.runtime.board.LINGERING", 0.0),
    ):
        yield


PAIR = {"RANK": "0", "WORLD_SIZE": "2"}
"""Two processes, without a place where they find each other."""

KINDS = [
    Kind("rank_alone", "RANK is set, and WORLD_SIZE is not", _nothing, "train", 2, ("WORLD_SIZE is not set", "RANK is 1", "torchrun"), _with(RANK="1")),
    Kind("world_alone", "WORLD_SIZE is set, and RANK is not", _nothing, "pretrain", 2, ("RANK is not set", "WORLD_SIZE is 2"), _with(WORLD_SIZE="2")),
    Kind("world_zero", "no process at all", _nothing, "train", 2, ("WORLD_SIZE is '0'", "at least 1"), _with(RANK="0", WORLD_SIZE="0")),
    Kind("world_word", "a number of processes that is no number", _nothing, "train", 2, ("WORLD_SIZE is 'abc'", "at least 1"), _with(RANK="0", WORLD_SIZE="abc")),
    Kind("rank_too_high", "a rank beyond the number of processes", _nothing, "train", 2, ("RANK is '2'", "from 0 to 1"), _with(RANK="2", WORLD_SIZE="2")),
    Kind("processes_no_address", "two processes without an address", _nothing, "train", 2, ("MASTER_ADDR is not set", "torchrun"), _with(**PAIR)),
    Kind("processes_bad_port", "a port beyond the highest", _nothing, "train", 2, ("MASTER_PORT is '70000'", "from 1 to 65535"), _with(**PAIR, MASTER_ADDR="127.0.0.1", MASTER_PORT="70000")),
    Kind("processes_port_taken", "a port at which another program listens", _nothing, "train", 2, ("MASTER_PORT", "127.0.0.1", "another program listens", "--master-port"), _port_in_use),
    Kind("processes_few_gpus", "more processes than GPUs", _nothing, "train --device cuda", 2, ("LOCAL_RANK is 0", "0 GPUs", "--nproc-per-node"), _one_gpu),
    Kind("processes_one_gpu", "two processes on one GPU that is named", _nothing, "train --device cuda:0", 2, ("--device cuda:0", "2 processes cannot share one device"), _one_gpu),
    Kind("processes_compare", "a comparison under torchrun", _nothing, COMPARE, 2, ("`pipeline compare` cannot divide its work", "2 processes", "CUDA_VISIBLE_DEVICES"), _with(**PAIR, MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")),
    Kind("processes_extract", "an extraction under torchrun", _nothing, "extract", 2, ("`pipeline extract` cannot divide its work", "2 processes"), _with(**PAIR, MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""

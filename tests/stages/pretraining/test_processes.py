"""Several processes: shares of a batch, and the same weights as one process alone."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from stages.errors import UsageError
from stages.pretrain import run
from stages.pretraining.processes import Processes
from stages.settings import PretrainSettings

ROOT = Path(__file__).parents[3]


def test_shares_cover_the_batch_without_overlap():
    """Every image of a batch belongs to exactly one process."""
    shares = [Processes(rank, 3).share(12) for rank in range(3)]
    assert [index for share in shares for index in range(12)[share]] == list(range(12))


@pytest.mark.parametrize("batch_size", [7, 3])
def test_a_batch_that_cannot_be_shared_is_refused(batch_size):
    """Uneven shares would give images uneven weights, and a share of one cannot be normalised."""
    with pytest.raises(UsageError, match="multiple of 3, at least 6"):
        Processes(0, 3).share(batch_size)


def _settings(folder: Path, name: str) -> PretrainSettings:
    return PretrainSettings(
        images=folder / "images",
        out=folder / f"{name}.safetensors",
        image_size=32,
        global_crop=16,
        local_crop=8,
        local_crops=1,
        steps=2,
        batch_size=4,
        prototypes=8,
        head_width=16,
        batch_norm=False,  # on a CPU each process would normalise its own share
        warmup=0,
        freeze_last=0,
        centring="centre" if "centre" in name else "sinkhorn",
        watch_every=1,
        device="cpu",
    )


_FORK = """
import os, sys
from pathlib import Path
from stages.pretrain import run
from tests.stages.pretraining.test_processes import _settings
children = []
for centring, port in zip(("sinkhorn", "centre"), sys.argv[2:]):
    for rank in ("0", "1"):
        child = os.fork()
        if not child:
            os.environ.update(RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            run(_settings(Path(sys.argv[1]), f"two_{centring}"))
            os._exit(0)
        children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""
"""A program that runs two processes per centring as `torchrun` does. They are forked to import torch only once."""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_two_processes_learn_what_one_learns(tmp_path, forks):
    """Gradients, centre and Sinkhorn's shares are computed over the whole batch, so the weights agree to rounding."""
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    done = forks.run(_FORK, tmp_path, *_free_ports(2))
    assert done.returncode == 0, done.stderr
    for centring in ("sinkhorn", "centre"):
        run(_settings(tmp_path, f"one_{centring}"))
        one, two = (load_file(tmp_path / f"{name}_{centring}.safetensors") for name in ("one", "two"))
        for name, tensor in one.items():
            np.testing.assert_allclose(tensor, two[name], atol=2e-5, rtol=1e-3, err_msg=f"{centring} {name}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]

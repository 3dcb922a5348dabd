"""Several processes: shares of a batch, and the same weights as one process alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from stages.errors import UsageError
from stages.pretrain import run
from stages.pretraining.shares import even_share
from stages.runtime.processes import Processes
from stages.settings import PretrainSettings
from tests.conftest import pretrain_settings
from tests.stages.together import run_processes


def test_shares_cover_the_batch_without_overlap():
    """Every image of a batch belongs to exactly one process."""
    shares = [even_share(Processes(rank, 3), 12) for rank in range(3)]
    assert [index for share in shares for index in range(12)[share]] == list(range(12))


@pytest.mark.parametrize("batch_size", [7, 3])
def test_a_batch_that_cannot_be_shared_is_refused(batch_size):
    """Uneven shares would give images uneven weights, and a share of one cannot be normalised."""
    with pytest.raises(UsageError, match="multiple of 3, at least 6"):
        even_share(Processes(0, 3), batch_size)


def _settings(folder: Path, name: str) -> PretrainSettings:
    settings: PretrainSettings = pretrain_settings(
        folder / "images",
        folder / f"{name}.safetensors",
        local_crops=1,
        steps=2,
        prototypes=8,
        batch_norm="centre" in name,
        warmup=0,
        freeze_last=0,
        centring="centre" if "centre" in name else "sinkhorn",
        watch_every=1,
    )
    return settings


PROGRAM = """
import sys
from pathlib import Path
from stages.pretrain import run
from tests.stages.pretraining.test_shares import _settings
run(_settings(Path(sys.argv[1]), f"two_{sys.argv[2]}"))
"""


def test_two_processes_learn_what_one_learns(tmp_path, forks):
    """Gradients, centre, Sinkhorn and batch statistics are those of the whole batch, so the weights agree."""
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    for centring in ("sinkhorn", "centre"):
        for finished in run_processes(forks, 2, PROGRAM, tmp_path, centring):
            assert finished.returncode == 0, finished.stderr
        run(_settings(tmp_path, f"one_{centring}"))
        one, two = (load_file(tmp_path / f"{name}_{centring}.safetensors") for name in ("one", "two"))
        for name, tensor in one.items():
            np.testing.assert_allclose(tensor, two[name], atol=2e-5, rtol=1e-3, err_msg=f"{centring} {name}")

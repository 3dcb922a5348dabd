"""Every command and every Python block of the README and the site works, on tiny data.

The blocks of a page run in their order in one folder, in which `tests.docs.worlds` has put images and masks. A page may
continue from the folder of another one, as it tells its readers. `tests.docs.small` makes the commands small.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs import small
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of
from tests.docs.worlds import make_world
from tests.forks import Forks

CONTINUES = {
    "docs/training.md": "docs/own-data.md",
    "docs/compare.md": "docs/own-data.md",
    "docs/report.md": "docs/training.md",
    "docs/predict.md": "docs/own-data.md",
    "docs/python.md": "docs/own-data.md",
    "docs/export.md": "docs/own-data.md",
    "docs/viewers.md": "docs/own-data.md",
    "docs/reference/store.md": "docs/own-data.md",
    "docs/python-data.md": "docs/own-data.md",
}
"""Pages that begin in the folder in which another page ended."""

COMMAND = """\
import os, sys
folder, *words = sys.argv[1:]
os.chdir(folder)
sys.argv = words
if words[0] == "dvc":
    from dvc.cli import main
    sys.exit(main(words[1:]))
from pipeline.cli import main
main()
"""
PYTHON = "import os, sys; os.chdir(sys.argv[1]); exec(compile(sys.argv[2], sys.argv[3], 'exec'))"
GIT = {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org", "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
GIT |= {"GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.org"}
RUN = {"console", "python"}
"""Languages of blocks that are run. Other blocks are only shown."""

Finish = Callable[[str], Path]


def runs(block: Block) -> bool:
    """Return whether a block is run."""
    return block.language in RUN and not block.not_run


@pytest.fixture(scope="module")
def finish(forks: Forks, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Finish:
    """Return a function that runs a page, and those that it continues from, once, and returns its folder."""
    done: dict[str, Path] = {}

    def run(page: str) -> Path:
        if page not in done:
            folder = tmp_path_factory.mktemp("page") / "work"
            if page in CONTINUES:
                shutil.copytree(run(CONTINUES[page]), folder, symlinks=True)
            else:
                make_world(phantoms, folder)
            for block in filter(runs, blocks_of(ROOT / page)):
                _run_block(block, folder, forks)
            done[page] = folder
        return done[page]

    return run


def _run_block(block: Block, folder: Path, forks: Forks) -> None:
    if block.language == "python":
        result = forks.run(PYTHON, folder, block.text, block.place, environment=GIT)
        assert result.returncode == 0, f"{block.place}:\n{block.text}\n{result.stderr}"
        return
    for words in block.commands:
        _run_command(block, small.made_small(words), folder, forks)


def _run_command(block: Block, words: list[str], folder: Path, forks: Forks) -> None:
    if words[0] in {"git", "mkdir", "cd"}:
        result = subprocess.run(
            words, cwd=folder, env={**os.environ, **GIT}, capture_output=True, text=True, check=False
        )
    else:
        assert words[0] in {"pipeline", "dvc"}, f"{block.place}: `{words[0]}` cannot be run; say why above the block"
        result = forks.run(COMMAND, folder, *words, environment=GIT)
    shown = f"{block.place}: {' '.join(words)}\n{result.stdout}{result.stderr}"
    assert result.returncode == 0, shown
    assert "Traceback" not in result.stderr, shown


WITH_BLOCKS = [page.relative_to(ROOT).as_posix() for page in PAGES if any(map(runs, blocks_of(page)))]


PROMISED = {
    "docs/own-data.md": ["heads.png", "reports/mine/per_sample.csv", "predictions/table.csv"],
    "docs/training.md": ["runs/mine/model.safetensors", "runs/mine/history.csv", "runs/mine/splits.csv"],
    "docs/report.md": ["reports/mine/report.html", "reports/mine/scores.json", "mine.html", "both.html"],
    "docs/compare.md": ["reports/compare/report.html", "reports/compare/table.md", "compared.html"],
    "docs/predict.md": ["details/table.csv", "details/case16_overlay.png", "details/case16.geojson"],
    "docs/radiology.md": ["reports/ct/report.html", "ct_predictions/case_8.nii.gz", "ct_predictions/table.csv"],
    "docs/tour.md": ["heads.png", "reports/tour/report.html", "predictions/table.csv", "reports/compare/report.html"],
}
"""Files that a page says its commands write."""


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_the_blocks_of_a_page_work_in_their_order(page: str, finish: Finish):
    folder = finish(page)
    assert [name for name in PROMISED.get(page, []) if not (folder / name).exists()] == []


def test_every_entry_of_the_small_values_is_needed():
    """An entry that replaces nothing belongs to a page that has changed."""
    used: set[object] = set()
    for page in PAGES:
        for block in filter(runs, blocks_of(page)):
            for words in block.commands if block.language == "console" else ():
                small.made_small(words, used)
    assert {*small.OPTIONS, *small.WORDS} - used == set()


def test_pages_continue_from_pages_that_run():
    assert set(CONTINUES) | set(CONTINUES.values()) | set(PROMISED) <= set(WITH_BLOCKS)

"""The reader of code blocks, on which every other test of the pages rests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.docs import blocks

PAGE = """\
Text with `code`.

```console
$ uv run pipeline train --store "a b.zarr" \\
    --out runs/x   # a comment
output
$ pipeline models
```

1. A list:

    <!-- not run: needs a network -->
    ```python
    import store
    ```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_commands_are_joined_split_and_freed_of_comments(page: Path):
    console, _ = blocks.blocks_of(page)
    assert console.commands == [
        ["pipeline", "train", "--store", "a b.zarr", "--out", "runs/x"],
        ["pipeline", "models"],
    ]
    assert (console.place, console.not_run) == ("page.md:3", "")


def test_an_indented_block_keeps_its_reason_and_loses_its_indentation(page: Path):
    _, python = blocks.blocks_of(page)
    assert (python.language, python.text, python.not_run) == ("python", "import store\n", "needs a network")


@pytest.mark.parametrize("text", ["```\nno language\n```\n", "```console\n$ pipeline models\n"])
def test_a_fence_that_is_not_understood_is_an_error(page: Path, text: str):
    """A block without a language, or without an end, would not be run and nobody would notice."""
    page.write_text(text)
    with pytest.raises(ValueError, match="understood"):
        blocks.blocks_of(page)


@pytest.mark.parametrize("library", ["segmentation_models_pytorch", "monai"])
def test_a_network_of_another_library_is_trained_in_under_ten_lines(library: str):
    """Imports count, and every line is one statement."""
    pages = blocks.blocks_of(blocks.DOCS / "python-data.md")
    (example,) = [block for block in pages if library in block.text]
    statements = [node for node in ast.walk(ast.parse(example.text)) if isinstance(node, ast.stmt)]
    assert len(example.text.split("\n\n")) == 2, "imports, and one block of code"
    assert len(statements) == len([line for line in example.text.splitlines() if line]) < 10
    assert "optimizer.step()" in example.text

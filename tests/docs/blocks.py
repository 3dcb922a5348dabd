"""Read the code blocks of a Markdown page.

A block begins with a line of three backticks and the name of its language. The line above may be a comment that says
why the block is not run in the tests:

    <!-- not run: needs a scheduler -->
    ```console
    $ pipeline extract --cluster tls://scheduler:8786 --images photos --masks masks --store store/mine.zarr
    ```

In a `console` block a line that begins with `$ ` is a command. A backslash at the end continues it on the next line,
and a `#` begins a comment. Other lines are output that a reader sees.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
"""All pages whose blocks are run: the README and the site."""

FENCE = re.compile(
    r"(?:^[ ]*<!-- not run: (?P<reason>[^>]*) -->\n+)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)[^\n`]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Hold a code block of a page."""

    page: str
    """Path of the page in the repository."""
    line: int
    """Number of its first line in the page, from 1."""
    language: str
    text: str
    not_run: str
    """Reason why it is not run; "" for a block that is run."""

    @property
    def commands(self) -> list[list[str]]:
        """Return the words of each command of a `console` block, without a leading `uv run`."""
        joined = self.text.replace("\\\n", " ")
        lines = [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]
        return [_without_uv(shlex.split(line, comments=True)) for line in lines]

    @property
    def place(self) -> str:
        """Return the page and the line, as an editor shows them."""
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return all blocks of a page in order.

    Raises:
        ValueError: a fence of the page was not understood, so that its block would go unnoticed.
    """
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        found.append(
            Block(
                page=name,
                line=text[: match.start("language")].count("\n") + 1,
                language=match["language"],
                text="".join(line[indent:] for line in match["text"].splitlines(keepends=True)),
                not_run=(match["reason"] or "").strip(),
            )
        )
    fences = len(re.findall(r"^[ ]*```", text, re.MULTILINE))
    if fences != 2 * len(found):
        raise ValueError(f"{name}: {fences} fences, but {len(found)} blocks were understood")
    return found


def _without_uv(words: list[str]) -> list[str]:
    return words[2:] if words[:2] == ["uv", "run"] else words

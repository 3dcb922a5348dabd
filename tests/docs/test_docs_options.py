"""Commands and options that the README and the site name exist, and every command is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pipeline.cli import app
from pipeline.params import SECTIONS, load_settings
from stages import settings as all_settings
from tests.docs.blocks import DOCS, PAGES, ROOT, Block, blocks_of

GROUP: Any = typer.main.get_command(app)

FOREIGN = {
    "--no-dashboard": "dask scheduler",
    "--protocol": "dask scheduler",
    "--extra": "uv",
    "--nproc-per-node": "torchrun",
    "--only": "python -m tests.benchmarks",
}
"""Options of other programs that the text names, with the program."""


def commands(block: Block) -> list[list[str]]:
    """Return the commands of this program in a block."""
    every = block.commands if block.language == "console" else []
    return [words[words.index("pipeline") :] for words in every if "pipeline" in words]


BLOCKS = [block for page in PAGES for block in blocks_of(page) if commands(block)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_command_has_known_options_with_possible_values(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The command line accepts each command, also of blocks that are not run; nothing is executed here."""
    monkeypatch.chdir(tmp_path)
    for name, *arguments in (words[1:] for words in commands(block)):
        if name.startswith("-"):
            continue
        context = GROUP.commands[name].make_context(name, arguments)
        if name in SECTIONS:
            settings = getattr(all_settings, f"{name.capitalize()}Settings")
            load_settings(settings, name, {key: context.params.get(key) for key in settings.__dataclass_fields__})


def test_every_option_in_the_text_exists():
    known = {flag for command in GROUP.commands.values() for one in command.params for flag in one.opts}
    known |= {"--version", "--help", *FOREIGN}
    for page in PAGES:
        text = re.sub(r"^[ ]*```.*?^[ ]*```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`]+)`", text):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code):
                assert option in known, f"{page.relative_to(ROOT)}: {option}"


def test_foreign_options_are_named_somewhere():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [option for option in FOREIGN if option not in text] == []


def test_every_command_has_its_options_in_the_reference():
    reference = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- options: (\w+) -->", reference)) == set(GROUP.commands)


def test_every_command_is_used_in_a_page():
    """A command that no page shows in use is not explained."""
    shown = {words[1] for page in PAGES for block in blocks_of(page) for words in commands(block)}
    assert set(GROUP.commands) - shown == set()


def test_settings_shown_as_yaml_exist(tmp_path: Path):
    """A block of `params.yaml` in a page is one that the program reads."""
    found = [
        block
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "yaml" and "distributed:" not in block.text
    ]
    assert found
    for block in found:
        content = yaml.safe_load(block.text)
        file = tmp_path / "params.yaml"
        file.write_text(block.text, encoding="utf-8")
        for section in content:
            if section in SECTIONS:
                load_settings(getattr(all_settings, f"{section.capitalize()}Settings"), section, {}, file)

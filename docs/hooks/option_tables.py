"""Write the options of a command into a page, in place of the line `<!-- options: COMMAND -->`.

The table is made from the command line itself, so it names every option with its default and its help.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from pipeline.cli import app

PLACE = re.compile(r"^<!-- options: (?P<command>[a-z]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes all
    """Fill every place for a table."""
    return PLACE.sub(lambda place: option_table(place["command"]), markdown)


def option_table(command: str) -> str:
    """Return the description of a command and a Markdown table of its arguments and options.

    Raises:
        PluginError: there is no such command.
    """
    callbacks = {
        str(one.name or getattr(one.callback, "__name__", "")): one.callback for one in app.registered_commands
    }
    if (callback := callbacks.get(command)) is None:
        raise PluginError(f"there is no command `{command}`")
    parameters = inspect.signature(callback, eval_str=True).parameters.values()
    rows = [row for parameter in parameters if (row := _row(parameter))]
    lines = ["| option | default | meaning |", "|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join([inspect.cleandoc(callback.__doc__ or ""), "", *(lines if rows else [])])


def _row(parameter: inspect.Parameter) -> tuple[str, str, str] | None:
    """Return the option, its default, and its help with the choices; None for a hidden option."""
    hint, info = typing.get_args(parameter.annotation)[:2]
    if info.hidden:
        return None
    given = (info.default, *(info.param_decls or ()))  # with `Annotated` Typer keeps the first flag as the default
    flags = [flag for flag in given if isinstance(flag, str) and flag.startswith("--")]
    flag = flags[0] if flags else "--" + parameter.name.replace("_", "-")
    name = parameter.name.upper() if isinstance(info, typer.models.ArgumentInfo) else flag
    meaning, _, noted = (info.help or "").partition("  [default: ")
    default = info.show_default if isinstance(info.show_default, str) else noted.rstrip("]")
    if not default and parameter.default not in {None, False, inspect.Parameter.empty}:
        default = str(parameter.default)
    if choices := _choices(hint):
        meaning += f" One of: {', '.join(f'`{choice}`' for choice in choices)}."
    return f"`{name}`", f"`{default}`" if default else "", meaning


def _choices(hint: Any) -> list[str]:
    """Return the values of a `Literal`, also of one that may be None."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return [choice for part in typing.get_args(hint) for choice in _choices(part)]
    return list(map(str, typing.get_args(hint))) if typing.get_origin(hint) is typing.Literal else []

"""Settings of a command: from the command line, else from `params.yaml`, else the default.

`options_of` turns a settings dataclass into a command's options, so that a default, its range and its
help are written once, in `stages.settings`. The command receives the checked settings as its one
argument. A section of `params.yaml` has the command's name and the settings' fields as keys. Its values
are checked as strictly as those of the command line, key by key.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from pipeline.values import parse_value, show_value, without_none
from store.disk.paths import require_local
from store.disk.regular import named_failures
from store.errors import UsageError

if TYPE_CHECKING:
    import yaml

Settings = TypeVar("Settings")

PARAMS = Path("params.yaml")

TOGETHER = (frozenset({"images", "masks", "csv"}),)
"""Settings that belong together: if one is on the command line, the others are not taken from `params.yaml`."""

RENAMED: dict[str, dict[str, str]] = {
    "phantom": {"size": "image_size"},
    "extract": {"size": "image_size"},
}
"""Settings that had another name: section → old name → new name. The old name is an error that says the new one."""

OFF = frozenset({"", "0", "false", "no", "off"})
"""Values of an environment variable that do not switch a setting on."""

NOT_NOTICED = frozenset({"size", "nfiles"})
"""Keys that DVC leaves out when it looks for changes (treeverse/dvc #10296), at any depth."""


def options_of(
    settings: type[Settings], *, section: str, argument: str | None = None
) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Return a decorator: it turns a function that takes settings into one that takes options, for a Typer command.

    Args:
        settings: the dataclass; its fields become options.
        section: name of the section of `params.yaml`.
        argument: a field that is given by position.
    """
    hints = typing.get_type_hints(settings)  # without `Annotated`: ranges are checked by pydantic
    options = {
        field.name: typing.Annotated[
            _option_type(hints[field.name]) | None, _option(field, hints[field.name], argument)
        ]
        for field in dataclasses.fields(settings)  # type: ignore[arg-type]
    }
    renamed = RENAMED.get(section, {})
    options |= {old: typing.Annotated[str | None, typer.Option(_flag(old), hidden=True)] for old in renamed}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]

    def decorate(command: Callable[[Settings], None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            for old, new in renamed.items():
                if given.pop(old) is not None:
                    raise UsageError(f"{_flag(old)} is now called {_flag(new)}: use the new name.")
            command(load_settings(settings, section, given))

        run.__name__ = command.__name__
        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = options
        return run

    return decorate


def load_settings(settings: type[Settings], section: str, given: Mapping[str, Any], params: Path = PARAMS) -> Settings:
    """Return settings from the command line's values, `params.yaml` and the defaults, in this order.

    A few settings can also be switched on by the environment, whatever `params.yaml` says.

    Args:
        settings: the dataclass to fill.
        section: name of the section of `params.yaml`.
        given: values of the command line by field; None where an option was not given.
        params: the file; it need not exist.

    Raises:
        UsageError: `params.yaml` cannot be read, has an unknown key, or a value is of the wrong kind or range; or DVC
            runs the command and would not notice a change of its inputs.
    """
    content = read_params(params)
    from_file = _section(content, section, params)
    _require_known(from_file, settings, section, params)
    from_line = {name: value for name, value in given.items() if value is not None}
    from_file |= dict.fromkeys(_switched_on(settings), True)
    for together in TOGETHER:
        if together & from_line.keys():
            from_file = {key: value for key, value in from_file.items() if key not in together}
    checked = _checked(settings, section, {**from_file, **from_line}, from_line, params)
    if "DVC_STAGE" in os.environ:  # DVC sets it for the command of a stage
        from pipeline.watched import require_version, require_watched

        require_version(content, params)
        require_watched(checked, section, content, params)
    return checked


def _switched_on(settings: type[Any]) -> list[str]:
    """Return the settings that an environment variable switches on. Any value but 0, false, no and off counts."""
    return [
        field.name
        for field in dataclasses.fields(settings)
        if any(os.environ.get(name, "").strip().lower() not in OFF for name in field.metadata.get("switched_on_by", ()))
    ]


def read_params(params: Path = PARAMS) -> Any:
    """Return what the file holds; None if there is no file.

    Raises:
        UsageError: the file cannot be read as YAML of plain values, or a key is there twice.
    """
    import yaml

    try:
        with named_failures(params):
            text = params.read_text(encoding="utf-8")
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), params)
        return yaml.safe_load(text)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise UsageError(f"{params}: cannot be read as text. Save it as UTF-8.") from None
    except yaml.constructor.ConstructorError as error:
        raise UsageError(f"{params}{_line(error)}: cannot be read: {error.problem}. Write plain values only.") from None
    except yaml.MarkedYAMLError as error:
        raise UsageError(
            f"{params}{_line(error)}: cannot be read as YAML ({error.problem}). Correct this line or the one before it."
        ) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{params}: cannot be read: {error}") from None
    except (PermissionError, IsADirectoryError) as error:
        raise UsageError(f"{params}: cannot be read ({error.strerror}). Allow reading it, or move it away.") from None
    except ValueError as error:  # an impossible date, a number of thousands of digits
        raise UsageError(f"{params}: holds a value that cannot be read ({error}). Put it in quotes.") from None
    except RecursionError:
        raise UsageError(f"{params}: is nested too deep to be read. Write plain values only.") from None


def _refuse_repeated_keys(root: yaml.Node | None, params: Path) -> None:
    """Raise an error if a mapping has a key twice: YAML would silently use the last one.

    Raises:
        UsageError: the message names the key and its line.
    """
    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(getattr(node, "value", None), list):
            continue
        seen.add(id(node))  # an alias may lead back to a node above
        keys: set[str] = set()
        for child in node.value:
            if not isinstance(child, tuple):
                waiting.append(child)
                continue
            key, value = child
            waiting.append(value)
            if isinstance(key.value, str) and key.value in keys and key.value != "<<":
                line = key.start_mark.line + 1
                raise UsageError(f"{params} line {line}: `{key.value}` is there twice. Keep one of the two.")
            if isinstance(key.value, str):
                keys.add(key.value)


def _line(error: yaml.MarkedYAMLError) -> str:
    return f" line {error.problem_mark.line + 1}" if error.problem_mark else ""


def _section(content: Any, section: str, params: Path) -> dict[str, Any]:
    found = content.get(section) if isinstance(content, dict) else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{params}: `{section}` must hold settings, one `key: value` a line.")
    return found


def _require_known(from_file: Mapping[str, Any], settings: type[Settings], section: str, params: Path) -> None:
    """Make sure that every key of a section is a setting, and that DVC notices when its value changes."""
    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    for key, value in from_file.items():
        if new := RENAMED.get(section, {}).get(key):
            raise UsageError(f"{params}: {section}.{key} is now called {section}.{new}: rename it.")
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it knows {', '.join(names)}."
            raise UsageError(f"{params}: `{section}` has no setting `{key}`; {hint}")
        if isinstance(value, dict) and (hidden := sorted(NOT_NOTICED & value.keys())):
            raise UsageError(
                f"{params}: {section}.{key} has a key `{hidden[0]}`, and DVC does not notice when a value of that name "
                "changes. Choose another name."
            )


def _checked(
    settings: type[Settings], section: str, values: dict[str, Any], from_line: Mapping[str, Any], params: Path
) -> Settings:
    """Return the settings, or raise an error with one line per wrong value that says where the value came from."""
    from pydantic import TypeAdapter, ValidationError

    def place(name: str) -> str:
        return _flag(name) if name in from_line else f"{params}: {section}.{name}"

    complaints: dict[str, str] = {}
    hints = typing.get_type_hints(settings)
    for name, value in values.items():
        try:
            values[name] = None if value is None else parse_value(value, hints[name])
        except ValueError as error:
            complaints[name] = str(error)
    try:
        checked = TypeAdapter(settings).validate_python({k: v for k, v in values.items() if k not in complaints})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            complaints[str(detail["loc"][0])] = f"{detail['msg']}, not {detail['input']!r}"
    if complaints:
        raise UsageError("\n".join(f"{place(name)}: {complaint}" for name, complaint in complaints.items()))
    for value in vars(checked).values():
        if isinstance(value, Path):
            require_local(value)
    return checked


def _option_type(hint: Any) -> Any:
    """Return the type that Typer parses an option as: plain types unchanged, all others as text."""
    hint = without_none(hint)
    plain = hint in (int, float, bool, str, Path) or typing.get_origin(hint) is typing.Literal
    return hint if plain else str


def _option(field: dataclasses.Field[Any], hint: Any, argument: str | None) -> Any:
    text = field.metadata["help"]
    default = show_value(field.default, hint)
    if field.name == argument:
        return typer.Argument(help=text, show_default=default)
    return typer.Option(_flag(field.name), help=text, show_default=default)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"

"""Settings of a command: what the command line says, else what `params.yaml` says, else the default.

`options_of` turns a settings dataclass into a command's options, so that a default, its range and its
help are written once, in `stages.settings`. The command receives the checked settings as its one
argument. A section of `params.yaml` has the command's name and the settings' fields as keys; what it
holds is checked as strictly as the command line, key by key.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from store.disk.paths import require_local
from store.errors import UsageError

if TYPE_CHECKING:
    import yaml

Settings = TypeVar("Settings")

PARAMS = Path("params.yaml")

TOGETHER = (frozenset({"images", "masks", "csv"}),)
"""Settings that describe one thing: given one on the command line, `params.yaml` is not asked for the others."""


def options_of(
    settings: type[Settings], *, section: str, argument: str | None = None
) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Make a function of settings into a function of options, for Typer to make a command of.

    Args:
        settings: the dataclass; its fields become options.
        section: name of the section of `params.yaml`.
        argument: a field that is given by position.
    """
    hints = typing.get_type_hints(settings)  # without `Annotated`: ranges are checked by pydantic
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=typing.Annotated[_option_type(hints[field.name]) | None, _option(field, argument)],
        )
        for field in dataclasses.fields(settings)  # type: ignore[arg-type]
    ]

    def decorate(command: Callable[[Settings], None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            command(load_settings(settings, section, given))

        run.__name__ = command.__name__
        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def load_settings(settings: type[Settings], section: str, given: Mapping[str, Any], params: Path = PARAMS) -> Settings:
    """Settings from the command line's values (None where not given), `params.yaml` and the defaults.

    Raises:
        UsageError: `params.yaml` cannot be read, has an unknown key, or a value is of the wrong kind or range.
    """
    from_file = _section(params, section)
    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    for key in from_file:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it knows {', '.join(names)}."
            raise UsageError(f"{params}: `{section}` has no setting `{key}`; {hint}")
    from_line = {name: value for name, value in given.items() if value is not None}
    for together in TOGETHER:
        if together & from_line.keys():
            from_file = {key: value for key, value in from_file.items() if key not in together}
    return _checked(settings, section, {**from_file, **from_line}, from_line, params)


def _section(params: Path, section: str) -> dict[str, Any]:
    content = _content(params)
    found = (content or {}).get(section) if isinstance(content or {}, dict) else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{params}: `{section}` must hold settings, one `key: value` a line.")
    return found


def _content(params: Path) -> Any:
    """What the file holds; nothing where there is none."""
    import yaml

    try:
        return yaml.safe_load(params.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise UsageError(f"{params}: cannot be read as text. Save it as UTF-8.") from None
    except yaml.constructor.ConstructorError as error:
        raise UsageError(f"{params}{_line(error)}: cannot be read: {error.problem}. Write plain values only.") from None
    except yaml.MarkedYAMLError as error:
        raise UsageError(
            f"{params}{_line(error)}: cannot be read as YAML ({error.problem}). Mend the line or the one before it."
        ) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{params}: cannot be read: {error}") from None
    except OSError as error:
        raise UsageError(f"{params}: cannot be read ({error.strerror}). Allow reading it, or move it away.") from None
    except ValueError as error:  # a date that is none, a number of thousands of digits
        raise UsageError(f"{params}: holds a value that cannot be read ({error}). Put it in quotes.") from None
    except RecursionError:
        raise UsageError(f"{params}: is nested too deep to be read. Write plain values only.") from None


def _line(error: yaml.MarkedYAMLError) -> str:
    return f" line {error.problem_mark.line + 1}" if error.problem_mark else ""


def _checked(
    settings: type[Settings], section: str, values: dict[str, Any], from_line: Mapping[str, Any], params: Path
) -> Settings:
    """The settings, or an error with one line per wrong value, each saying where it came from."""
    from pydantic import TypeAdapter, ValidationError

    def place(name: str) -> str:
        return f"--{name.replace('_', '-')}" if name in from_line else f"{params}: {section}.{name}"

    complaints: dict[str, str] = {}
    hints = typing.get_type_hints(settings)
    for name, parse in PARSERS.items():
        if values.get(name) is not None and hints.get(name) is not int:  # `pretrain` has one side, not a Size
            try:
                values[name] = parse(values[name])
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
    """What Typer should make of a field's type: the plain ones as they are, the structured ones as text."""
    if isinstance(hint, types.UnionType):
        (hint,) = (choice for choice in typing.get_args(hint) if choice is not types.NoneType)
    plain = hint in (int, float, bool, str, Path) or typing.get_origin(hint) is typing.Literal
    return hint if plain else str


def _option(field: dataclasses.Field[Any], argument: str | None) -> Any:
    text = field.metadata["help"]
    default = _shown(field.default)
    if field.name == argument:
        return typer.Argument(help=text, show_default=default)
    return typer.Option(f"--{field.name.replace('_', '-')}", help=text, show_default=default)


def _shown(default: Any) -> str | bool:
    """A default as a user would type it; False shows none."""
    if default is None or isinstance(default, bool):
        return False
    if isinstance(default, tuple):
        return ("x" if len(default) == 2 else ",").join(str(part) for part in default)  # noqa: PLR2004 - a Size
    return str(default)


def _parse_size(value: Any) -> Any:
    """One number, `192x256`, or a list of two → (height, width)."""
    if isinstance(value, str):
        value = value.lower().split("x") if "x" in value.lower() else value
    sides = value if isinstance(value, list | tuple) else [value, value]
    try:
        height, width = (int(side) for side in sides)
    except (TypeError, ValueError):
        raise ValueError(f"a size is one number or HEIGHTxWIDTH, not {value!r}") from None
    return height, width


def _parse_layers(value: Any) -> Any:
    """One number, `9,10,11`, or a list → a tuple."""
    layers = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return tuple(int(layer) for layer in layers)
    except (TypeError, ValueError):
        raise ValueError(f"layers are numbers separated by commas, such as -1 or 9,10,11, not {value!r}") from None


def _parse_classes(value: Any) -> Any:
    """A text such as skin=0,lesion=255, or a mapping → a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",")]
    if not all(name.strip() and wanted.strip() for name, _, wanted in pairs):
        raise ValueError(f"classes are NAME=VALUE separated by commas, such as skin=0,lesion=255, not {value!r}")
    return {name.strip(): int(wanted) if wanted.strip().isdigit() else wanted.strip() for name, _, wanted in pairs}


PARSERS: dict[str, Callable[[Any], Any]] = {
    "image_size": _parse_size,
    "attention_size": _parse_size,
    "layers": _parse_layers,
    "classes": _parse_classes,
}

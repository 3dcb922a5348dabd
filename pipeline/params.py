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
from typing import Any, TypeVar

import typer

from pipeline.checked_settings import checked_settings
from pipeline.console import say
from pipeline.params_file import PARAMS, ParamsFile, read_params
from pipeline.store_cache import cache_options, options_of_cache
from pipeline.values import NAMED_TEXTS, show_input, show_value, without_none
from pipeline.watched import INPUTS, VERSION_KEY, require_version, require_watched
from stages.settings.environment import is_switched_on
from store.errors import UsageError
from store.remote.address import Place

Settings = TypeVar("Settings")

SECTIONS = ("phantom", "pretrain", "extract", "train", "evaluate", "predict", "compare", "report", "export")
"""Commands that take settings from a section of `params.yaml`."""

OWN = "x-"
"""Sections whose names begin so belong to other programs, and are not read."""
SHORTEST_NAME = 3
"""Letters of an abbreviation, such as `eval`, that is taken for one of a section's name."""

TOGETHER = (frozenset({"images", "masks", "csv"}), frozenset({"epochs", "steps"}))
"""Settings that belong together: if one is on the command line, the others are not taken from `params.yaml`."""

ALTERNATIVES = (frozenset({"epochs", "steps"}),)
"""Settings of which one is given: two on the command line, or two in `params.yaml`, contradict each other."""

RENAMED: dict[str, dict[str, str]] = {
    "phantom": {"size": "image_size"},
    "extract": {"size": "image_size"},
}
"""Settings that had another name: section → old name → new name. The old name is an error that says the new one."""

NOT_NOTICED = frozenset({"size", "nfiles"})
"""Keys that DVC leaves out when it looks for changes (treeverse/dvc #10296), at any depth."""


def options_of(
    settings: type[Settings], *, section: str, argument: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator: it turns a function that takes settings into one that takes options, for a Typer command.

    Further parameters of the function, such as `--json`, are options that are no settings.

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
    options |= {old: typing.Annotated[str | None, typer.Option(flag_of(old), hidden=True)] for old in renamed}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]

    cached = options_of_cache(options) if hints.get("store") == Place else {}
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in cached.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints_of_command = typing.get_type_hints(command, include_extras=True)
        further = [
            parameter.replace(annotation=hints_of_command[name])
            for name, parameter in list(inspect.signature(command).parameters.items())[1:]
        ]

        def run(**given: Any) -> None:
            own = {parameter.name: given.pop(parameter.name) for parameter in further}
            cache = {name: given.pop(name) for name in cached}
            for old, new in renamed.items():
                if given.pop(old) is not None:
                    raise UsageError(f"{flag_of(old)} is now called {flag_of(new)}: use the new name.")
            file = read_params(PARAMS)
            given = {name: None if value == [] else value for name, value in given.items()}  # no repeated option given
            checked = _load(settings, section, given, file)
            _require_images(checked, section, given, file)
            with cache_options(**{"offline": getattr(checked, "offline", False), **cache}):
                command(checked, **own)

        run.__name__ = command.__name__
        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature([*parameters, *further])  # type: ignore[attr-defined]
        run.__annotations__ = options | cached | {parameter.name: parameter.annotation for parameter in further}
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
    return _load(settings, section, given, read_params(params))


def _load(settings: type[Settings], section: str, given: Mapping[str, Any], file: ParamsFile) -> Settings:
    _require_known_sections(file)
    _note_settings_outside(settings, section, file)
    from_file = _section(file, section)
    _require_known(from_file, settings, section, file)
    from_line = {name: value for name, value in given.items() if value is not None}
    from_file = {**from_file, **dict.fromkeys(switched_on(settings), True)}
    for together in TOGETHER:
        if together & from_line.keys():
            from_file = {key: value for key, value in from_file.items() if key not in together}
    _require_one(section, from_file, from_line, file)
    checked = _checked_file(settings, section, from_file, from_line, file)
    if "DVC_STAGE" in os.environ:  # DVC sets it for the command of a stage
        require_version(file.content, file.path)
        require_watched(checked, section, file.content, file.path)
    return checked


def settings_of_file(settings: type[Settings], section: str) -> Settings | None:
    """Return the settings of a command that is run without options in this folder.

    Returns:
        None if `params.yaml` cannot be used for the command.
    """
    try:
        file = read_params(PARAMS)
        from_file = _section(file, section)
        _require_known(from_file, settings, section, file)
        return _checked_file(settings, section, from_file, {}, file)
    except UsageError:
        return None


def flag_of(name: str) -> str:
    """Return the option of a setting, such as `--batch-size`."""
    return f"--{name.replace('_', '-')}"


def _require_one(section: str, from_file: Mapping[str, Any], from_line: Mapping[str, Any], file: ParamsFile) -> None:
    """Make sure that of settings that exclude each other only one is given.

    Raises:
        UsageError: two are.
    """
    for alternatives in ALTERNATIVES:
        for values, show in ((from_line, flag_of), (from_file, lambda name: f"{section}.{name}")):
            given = sorted(name for name in alternatives if values.get(name) is not None)
            if len(given) > 1:
                where = "" if values is from_line else f"{file.place(section, given[-1])}: "
                raise UsageError(f"{where}{' and '.join(map(show, given))} exclude each other. Give only one of them.")


def switched_on(settings: type[Any]) -> list[str]:
    """Return the settings that an environment variable switches on. Any value but 0, false, no and off counts."""
    return [
        field.name for field in dataclasses.fields(settings) if is_switched_on(field.metadata.get("switched_on_by", ()))
    ]


def _require_known_sections(file: ParamsFile) -> None:
    """Make sure that every section belongs to this program, or is marked as the user's own.

    DVC projects may keep the settings of other programs in the same file, under names that begin with `x-`.

    Raises:
        UsageError: a section is unknown; the message names the nearest one.
    """
    known = (*SECTIONS, INPUTS, VERSION_KEY)
    for name, value in (file.content or {}).items():
        if name in known or (isinstance(name, str) and name.startswith(OWN)):
            continue
        if not isinstance(name, str):
            raise UsageError(f"{file.place(name)}: the section `{_name(name)}` must have a name that is text.")
        if not isinstance(value, dict):
            continue  # a value for templates in dvc.yaml, not a section
        lower = name.lower()
        starting = [one for one in SECTIONS if len(lower) >= SHORTEST_NAME and one.startswith(lower)]
        near = starting or difflib.get_close_matches(lower, known, n=1, cutoff=0)
        raise UsageError(
            f"{file.place(name)}: there is no section `{name}`; the nearest is `{near[0]}`. Correct the name. "
            f"A section of another program needs a name that begins with `{OWN}`, or a file of its own."
        )


def _note_settings_outside(settings: type[Settings], section: str, file: ParamsFile) -> None:
    """Say that a setting beside the sections is not read. It is no error: templates in `dvc.yaml` use such values."""
    names = {field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    for name in names & (file.content or {}).keys():
        if not isinstance((file.content or {})[name], dict):
            say(f"note: {file.place(name)}: `{name}` is outside the section `{section}`, so {section} does not read it")


def _section(file: ParamsFile, section: str) -> Mapping[str, Any]:
    found = (file.content or {}).get(section)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{file.place(section)}: `{section}` must hold settings, one `key: value` a line.")
    return found


def _require_known(from_file: Mapping[str, Any], settings: type[Settings], section: str, file: ParamsFile) -> None:
    """Make sure that every key of a section is a setting, and that DVC notices when its value changes."""
    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    for key, value in from_file.items():
        place = file.place(section, key)
        if new := RENAMED.get(section, {}).get(key):
            raise UsageError(f"{place}: {section}.{key} is now called {section}.{new}: rename it.")
        if key not in names:
            near = difflib.get_close_matches(str(key).lower().replace("-", "_"), names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it knows {', '.join(names)}."
            raise UsageError(f"{place}: `{section}` has no setting `{_name(key)}`; {hint}")
        if isinstance(value, dict) and (hidden := sorted(NOT_NOTICED & value.keys())):
            raise UsageError(
                f"{place}: {section}.{key} has a key `{hidden[0]}`, and DVC does not notice when a value of that name "
                "changes. Choose another name."
            )


def _name(key: object) -> str:
    """Return a key of YAML as a user writes it."""
    return key if isinstance(key, str) else show_input(key)


def _require_images(settings: object, section: str, given: Mapping[str, Any], file: ParamsFile) -> None:
    """Make sure that a command without any images says so. The default is a folder that `phantom` makes.

    Raises:
        UsageError: no images are named, and the default folder is not there.
    """
    images = getattr(settings, "images", None)
    named = [values.get(name) for values in (given, _section(file, section)) for name in ("images", "csv")]
    if images is None or images.exists() or any(one is not None for one in named):
        return
    option = "no images are named" if section == "predict" else "--images is missing"
    if file.content is None:
        where = f"there is no {file.path} with {section}.images in this folder"
    else:
        where = f"{file.path} has no {section}.images"
    raise UsageError(
        f"{option}, {where}, and the default, {images}, does not exist.\n"
        "  Name a folder of images; or draw some to try the pipeline with: pipeline phantom"
    )


def _checked_file(
    settings: type[Settings],
    section: str,
    from_file: Mapping[str, Any],
    from_line: Mapping[str, Any],
    file: ParamsFile,
) -> Settings:
    """Return the settings of a file and the command line."""

    def place(name: str) -> str:
        return flag_of(name) if name in from_line else f"{file.place(section, name)}: {section}.{name}"

    return checked_settings(settings, from_file, from_line, place)


def _option_type(hint: Any) -> Any:
    """Return the type that Typer parses an option as: plain types unchanged, a list if repeated, others as text."""
    hint = without_none(hint)
    if hint == NAMED_TEXTS:
        return list[str]
    plain = hint in (int, float, bool, str, Path) or typing.get_origin(hint) is typing.Literal
    return hint if plain else str


def _option(field: dataclasses.Field[Any], hint: Any, argument: str | None) -> Any:
    text = field.metadata["help"]
    default = show_value(field.default, hint)
    if field.name == argument:
        return typer.Argument(help=text, show_default=default)
    return typer.Option(flag_of(field.name), help=text, show_default=default)

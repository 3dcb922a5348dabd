"""Record the public signatures of the Python API: names, parameters, defaults, fields and methods.

`python -m tests.public_api` writes them to `tests/pipeline/public_api.txt`. Each name has the version in which it last
changed. The constructor of a class is public if the docstring of the class describes its arguments. A change is only
recorded if the newest section of CHANGELOG.md is unreleased and names what changed: a class as `Name` in code, a
function as `name()`. `tests/pipeline/test_public_api.py` fails until that is done.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pipeline

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests" / "pipeline" / "public_api.txt"
CHANGELOG = ROOT / "CHANGELOG.md"
HEADING = "# Public signatures, recorded by `python -m tests.public_api`. The number is the version of the last change."
SPECIAL = ("__call__", "__getitem__", "__iter__", "__len__")
"""Methods that users call by Python's syntax."""
OURS = ("pipeline", "stages", "store")


def current() -> dict[str, list[str]]:
    """Return the lines that describe every public name, by name."""
    return {name: list(_described(getattr(pipeline, name))) for name in sorted(pipeline.PUBLIC)}


def differences(record: str, described: Mapping[str, list[str]]) -> dict[str, str]:
    """Return how names differ from the record, by name: `new`, `changed` or `removed`."""
    known = {name: lines for name, (_, lines) in _parsed(record).items()}
    found = {}
    for name in sorted({*known, *described}):
        if known.get(name) != described.get(name):
            found[name] = "new" if name not in known else "removed" if name not in described else "changed"
    return found


def problems(record: str, described: Mapping[str, list[str]], changelog: str) -> list[str]:
    """Return what must be done before the record, the code and the changelog agree; empty if they do."""
    changes = differences(record, described)
    unnamed = [name for name in changes if not _is_named(changelog, name, described, record)]
    found = [
        f"{name}: is {change} and not recorded; run `python -m tests.public_api`" for name, change in changes.items()
    ]
    found += [f"{name}: {_advice(changelog)}" for name in unnamed]
    version = _newest(changelog)[0]
    for name, (changed, _) in _parsed(record).items():
        if changed == version and name not in changes and not _is_named(changelog, name, described, record, past=True):
            found.append(
                f"{name}: the record says that it changed in {version}, and CHANGELOG.md does not name it there"
            )
    return found


def recorded(record: str, described: Mapping[str, list[str]], changelog: str) -> str:
    """Return the new content of the record.

    Raises:
        ValueError: the changelog does not name every change.
    """
    changes = differences(record, described)
    unnamed = [name for name in changes if not _is_named(changelog, name, described, record)]
    if unnamed:
        raise ValueError("\n".join(f"{name}: is {changes[name]}; {_advice(changelog)}" for name in unnamed))
    known, version = _parsed(record), _newest(changelog)[0]
    parts = [HEADING]
    for name, lines in sorted(described.items()):
        mark = version if name in changes else known[name][0]
        parts.append("\n".join([f"\n[{mark}] {name}", *(f"    {line}" for line in lines)]))
    return "\n".join(parts) + "\n"


def _described(found: Any) -> Iterator[str]:
    if not inspect.isclass(found):
        yield f"function{_signature(found)}"
        return
    bases = [base.__name__ for base in found.__bases__ if base is not object]
    yield f"class({', '.join(bases)})"
    fields = {field.name: field for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else {}
    for name, field in fields.items():
        if not name.startswith("_"):
            yield f"field {name}: {field.type}{_default(field)}"
    if "Args:" in (found.__doc__ or ""):
        yield f"constructor{_signature(vars(found)['__init__'])}"
    for name in sorted({*dir(found)} - {*fields}):
        if (not name.startswith("_") or name in SPECIAL) and _is_ours(found, name):
            yield from _member(name, inspect.getattr_static(found, name))
    for name, hint in sorted(vars(found).get("__annotations__", {}).items()):
        if name not in fields and not name.startswith("_") and not hasattr(found, name):
            yield f"attribute {name}: {hint}"


def _is_ours(found: type, name: str) -> bool:
    """Return True if a class of this project defines the member, and not one of Python or torch."""
    owner = next(one for one in found.__mro__ if name in vars(one))
    return owner.__module__.split(".")[0] in OURS


def _member(name: str, member: Any) -> Iterator[str]:
    if isinstance(member, classmethod | staticmethod):
        yield f"{type(member).__name__} {name}{_signature(member.__func__)}"
    elif inspect.isfunction(member):
        yield f"method {name}{_signature(member)}"
    else:
        function = getattr(member, "fget", None) or getattr(member, "func", None)
        hint = inspect.signature(function).return_annotation if function else type(member).__name__
        yield f"property {name}: {hint}"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [one.replace(default=_Shown(one.default)) if one.default is not one.empty else one
                  for one in signature.parameters.values()]  # fmt: skip
    return re.sub(r": '([^']*)'", r": \1", str(signature.replace(parameters=parameters))).replace("'", "")


class _Shown:
    """Show a default the same on every system."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _text(self._value)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f" = {field.default_factory.__name__}()"
    return "" if field.default is dataclasses.MISSING else f" = {_text(field.default)}"


def _text(value: Any) -> str:
    return f"Path({value.as_posix()!r})" if isinstance(value, Path) else repr(value)


def _parsed(record: str) -> dict[str, tuple[str, list[str]]]:
    """Return version and lines by name."""
    found: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in record.splitlines():
        if match := re.fullmatch(r"\[(\S+)\] (\w+)", line):
            lines = []
            found[match[2]] = (match[1], lines)
        elif line.startswith("    "):
            lines.append(line[4:])
    return found


def _newest(changelog: str) -> tuple[str, str, bool]:
    """Return version and text of the newest section, and whether it is unreleased.

    Raises:
        ValueError: there is no section.
    """
    match = re.search(r"^## (\S+)([^\n]*)\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError("CHANGELOG.md has no section `## VERSION (unreleased)`")
    return match[1], match[3], "unreleased" in match[2]


def _is_named(
    changelog: str, name: str, described: Mapping[str, list[str]], record: str, *, past: bool = False
) -> bool:
    """Return True if the newest section names a public name in code; with `past` also if it is released."""
    _, text, unreleased = _newest(changelog)
    lines = described.get(name) or _parsed(record)[name][1]
    call = r"\(" if lines[0].startswith("function") else r"(?!\w)"
    codes = re.findall(r"`([^`]+)`", text)
    return (unreleased or past) and any(re.search(rf"(?<![\w-]){name}{call}", code) for code in codes)


def _advice(changelog: str) -> str:
    version, _, unreleased = _newest(changelog)
    where = f"the section {version}" if unreleased else "a new section `## VERSION (unreleased)`"
    return f"describe the change in {where} of CHANGELOG.md, with the name in backticks; a function as `name()`"


def main() -> int:
    """Record the signatures; return the exit status."""
    record = RECORD.read_text(encoding="utf-8") if RECORD.exists() else ""
    try:
        content = recorded(record, current(), CHANGELOG.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.stderr.write(f"not recorded:\n{error}\n")
        return 1
    RECORD.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

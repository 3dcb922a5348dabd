"""Read `params.yaml`: plain YAML values, with the line of every setting for error messages.

More is refused here than YAML itself refuses, because the file may come from someone else, and because no mistake may
be silent:

- a key that is there twice, at any depth: YAML would use the last one;
- references (`&name`, `*name`) that unfold to very many values, or that contain themselves;
- anything that is not a regular file of at most 1 MiB in UTF-8.

A number such as `1e-3` is a number here. YAML 1.1 wants `1.0e-3`, and reads the shorter form as text.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.disk.regular import MIB, disk_fails, read_limited
from store.errors import UsageError

if TYPE_CHECKING:
    import yaml

PARAMS = Path("params.yaml")

LARGEST_FILE = MIB
MOST_VALUES = 100_000
"""Values and keys of a file with all references written out."""

SHORT_FLOAT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


@dataclass(frozen=True)
class ParamsFile:
    """The content of a `params.yaml`."""

    path: Path
    content: Mapping[Any, Any] | None
    """Sections by name; None if there is no file, or nothing in it."""
    lines: Mapping[tuple[Hashable, ...], int] = field(default_factory=dict)
    """The line of a section `(section,)` or a setting `(section, name)`; 1 is the first."""

    def place(self, *names: Hashable) -> str:
        """Return the file and, if it is known, the line of a section or a setting, for a message."""
        line = self.lines.get(names)
        return f"{self.path} line {line}" if line else str(self.path)


def read_params(path: Path = PARAMS) -> ParamsFile:
    """Read the file; it need not exist.

    Raises:
        UsageError: it cannot be read as sections of plain values. The message has the line, if there is one.
    """
    with _explained(path):
        try:
            text = read_limited(path, limit=LARGEST_FILE).decode("utf-8-sig")
        except FileNotFoundError:
            return ParamsFile(path, None)
        loader = _loader()(text)
        root = loader.get_single_node()
        if root is None:
            return ParamsFile(path, None)
        _refuse_unfolding(root, path)
        _refuse_repeated_keys(root, path, loader)
        content = loader.construct_document(root)
    if content is None:
        return ParamsFile(path, None)
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        raise UsageError(
            f"{path}: holds {kind}, not sections of settings. Write `train:`, and below it `  epochs: 40`, one a line."
        )
    return ParamsFile(path, content, _lines(root, loader))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file as YAML into ones that name the file, the line and the remedy.

    Raises:
        UsageError: in place of the error.
    """
    import yaml

    try:
        yield
    except UsageError:
        raise
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read as text. Save it as UTF-8.") from None
    except yaml.constructor.ConstructorError as error:
        raise UsageError(f"{path}{_line(error)}: cannot be read: {error.problem}. Write plain values only.") from None
    except yaml.MarkedYAMLError as error:
        raise UsageError(
            f"{path}{_line(error)}: cannot be read as YAML ({error.problem}). Correct this line or the one before it."
        ) from None
    except yaml.reader.ReaderError as error:
        raise UsageError(
            f"{path}: holds the control character {chr(error.character)!r}, which YAML does not allow. Remove it."
        ) from None
    except OSError as error:
        if disk_fails(error):
            raise
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Allow reading it, or move it away.") from None
    except ValueError as error:  # an impossible date, a number of thousands of digits
        raise UsageError(f"{path}: holds a value that cannot be read ({error}). Put it in quotes.") from None
    except RecursionError:
        raise UsageError(f"{path}: is nested too deep to be read. Write plain values only.") from None


def _loader() -> type[yaml.SafeLoader]:
    """Return the loader of plain values that also reads `1e-3` as a number."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Read plain values only."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", SHORT_FLOAT, list("-+0123456789"))
    return Loader


def _refuse_unfolding(root: yaml.Node, path: Path) -> None:
    """Count the values with all references written out, without writing them out.

    Raises:
        UsageError: there are too many, or a value contains itself.
    """
    counts: dict[int, int] = {}
    above: set[int] = set()

    def count(node: yaml.Node) -> int:
        if id(node) in above:
            raise UsageError(
                f"{path} line {node.start_mark.line + 1}: a value refers to itself. Write plain values only."
            )
        if id(node) not in counts:
            above.add(id(node))
            counts[id(node)] = 1 + sum(map(count, _children(node)))
            above.remove(id(node))
        return counts[id(node)]

    if count(root) > MOST_VALUES:
        raise UsageError(f"{path}: its references unfold to more than {MOST_VALUES} values. Write plain values only.")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node.value, list):
        return []
    return [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]


def _refuse_repeated_keys(root: yaml.Node, path: Path, loader: yaml.SafeLoader) -> None:
    """Raise an error if a mapping has a key twice, in whatever way it is written: `0x1` and `1` are the same.

    Raises:
        UsageError: the message names the key and its line.
    """
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        waiting += _children(node)
        keys: set[Hashable] = set()
        for entry in node.value if isinstance(node.value, list) else []:
            if not isinstance(entry, tuple) or not isinstance(entry[0].value, str) or entry[0].value == "<<":
                continue
            key = loader.construct_object(entry[0])
            if key in keys:
                line = entry[0].start_mark.line + 1
                raise UsageError(f"{path} line {line}: `{entry[0].value}` is there twice. Keep one of the two.")
            keys.add(key)


def _lines(root: yaml.Node, loader: yaml.SafeLoader) -> dict[tuple[Hashable, ...], int]:
    """Return the lines of the sections and of their settings."""
    lines: dict[tuple[Hashable, ...], int] = {}
    for section, value in root.value:
        name = loader.construct_object(section)
        lines[name,] = section.start_mark.line + 1
        for entry in value.value if isinstance(value.value, list) else []:
            if isinstance(entry, tuple):
                lines[name, loader.construct_object(entry[0])] = entry[0].start_mark.line + 1
    return lines


def _line(error: yaml.MarkedYAMLError) -> str:
    return f" line {error.problem_mark.line + 1}" if error.problem_mark else ""

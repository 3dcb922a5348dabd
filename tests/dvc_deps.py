"""Find the source files that `dvc.yaml` must depend on. `python -m tests.dvc_deps` writes them into the file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERBS = ("phantom", "extract", "train", "evaluate", "compare")
READS_SETTINGS = {"pipeline/params.py", "pipeline/params_file.py", "pipeline/values.py"}
"""Files of the command line that decide which settings a stage gets."""


def needed_files(verb: str) -> set[str]:
    """Return every source file whose change can change what a stage does, relative to the root.

    These are all files that `stages.VERB` imports, and those that read the settings. Files with only a docstring are
    left out.
    """
    return {file for file in closure(f"stages.{verb}") if not _is_only_a_docstring(file)} | READS_SETTINGS


def dependency(file: str) -> str:
    """Return the dependency that covers a file: its folder, or the file itself at the top of a package.

    `store/` also holds the arrays that a stage writes, so DVC cannot depend on that folder as a whole.
    """
    parts = file.split("/")
    return file if len(parts) < 3 else "/".join(parts[:2])  # package/folder/file


def _modules(file: Path) -> Iterator[str]:
    """Yield every module of this project that a file names in an import, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import, which this test does not follow"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.split(".")[0] in ("stages", "store", "pipeline"))


def _file(module: str) -> Path | None:
    """Return the source file of a module, or None for a name that is not a module, such as a class."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def closure(module: str) -> set[str]:
    """Return all files that importing a module can run, relative to the root, with packages' `__init__` files."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        package = name.rpartition(".")[0]
        waiting += [package] if package else []
        file = _file(name)
        if file is not None and str(file.relative_to(ROOT)) not in found:
            found.add(str(file.relative_to(ROOT)))
            waiting += _modules(file)
    return found


def _is_only_a_docstring(file: str) -> bool:
    return all(isinstance(node, ast.Expr) for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body)


def main() -> None:
    """Rewrite the dependencies on source files in `dvc.yaml`."""
    file = ROOT / "dvc.yaml"
    text = file.read_text(encoding="utf-8")
    for verb in VERBS:
        start = text.index(f"\n  {verb}:\n")
        end = text.index("    params:\n", start)
        data = re.sub(r"      - (pipeline|stages|store)/.*\n", "", text[start:end])
        code = "".join(f"      - {name}\n" for name in sorted({dependency(name) for name in needed_files(verb)}))
        text = text[:start] + data + code + text[end:]
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

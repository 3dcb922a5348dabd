"""Write the files that a repository of data needs to use the installed pipeline with DVC.

    dvc.yaml      the stages extract, train and evaluate; they depend on data, settings and the program's version
    params.yaml   the settings
    .gitignore    data and results, which DVC tracks in place of git

The templates are files beside this module. Their stages are those of this project's own `dvc.yaml`,
without the dependencies on source files; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from pipeline import __version__
from stages.outputs.places import require_outside
from store.errors import UsageError

TEMPLATES = Path(__file__).with_name("template")

FILES = ("dvc.yaml", "params.yaml", ".gitignore")

NEXT_STEPS = """\
Next, in {place}:
  1. git init && dvc init && git add . && git commit -m "New project"
     (dvc is in an extra: pip install "diamant-pipeline[dvc]")
  2. Put images into data/images and masks into data/masks, and track them: dvc add data/images data/masks
     No data yet? pipeline phantom --out data draws synthetic images with masks; then set extract.model to
     dino_phantom_tiny8, which needs no download.
  3. Set model and sizes in params.yaml.
  4. dvc repro
  5. Open reports/compare/report.html (does attention help?) and reports/dual/report.html (the model)"""
"""Advice for the user after the files were written, with a place for the folder's name."""


def next_steps(folder: Path) -> str:
    """Return what to do after `write_project(folder)`."""
    place = "this folder" if folder.resolve() == Path.cwd() else f"the folder {folder}"
    return NEXT_STEPS.format(place=place)


def write_project(folder: Path) -> None:
    """Write the files of a new project.

    Args:
        folder: made if it does not exist.

    Raises:
        UsageError: one of the files exists, the folder's path is a file, or it is or lies inside an output of this
            program. Nothing was written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file. Name a folder for the new project.")
    require_outside(folder, option="the folder", itself=True)
    existing = [name for name in FILES if (folder / name).exists() or (folder / name).is_symlink()]
    if existing:
        raise UsageError(
            f"{folder}: {', '.join(existing)} exist{'s' if len(existing) == 1 else ''} already; nothing was written.\n"
            "  Name an empty folder (`pipeline init FOLDER`), and copy from it what you need."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(template(name))


def template(name: str) -> str:
    """Return the text of one of `FILES` for this version of the program."""
    source = TEMPLATES / f"{name.removeprefix('.')}.template"
    return source.read_text(encoding="utf-8").replace("@VERSION@", __version__)

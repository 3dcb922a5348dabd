"""Take the screenshots of the documentation with Chromium: a report, one enlarged case of it, and a comparison."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image

from stages import compare, report
from stages.settings import CompareSettings, ReportSettings, TrainSettings
from tests.docs.demonstration import STEPS, Demonstration

SIZE, LARGER = {"width": 1200, "height": 860}, {"width": 1200, "height": 1040}
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def draw_screenshots(made: Demonstration, case: str, pictures: Path) -> list[Path]:
    """Make a report of the demonstration's run and take its screenshots.

    Args:
        made: the demonstration.
        case: id of the case that is shown enlarged.
        pictures: folder to write into.

    Returns:
        The files that were written: `report.png`, `report-case.png` with the case, and `compare.png`; none without
        Chromium and playwright.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        return []
    page, compared = _report(made), _comparison(made)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        view = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        view.goto(page.as_uri())
        view.wait_for_load_state("load")
        _save(view.screenshot(), pictures / "report.png")
        view.set_viewport_size(LARGER)
        view.get_by_label("Find").fill(case)
        view.locator(".card").first.click()
        view.locator("dialog .heads-list canvas").first.wait_for()
        view.get_by_role("button", name="Show all").click()
        view.locator("dialog .heads-list canvas").nth(len(made.heads) - 1).wait_for()
        _save(view.screenshot(), pictures / "report-case.png")
        view.set_viewport_size(SIZE)
        view.goto(compared.as_uri())
        view.wait_for_load_state("load")
        _save(view.screenshot(), pictures / "compare.png")
        browser.close()
    return [pictures / name for name in ("report.png", "report-case.png", "compare.png")]


def _report(made: Demonstration) -> Path:
    """Write the report of the run with its images at their own resolution."""
    data, out = made.folder / "data", made.folder / "report.html"
    settings = ReportSettings(
        store=made.folder / "s.zarr", out=out, images=data / "images", masks=data / "masks", device="cpu"
    )
    report.run([made.folder / "dual"], settings)
    return out


def _comparison(made: Demonstration) -> Path:
    """Compare both branches with the image alone, with few labels and three seeds, and return the page."""
    store, out = made.folder / "s.zarr", made.folder / "compare"
    settings = CompareSettings(
        store=store, out=out, labels=("16", "64"), steps=STEPS, images=made.folder / "data" / "images", device="cpu"
    )
    compare.run(compare.plan(settings, TrainSettings(store=store, batch_size=8, device="cpu")))
    return out / "report.html"


def _save(content: bytes, path: Path) -> None:
    """Write a screenshot as a smaller PNG of the same pixels."""
    Image.open(io.BytesIO(content)).convert("RGB").save(path, optimize=True)

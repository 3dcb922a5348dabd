"""Measure how long Chromium takes to open a report of 10,000 cases, 500 of them with pictures."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stages.reporting.page import render
from tests.benchmarks.measure import Measurement, Skipped
from tests.stages.reporting.made_page import made_cases, made_page

CASES = 10_000
PICTURES = 500
ROUNDS = 7


def measure() -> Iterator[Measurement]:
    """Yield the seconds until the page can be used, from a file, with the first paint as a detail.

    Raises:
        Skipped: there is no Chromium, or playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Skipped("playwright is not installed") from error
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise Skipped("no Chromium on this machine")
    drawn = [case.picture for case in made_cases(20, size=(320, 240))]
    listed = made_cases(CASES, pictures=0)
    cases = [replace(case, picture=drawn[at % 20]) for at, case in enumerate(listed[:PICTURES])] + listed[PICTURES:]
    with tempfile.TemporaryDirectory() as name, sync_playwright() as play:
        file = Path(name) / "report.html"
        file.write_text(render(made_page(cases)), encoding="utf-8")
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened, painted = [], []
        for _ in range(ROUNDS):
            page = browser.new_page()
            page.goto(file.as_uri())
            entry = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
            opened.append(page.evaluate(entry) / 1000)
            painted.append(page.evaluate("performance.getEntriesByType('paint')[0].startTime") / 1000)
            page.close()
        browser.close()
        size = file.stat().st_size / 1e6
    yield Measurement(
        name="report: open 10,000 cases",
        ratio=statistics.median(opened),
        target=1.0,
        at_most=True,
        claim="seconds until the page can be used",
        details={"first paint": statistics.median(painted), "megabytes": size},
    )

"""Open pages of the report in headless Chromium, and record all that must not happen there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stages.reporting.content import Page
from stages.reporting.page import render


@dataclass
class Seen:
    """Hold what a page did: messages of the console, errors of scripts, and addresses it asked for."""

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Give a function that renders a page, opens the file, and returns the browser's page.

    At the end every opened page must have been silent: no message in the console, no error, no violation of the
    content-security policy, no request but for the file itself and for data: and blob: URIs.
    """
    contexts = []
    pages: list[tuple[str, Seen]] = []

    def open_page(content: Page, **options: Any) -> Any:
        file = tmp_path / f"report-{len(contexts)}.html"
        file.write_text(render(content), encoding="utf-8", newline="\n")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        seen = Seen()
        pages.append((file.as_uri(), seen))
        page.on("console", lambda message: seen.messages.append(message.text))
        page.on("pageerror", lambda error: seen.messages.append(str(error)))
        page.on("dialog", lambda dialog: (seen.messages.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => console.log('violation', e.violatedDirective))"
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    for address, seen in pages:
        # The readback is the tests' own: they look at pixels of canvases.
        assert not [message for message in seen.messages if not message.startswith("Canvas2D: Multiple readback")]
        assert address in seen.requests
        assert not [
            url for url in seen.requests if url.partition("#")[0] != address and not url.startswith(("data:", "blob:"))
        ]

"""Open the viewer's page in headless Chromium, and record all that must not happen there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stages.viewing.server import ViewerServer
from tests.stages.viewing.viewed_store import serving, write_samples

FAILED = "Failed to load resource"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewerServer]:
    """Serve one store to all tests, which must not change it."""
    with serving(write_samples(tmp_path_factory.mktemp("stores") / "cases.zarr")) as running:
        yield running


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a server's page. At the end no page may have shown an error or asked elsewhere.

    A browser notes answers with an error status in the console by itself; a page that is opened with `failing` may
    have such notes.
    """
    contexts: list[Any] = []
    messages: list[str] = []
    requests: list[tuple[str, str]] = []

    def open_page(server: ViewerServer, position: int | None = 0, *, failing: bool = False, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()

        def note(text: str) -> None:
            if not (failing and FAILED in text):
                messages.append(text)

        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        page.on("dialog", lambda dialog: (note(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append((server.url, request.url)))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => console.log('violation', e.violatedDirective))"
        )
        page.goto(server.url if position is None else f"{server.url}#{position}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not messages
    assert requests
    assert not [url for base, url in requests if not url.startswith((base, "data:", "blob:"))]

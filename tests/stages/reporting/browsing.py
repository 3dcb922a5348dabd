"""Read and press what the report's page shows in a browser."""

from typing import Any


def ids(page: Any) -> list[str]:
    """Return the ids of the cards or rows, in the order shown."""
    return page.locator(".card-id, tbody .link").all_inner_texts()


def first_card(page: Any) -> Any:
    return page.locator(".card").first


def enlarge(page: Any, number: int = 0) -> Any:
    """Enlarge a case and wait until its heads are drawn."""
    page.locator(".card").nth(number).click()
    page.locator(".heads-list canvas").first.wait_for()
    return page.locator("dialog")


def pixel(page: Any, selector: str, x: float, y: float) -> list[int]:
    """Return red, green, blue and alpha of a canvas at a position given as shares of its size."""
    return page.locator(selector).first.evaluate(
        "(c, [x, y]) => [...c.getContext('2d').getImageData(c.width * x, c.height * y, 1, 1).data]", [x, y]
    )

"""What a person does on any page of the UI."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def go(page: "Page", path: str) -> None:
    """To a page of the UI."""
    page.goto(f"{page.evaluate('location.origin')}{path}")


def press(page: "Page", button: str) -> None:
    """Presses the button of this name."""
    page.get_by_role("button", name=button, exact=True).click()

"""The parts of pages in a real browser: nothing complains, nobody is kept out, nothing is wider than its window."""

from typing import TYPE_CHECKING

import pytest

from support.browser import LAPTOP, PHONE, Chromium, View, barriers, overflows
from support.styleguide import ADDRESS, UI, guide, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = {
    "laptop": LAPTOP,
    "laptop-dark": View(scheme="dark"),
    "phone": PHONE,
    "phone-dark": View(390, 844, "dark"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_style_guide_keeps_nobody_out_and_fits_its_window(chromium: Chromium, name: str) -> None:
    def story(page: "Page") -> tuple[list[str], int]:
        serve(page, guide())
        page.goto(ADDRESS)
        page.wait_for_load_state("networkidle")
        chromium.shoot(page, f"guide-{name}")
        return barriers(page), overflows(page)

    assert chromium.run(story, VIEWS[name]) == ([], 0)


def test_a_command_is_copied_a_dialog_opens_and_closes_and_the_menu_of_a_phone_does(chromium: Chromium) -> None:
    def story(page: "Page") -> str:
        serve(page, guide())
        page.goto(ADDRESS)
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        page.get_by_role("button", name="Stop training").click()
        page.get_by_role("dialog").get_by_role("button", name="Keep training").click()
        page.get_by_role("dialog").wait_for(state="hidden")
        link = page.get_by_role("link", name="Ledger")
        assert not link.is_visible()
        page.get_by_role("button", name="Menu").click()
        link.wait_for()
        page.keyboard.press("Escape")
        link.wait_for(state="hidden")
        copied: str = page.evaluate("navigator.clipboard.readText()")
        return copied

    copied = chromium.run(story, PHONE, permissions=["clipboard-read", "clipboard-write"])
    assert copied.startswith("swarm task run train-fraud")


def test_the_style_sheet_is_small_and_asks_for_nothing_elsewhere() -> None:
    sheet = (UI / "static/swarm.css").read_text("utf-8")
    assert len(sheet.encode()) < 30_000
    assert "http" not in sheet
    assert "@import" not in sheet

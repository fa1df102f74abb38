"""The whole set-up in a real browser, from the link that the UI prints to a network that runs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import LAPTOP, PHONE, Chromium, View, barriers, overflows
from support.processes import Processes
from support.setups import PASSPHRASE, free_ports, nodes_below
from support.ui import ADMIN, PASSWORD, Ui, first_link, start_ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

WALK = ("welcome", "organisation", "hosts", "network", "review", "install", "summary")


VIEWS = {"phone-dark": View(*PHONE[:2], "dark", "de-DE"), "laptop-dark": View(*LAPTOP[:2], "dark", "de-DE")}


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[Ui]:
    unset = {"SLM_UI_ADMIN_USER": "", "SLM_UI_ADMIN_PASSWORD": ""}
    with Processes(tmp_path) as processes, nodes_below(tmp_path / "ui-nodes"):
        yield start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http", environment=unset)


class Walk:
    """Somebody who goes through the set-up; `found`: what keeps people out on the way."""

    def __init__(self, chromium: Chromium, page: "Page") -> None:
        self._chromium, self.page = chromium, page
        self.found = list[str]()

    def look(self, name: str) -> None:
        """At the page as it is now."""
        self._chromium.shoot(self.page, f"setup-{name}")
        self.found += [f"{name}: {each}" for each in barriers(self.page)]
        self.found += [f"{name}: {wide} px wider than the window"] if (wide := overflows(self.page)) else []

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def fill(self, **fields: str) -> None:
        """Fields by the first words of their labels."""
        for label, text in fields.items():
            self.page.get_by_label(label.replace("_", " ")).fill(text)

    def begin(self, link: str) -> None:
        """The first account, and the organisation."""
        self.page.goto(link)
        self.fill(User_name=ADMIN, Password_once_more=PASSWORD)
        self.page.get_by_label("Password (at least").fill(PASSWORD)
        self.look("0-first")
        self.press("Create account")
        self.page.get_by_text("Free disk space").wait_for()  # this machine was looked at
        self.look("1-welcome")
        self.press("Set up a new network")
        self.fill(Name_of_the_organisation="north", Passphrase_of_the_authority=PASSPHRASE)
        self.fill(Passphrase_once_more=PASSPHRASE)
        self.look("2-organisation")
        self.press("Make the authority")

    def decide(self, ports: dict[str, str]) -> None:
        """The host, and the network."""
        self.page.get_by_label("Folder of the nodes").wait_for()
        self.look("3-hosts")
        self.press("Next")
        self.fill(Name_of_the_network="our network", Sites_on="0")
        self.page.get_by_text("Ports", exact=True).click()
        self.fill(API=ports["api"], P2P=ports["p2p"], Port_for_newcomers=ports["join"], File_server=ports["fs"])
        self.look("4-network")
        self.press("Next")
        self.page.get_by_role("rowheader", name="SN-north").wait_for()
        self.look("5-review")

    def install(self) -> None:
        """And look at what has come of it; the page follows the job by itself."""
        self.fill(Passphrase_of_the_authority=PASSPHRASE)
        self.press("Install and start")
        self.page.get_by_role("link", name="Next").wait_for()
        self.look("6-install")
        self.page.get_by_role("link", name="Next").click()
        self.page.get_by_text("The network runs").wait_for()
        self.page.locator("#states").get_by_text("running").wait_for()
        self.look("7-summary")


def walked(chromium: Chromium, ui: Ui, page: "Page") -> list[str]:
    """From the link to a network that runs, and back to a step that is done."""
    walk = Walk(chromium, page)
    walk.begin(first_link(ui))
    walk.decide(free_ports())
    walk.install()
    page.get_by_role("link", name="Organisation", exact=True).click()
    page.get_by_text("north has its authority").wait_for()
    walk.look("8-organisation-made")
    page.goto(ui.address)
    page.get_by_text("our network").first.wait_for()
    return walk.found


def seen(chromium: Chromium, ui: Ui, name: str, page: "Page") -> list[str]:
    """Each step once more, in German: what keeps people out."""
    page.goto(f"{ui.address}login")
    page.get_by_label("Benutzername").fill(ADMIN)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    page.get_by_role("button", name="Abmelden").wait_for()
    walk = Walk(chromium, page)
    for step in WALK:
        page.goto(f"{ui.address}setup/{step}")
        page.locator(".steps [aria-current]").wait_for(state="attached")
        walk.look(f"{name}-{step}")
    return walk.found


def test_from_the_link_to_a_network_that_runs(chromium: Chromium, ui: Ui) -> None:
    assert chromium.run(partial(walked, chromium, ui), LAPTOP) == []
    for name, view in VIEWS.items():
        assert chromium.run(partial(seen, chromium, ui, name), view) == []

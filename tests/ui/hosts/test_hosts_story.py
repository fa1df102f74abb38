"""Somebody in a browser gets the product on a host, and a node to run there, and clears everything away again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import LAPTOP, Chromium, View, barriers, overflows
from support.bundles import make_bundle
from support.processes import Processes
from support.sshd import USER, SshHost
from support.tools import needs
from support.ui import ADMIN, PASSWORD, Ui, start_ui
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import NodeSpec
from swarmlearning.ui.hosts.running import place
from swarmlearning.ui.hosts.ssh import connected, look

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs("sshd"), needs("chromium")]

JOB_MS = 200_000
"""For an installation on a machine under heavy load."""
DARK_PHONE = View(390, 844, "dark")
NODES = [NodeSpec(name="SN-1", flags=("sentinel",)), NodeSpec(name="SL-west")]


@pytest.fixture
def ui(tmp_path: Path, pip: Path) -> Iterator[Ui]:
    bundle = make_bundle(tmp_path / "bundle", "0.1.0", pip)
    with Processes(tmp_path) as processes:
        key = {"SLM_UI_SECRETS_KEY": "a key that is long enough"}
        yield start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http", environment=key, bundle=bundle)


class Hand:
    """What a person does on the pages; notes what of them keeps people out, or is too wide."""

    def __init__(self, page: "Page", ui: Ui, chromium: Chromium) -> None:
        self.page, self.found = page, list[str]()
        self._chromium = chromium
        self._at = ui.address.rstrip("/")
        page.goto(self._at)
        page.get_by_label("User name").fill(ADMIN)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview", exact=True).wait_for()

    def open(self, path: str, name: str = "") -> None:
        self.page.goto(self._at + path)
        if name:
            self.judge(name)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def job(self, name: str = "") -> None:
        """Waits for the end of the job whose page this is, and goes on."""
        go_on = self.page.get_by_role("link", name="Continue")
        go_on.wait_for(timeout=JOB_MS)
        self.page.locator("#how").get_by_text("done", exact=True).wait_for()
        if name:
            self.judge(name)
        go_on.click()

    def judge(self, name: str) -> None:
        self._chromium.shoot(self.page, name)
        self.found += [f"{name}: {each}" for each in barriers(self.page)]
        if wide := overflows(self.page):
            self.found.append(f"{name}: {wide} pixels too wide")


async def put_nodes(host: SshHost) -> None:
    """As a project deploys them."""
    keys, layout = MemoryHostKeys(), Layout(host.prefix)
    await keys.pin(host.address, await look(host.address))
    async with connected(host.address, host.login, keys) as machine:
        for each in NODES:
            await place(machine, layout, each.runs(layout))


def installs(hand: Hand, host: SshHost) -> list[str]:
    """From an address to the product on the host, by a login that is kept."""
    page, at = hand.page, str(host.address)
    hand.open("/hosts", "hosts-none")
    page.get_by_label("Addresses").fill(at)
    page.locator("#add-user").fill(USER)
    page.get_by_label("Folder of the product").fill(host.prefix)
    hand.press("Add hosts")
    hand.job()
    page.get_by_label(f"The fingerprint of {at} is right").check()
    page.get_by_text("Private key instead of a password").click()
    page.get_by_label("Or paste the key").fill(host.login.key.reveal())
    page.get_by_label("Keep this login, encrypted").check()
    hand.judge("hosts-keys")
    hand.press("Confirm the selected keys")
    hand.job()
    page.get_by_text("a login is kept here, encrypted").wait_for()
    hand.judge("hosts-host")
    hand.press("Install or upgrade to 0.1.0")
    hand.job("hosts-installed")
    page.locator("#product").get_by_text("0.1.0").wait_for()
    return hand.found


def uses(hand: Hand, host: SshHost) -> list[str]:
    """Nodes are started and stopped, and everything is removed."""
    page, at = hand.page, str(host.address)
    hand.open("/hosts")
    page.get_by_label(f"Select {at}").check()
    hand.press("Look at hosts")
    hand.job()
    hand.open("/hosts")
    page.locator("[data-ticks=node]").check()
    hand.judge("hosts")
    hand.press("Start nodes")
    hand.job("hosts-job")
    page.locator("#nodes").get_by_text("running").nth(1).wait_for()
    page.get_by_label("Output of SL-west").click()
    page.get_by_text("0.1.0 as sl").wait_for()
    hand.judge("hosts-output")
    hand.open(f"/hosts/{at}")
    for each in NODES:
        page.get_by_label(f"Select {each.name}").check()
    hand.press("Stop nodes")
    hand.job()
    page.locator("#nodes").get_by_text("stopped").nth(1).wait_for()
    page.get_by_text("Uninstall", exact=True).click()
    page.get_by_label("Also what nodes keep: data, models and keys").check()
    page.get_by_label(f"Type {at} to confirm that data is removed").fill(at)
    hand.judge("hosts-uninstall")
    hand.press("Uninstall the product")
    hand.job()
    page.locator("#product").get_by_text("not installed").wait_for()
    hand.open("/jobs", "jobs")
    return hand.found


def test_a_host_is_added_checked_used_and_cleared(host: SshHost, ui: Ui, chromium: Chromium) -> None:
    assert chromium.run(lambda page: installs(Hand(page, ui, chromium), host), LAPTOP) == []
    asyncio.run(put_nodes(host))
    assert chromium.run(lambda page: uses(Hand(page, ui, chromium), host), DARK_PHONE) == []
    assert not Path(host.prefix).exists()

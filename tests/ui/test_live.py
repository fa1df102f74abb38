"""The web interface beside a swarm of real processes: what it shows, and what follows when an SN is gone."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import LAPTOP, Chromium, View, barriers, overflows
from support.certs import make_workspace
from support.ports import fixed_port
from support.processes import Process, Processes
from support.swarm import Swarm
from support.ui import ADMIN, PASSWORD, Person, Ui, start_ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "<script>alert(1)</script> & co"
"""Of the network: it is shown on every page."""


class Stage:
    """A network of one SN, its two sites after a training, and a UI."""

    def __init__(self, swarm: Swarm, ui: Ui) -> None:
        self.swarm = swarm
        self.ui = ui


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    with Processes(folder) as processes:
        identities = make_workspace(folder / "cert", ["SN-1", "SL-1", "SL-2", "UI-1", "OBSERVER-1"])
        swarm = Swarm(processes, folder, identities, NAME)
        swarm.name = "stage"
        swarm.start_sn(port=fixed_port(), network_name=NAME)
        ui = start_ui(processes, folder / "ui", identities["UI-1"], swarm.address)
        for site in swarm.start_sites("--rounds", "2", "--min-peers", "2", count=2):
            assert site.wait() == 0, site.output
        yield Stage(swarm, ui)


def news(person: Person, topics: str, until: Callable[[list[str]], bool], begin: Callable[[], object]) -> None:
    """Listens to the stream of news until there are such of what begins once it listens."""
    with person.stream("GET", f"/events?topics={topics}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        begin()
        for line in answer.iter_lines():
            if line.startswith("data: ") and until(json.loads(line.removeprefix("data: "))):
                return
    raise AssertionError("the stream has ended")


def test_the_overview_shows_the_swarm_as_it_is(stage: Stage) -> None:
    with stage.ui.admin() as person:
        data = person.until("/overview.json", lambda it: bool(it["network"]) and bool(it["trainings"]) and it["nodes"])
        assert data["network"]["name"] == NAME
        assert (data["nodes"][0]["kind"], data["nodes"][0]["state"]) == ("SN", "alive")
        assert data["trainings"][0]["rounds"] >= 2
        assert data["survives"][0]["text"] == "rounds stop while the only SN is down"
        page = person.page("/").text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page


def test_the_ledger_is_listed_searched_and_shown_block_by_block(stage: Stage) -> None:
    with stage.ui.admin() as person:
        known = person.until("/ledger.json", lambda it: any(row["kind"] == "Publish" for row in it["rows"]))
        newest = known["rows"][0]
        assert newest["height"] == known["height"]
        found = person.data("/ledger.json?search=publish")["rows"]
        assert {row["kind"] for row in found} == {"Publish"}
        block = person.data(f"/ledger/{found[0]['height']}.json")
        (receipt,) = block["receipts"]
        assert [part["weight"] for part in receipt["parts"]] == [0.5, 0.5]
        assert block["hash"] == found[0]["hash"]
        assert person.data(f"/ledger.json?search={block['hash'][:10]}")["found"] == block["height"]
        assert person.data("/ledger.json?search=no%25such_word")["rows"] == []
        genesis = person.data("/ledger.json?below=1")
        assert [row["kind"] for row in genesis["rows"]] == ["Genesis"]
        assert genesis["older"] is None
        assert person.page(f"/ledger/{block['height']}").status_code == 200
        assert person.get("/ledger/999999.json").status_code == 404


def test_the_whole_chain_is_verified_when_somebody_asks(stage: Stage) -> None:
    with stage.ui.admin() as person:
        assert person.act("/ledger/verify").status_code == 303
        data = person.until("/ledger.json", lambda it: it["verification"]["state"] not in ("never", "running"), "jobs")
        assert (data["verification"]["state"], data["verification"]["voids"]) == ("holds", 0)
        assert data["verification"]["height"] >= 2


def test_a_stream_of_news_tells_of_blocks_and_ends_with_the_session(stage: Stage) -> None:
    with stage.ui.admin() as person:
        started: list[Process] = []
        news(person, "nodes,tasks", lambda topics: topics == ["nodes"], lambda: started.append(stage.swarm.start_sl(1)))
        (site,) = started
        assert site.ready
        site.stop()
        with stage.ui.somebody() as stranger:
            assert stranger.get("/events").status_code == 303


def test_an_observers_ui_shows_all_and_says_that_it_cannot_act(stage: Stage, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        ui = start_ui(processes, tmp_path / "ui", stage.swarm.identities["OBSERVER-1"], stage.swarm.address)
        with ui.admin() as person:
            person.until("/overview.json", lambda it: bool(it["network"]))
            page = person.page("/").text
            assert "observer&#39;s certificate" in page


def test_a_ui_goes_on_when_its_sn_is_gone_and_when_it_was_killed_itself(stage: Stage) -> None:
    swarm, ui = stage.swarm, stage.ui
    port = swarm.port
    with ui.admin() as person:
        before = person.until("/overview.json", lambda it: bool(it["network"]))
        swarm.sn.kill()
        cut_off = person.until("/overview.json", lambda it: bool(it["outage"]))
        assert cut_off["network"]["height"] >= before["network"]["height"]
        assert "No SN answers" in person.page("/").text
        assert person.page("/ledger").status_code == 200
        block = person.get(f"/ledger/{before['network']['height']}.json")
        assert block.status_code in (200, 503)
        cookies = person.cookies
        ui.process.kill()
    again = start_ui(swarm.processes, swarm.directory / "ui", swarm.identities["UI-1"], swarm.address)
    with again.somebody() as person:
        person.cookies = cookies
        assert person.page("/").status_code == 200
        swarm.start_sn(port=port)
        data = person.until("/overview.json", lambda it: bool(it["network"]) and not it["trouble"] and not it["outage"])
        assert data["network"]["height"] >= before["network"]["height"]
    stage.ui = again


def view_name(page: "Page") -> str:
    return "laptop" if page.viewport_size and page.viewport_size["width"] > 720 else "phone-dark"


def test_a_browser_signs_in_and_sees_what_changes(stage: Stage, chromium: Chromium) -> None:
    def story(page: "Page", *, first: bool = False) -> tuple[list[str], list[int]]:
        page.goto(stage.ui.address)
        page.get_by_label("User name").fill(ADMIN)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview", exact=True).wait_for()
        found, wide = [], []
        if first:
            assert stage.swarm.start_sl(2).ready
        page.locator("#nodes").get_by_text("site-2").first.wait_for()
        for path in ("/", "/ledger", "/ledger/0", "/settings", "/account"):
            page.goto(stage.ui.address.rstrip("/") + path)
            chromium.shoot(page, f"frame-{path.strip('/').replace('/', '-') or 'overview'}-{view_name(page)}")
            found += [f"{path}: {each}" for each in barriers(page)]
            wide.append(overflows(page))
        return found, wide

    assert chromium.run(partial(story, first=True), LAPTOP, ignore_https_errors=True) == ([], [0] * 5)
    assert chromium.run(story, View(390, 844, "dark"), ignore_https_errors=True) == ([], [0] * 5)

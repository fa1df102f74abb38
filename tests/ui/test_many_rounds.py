"""64 sites and 1,000 rounds: pages, data and what a browser makes of them stay small, and follow what changes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from support.browser import LAPTOP, PHONE, Chromium, View, overflows
from support.manyrounds import ROUNDS, RUN, SITES, LongTraining
from support.network import CONTRACT
from support.tools import needs
from support.uiserver import ServedUi, served_ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

KB = 1000


@pytest.fixture(scope="module")
def training() -> LongTraining:
    return LongTraining()


@pytest.fixture(scope="module")
def ui(training: LongTraining, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedUi]:
    with served_ui(tmp_path_factory.mktemp("ui") / "ui", training.ledger, training.recorder) as served:
        yield served


@pytest.mark.parametrize(
    ("path", "most_kb"),
    [
        ("/", 200),
        ("/training", 20),
        (f"/training/{CONTRACT}", 80),
        ("/experiments", 20),
        (f"/experiments/{RUN}", 120),
        (f"/experiments/compare?run={RUN}", 60),
        (f"/experiments/matrix?run={RUN}", 80),
        (f"/experiments/curves?run={RUN}", 400),
    ],
)
def test_what_is_sent_is_bounded(ui: ServedUi, path: str, most_kb: int) -> None:
    cookies = {each["name"]: each["value"] for each in ui.cookies()}
    answer = httpx.get(f"{ui.address}{path}", cookies=cookies, timeout=150)
    assert answer.status_code == 200
    assert len(answer.content) < most_kb * KB


COUNTED = """() => ({
  elements: document.querySelectorAll("*").length,
  pixels: [...document.querySelectorAll("canvas")].reduce((sum, each) => sum + each.width * each.height, 0),
})"""


@needs("chromium")
@pytest.mark.parametrize("view", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("path", [f"/training/{CONTRACT}", f"/experiments/{RUN}"])
def test_a_browser_holds_few_elements_and_pixels_of_them(
    ui: ServedUi, chromium: Chromium, path: str, view: View
) -> None:
    def story(page: "Page") -> tuple[dict[str, int], int]:
        page.context.add_cookies(ui.cookies())
        page.goto(f"{ui.address}{path}")
        page.get_by_text(f"{SITES} sites, {ROUNDS} rounds").wait_for()
        page.locator("#curves-card").get_by_role("button", name="klinikum-1", exact=True).wait_for()
        chromium.shoot(page, f"long-{path.split('/')[1]}-{view.width}")
        counted: dict[str, int] = page.evaluate(COUNTED)
        return counted, overflows(page)

    counted, wide = chromium.run(story, view)
    assert counted["elements"] < 3000
    assert counted["pixels"] < 6 * view.width * view.height
    assert wide == 0


@needs("chromium")
def test_an_open_page_follows_a_round_in_progress(ui: ServedUi, training: LongTraining, chromium: Chromium) -> None:
    def story(page: "Page") -> None:
        page.context.add_cookies(ui.cookies())
        with page.expect_response(lambda answer: "/events" in answer.url):
            page.goto(f"{ui.address}/training/{CONTRACT}")
        waiting = page.locator("#sites").get_by_text("model is in")
        assert waiting.count() == 0
        training.submit("klinikum-7")
        ui.tell("training")
        waiting.first.wait_for()

    chromium.run(story)

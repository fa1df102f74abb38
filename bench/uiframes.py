"""Frames of the pages of a long training, as the UI serves them, while somebody scrolls them and points at charts.

A frame lasts until the browser asks for the next one: scripts, layout and painting are in it. Nothing can be below the
floor, the frames of the same page while nothing moves: the browser draws 60 a second at most.
"""

from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from playwright.async_api import Browser, Page

from support.manyrounds import ROUNDS, RUN, SITES, LongTraining
from support.network import CONTRACT
from support.uids import accept_names
from support.uiserver import served_ui

FRAMES: Final = 60
PAGES: Final = (f"/training/{CONTRACT}", f"/experiments/{RUN}")
LENGTHS: Final = """async ([kind, frames]) => {
  const next = () => new Promise((drawn) => requestAnimationFrame(drawn));
  const matrix = document.querySelector("swarm-matrix"), lines = document.querySelector("swarm-lines .over");
  const point = (canvas, share) => {
    const box = canvas.getBoundingClientRect();
    const at = { clientX: box.x + box.width * (0.2 + 0.75 * share), clientY: box.y + box.height * (0.2 + 0.6 * share) };
    canvas.dispatchEvent(new PointerEvent("pointermove", { ...at, bubbles: true }));
  };
  const acts = {
    still: () => {},
    page: (share) => scrollTo(0, share * document.documentElement.scrollHeight),
    matrix: (share) => { matrix.view.scrollLeft = share * matrix.view.scrollWidth; },
    cell: (share) => point(matrix.canvas, share),
    curve: (share) => point(lines, share),
  };
  const found = [];
  let before = await next();
  for (let frame = 0; frame < frames; frame++) {
    acts[kind](frame / frames);
    const now = await next();
    found.push(now - before);
    before = now;
  }
  return found;
}"""
"""What moves: nothing, the page, the matrix below it, a pointer over the matrix's cells, one over the curves."""


class Long(msgspec.Struct, frozen=True):
    """Medians in milliseconds, of the slower page: a frame while it is scrolled, and while charts are pointed at.
    `kb`: all that its first call transfers, of which `elements` are made."""

    scroll_ms: float
    point_ms: float
    floor_ms: float
    kb: float
    elements: int


async def long_training(folder: Path, browser: Browser) -> Long:
    """Serves the pages of 64 sites and 1,000 rounds, and looks at them."""
    accept_names()
    training = LongTraining()
    with served_ui(folder / "long", training.ledger, training.recorder) as served:
        context = await browser.new_context()
        await context.add_cookies(served.cookies())
        page = await context.new_page()
        found = [await _looked_at(page, served.address + path) for path in PAGES]
        await context.close()
    return Long(*(max(each) for each in zip(*map(msgspec.structs.astuple, found), strict=True)))


async def _looked_at(page: Page, address: str) -> Long:
    await page.goto(address, wait_until="load")
    await page.get_by_text(f"{SITES} sites, {ROUNDS} rounds").wait_for()
    await page.locator("swarm-lines .over").first.wait_for()
    kb = await page.evaluate("performance.getEntries().reduce((sum, each) => sum + (each.transferSize || 0), 0)") / 1000
    elements = await page.evaluate("document.querySelectorAll('*').length")
    lasted = {kind: median(await page.evaluate(LENGTHS, [kind, FRAMES])) for kind in _KINDS}
    scroll, point = max(lasted["page"], lasted["matrix"]), max(lasted["cell"], lasted["curve"])
    return Long(scroll, point, lasted["still"], kb, elements)


_KINDS: Final = ("still", "page", "matrix", "cell", "curve")

"""How fast SLM-UI is for somebody who looks at it, and what it takes: Debian's Chromium, one SN, and `swarm ui` on TLS.

`first_paint_ms`: from the call of the overview until something of it is seen, in a browser that has nothing of it yet;
`first_paint_warm_ms`: the same when it has its files. `update_delay_ms`: from the moment before an operator sends a
transaction until an open page shows what it has changed. `page_kb`: all that the first call transfers.
`server_rss_mb`: of the UI's process after all that. `frame_ms_64x1000`: drawing the participation of 64 sites in 1,000
rounds anew while it is scrolled, at the worst of its sizes. The floors are the same browser's with a page that has
one line, and with a canvas of the same size that is merely filled. All are medians.

`scroll_frame_ms`, `point_frame_ms`, `long_page_kb`, `long_page_elements`: of the served pages of such a training; see
`uiframes.py`.
"""

import argparse
import asyncio
import os
import shutil
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import msgspec
from playwright.async_api import Browser, BrowserContext, StorageState, async_playwright

from launch import HOST, SWARM, Linked, hear, make_identities, start, start_node
from machine import MEGABYTE, resident_bytes, run_benchmark
from support.browser import FLAGS
from support.styleguide import POLICY, chart, chart_page, participation
from swarmlearning.address import split
from swarmlearning.identity.source import Latest
from swarmlearning.identity.workspace import Workspace
from swarmlearning.operator.contracts import create_shared
from swarmlearning.operator.session import Operator, acting
from swarmlearning.supervise.processes import Processes, RunError
from uiframes import long_training

SECONDS: Final = 120.0
ADMIN: Final = {"SLM_UI_ADMIN_USER": "bench", "SLM_UI_ADMIN_PASSWORD": "a benchmark has no secrets"}
SITES, ROUNDS = 64, 1000
FIRST_PAINT: Final = """() => new Promise((found) => {
  new PerformanceObserver((list) => found(list.getEntries()[0].startTime)).observe({ type: "paint", buffered: true });
})"""
TRANSFERRED: Final = """() => performance.getEntries().reduce((sum, each) => sum + (each.transferSize || 0), 0)"""
FRAMES: Final = """(zoom) => {
  const matrix = document.querySelector("swarm-matrix"), drawn = [], floor = [];
  const context = matrix.canvas.getContext("2d");
  const timed = (times, draw) => {
    const begun = performance.now();
    draw();
    context.getImageData(0, 0, 1, 1); // until it is drawn, not only recorded
    times.push(performance.now() - begun);
  };
  [matrix.whole, matrix.size] = zoom === null ? [true, 3] : [false, zoom];
  for (let frame = 0; frame < 30; frame++) {
    matrix.view.scrollLeft = frame * 41;
    timed(drawn, () => matrix.draw());
    timed(floor, () => context.fillRect(0, 0, matrix.canvas.width, matrix.canvas.height));
  }
  return [drawn, floor];
}"""
ZOOMS: Final = (None, 0, 2, 3)
"""Of the matrix: all rounds at once, and its sizes with the smallest cells, the smallest shapes and the usual one."""


class Outcome(msgspec.Struct, frozen=True):
    """The line that `--json` prints."""

    first_paint_ms: float
    first_paint_warm_ms: float
    floor_paint_ms: float
    update_delay_ms: float
    page_kb: float
    server_rss_mb: float
    frame_ms_64x1000: float
    floor_frame_ms: float
    scroll_frame_ms: float
    point_frame_ms: float
    floor_page_frame_ms: float
    long_page_kb: float
    long_page_elements: int


async def measure(folder: Path, repeats: int) -> Outcome:
    """Returns what was measured. Raises `RunError`, alone or in a group."""
    if (program := shutil.which("chromium")) is None:
        raise RunError("chromium is missing: apt-get install chromium")
    workspace = make_identities(folder / "cert", ["SN-1", "UI-1", "SWCI-1"])
    async with Processes(folder, {**os.environ, **ADMIN}) as processes, async_playwright() as playwright:
        options = ["sn", "--sentinel", "--ordering", "local", "--sn-api-port", "0"]
        sn = msgspec.json.decode(
            await hear(processes, await start_node(processes, folder, workspace, "SN-1", options)), type=dict[str, str]
        )["api"]
        ui = await start_ui(processes, folder, workspace, sn)
        address = msgspec.json.decode(await hear(processes, ui), type=dict[str, str])["ui"]
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        async with asyncio.timeout(SECONDS * repeats):
            state = await signed_in(browser, address)
            cold, warm, size = await paints(browser, state, address, repeats)
            floor = [await floor_paint(browser, address) for _ in range(repeats)]
            source = Latest(workspace.identity("SWCI-1"))
            async with acting(sn, source, folder / "operator", lasting=True) as operator:
                delays = await updates(browser, state, address, operator, repeats)
            frame, floor_frame = await frames(browser, state, address)
            memory = resident_bytes(ui.child.pid) / MEGABYTE
            long = await long_training(folder, browser)
        await browser.close()
    milliseconds = [median(cold), median(warm), median(floor), median(delays)]
    of_long = msgspec.structs.astuple(long)
    return Outcome(*(round(each, 1) for each in (*milliseconds, size / 1000, memory, frame, floor_frame, *of_long)))


async def start_ui(processes: Processes, folder: Path, workspace: Workspace, sn: str) -> Linked:
    """`swarm ui`, which reads from this SN."""
    host, port = split(sn)
    identity = ["--capath", workspace.capath, "--cert", workspace.certificate("UI-1"), "--key", workspace.key("UI-1")]
    where = ["--sn-ip", host, "--sn-api-port", port, "--host", HOST, "--port", 0, "--data-dir", folder / "ui"]
    return await start(processes, "ui", [*SWARM, "ui", *map(str, [*identity, *where])], "--ready-fd")


async def signed_in(browser: Browser, address: str) -> StorageState:
    """The cookies of somebody who has signed in."""
    context = await visitor(browser)
    page = await context.new_page()
    await page.goto(address)
    await page.locator("input[name=name]").fill(ADMIN["SLM_UI_ADMIN_USER"])
    await page.locator("input[name=password]").fill(ADMIN["SLM_UI_ADMIN_PASSWORD"])
    await page.locator("main button").click()
    await page.locator("nav").first.wait_for()
    state = await context.storage_state()
    await context.close()
    return state


async def visitor(browser: Browser, state: StorageState | None = None) -> BrowserContext:
    """A browser without anything but these cookies."""
    context = await browser.new_context(ignore_https_errors=True, storage_state=state)
    context.set_default_timeout(1000 * SECONDS)
    return context


async def paints(
    browser: Browser, state: StorageState, address: str, repeats: int
) -> tuple[list[float], list[float], float]:
    """Milliseconds until the first paint of the overview, cold and warm, and the bytes of a cold call."""
    cold, warm, size = [], [], 0.0
    for _ in range(repeats):
        context = await visitor(browser, state)
        page = await context.new_page()
        await page.goto(address, wait_until="load")
        cold.append(await page.evaluate(FIRST_PAINT))
        size = await page.evaluate(TRANSFERRED)
        await page.goto(address, wait_until="load")
        warm.append(await page.evaluate(FIRST_PAINT))
        await context.close()
    return cold, warm, size


async def floor_paint(browser: Browser, address: str) -> float:
    """Milliseconds until a page of one line is seen, over the same server's TLS."""
    context = await visitor(browser)
    page = await context.new_page()
    await page.goto(f"{address}healthy", wait_until="load")
    spent: float = await page.evaluate(FIRST_PAINT)
    await context.close()
    return spent


async def updates(browser: Browser, state: StorageState, address: str, operator: Operator, repeats: int) -> list[float]:
    """Milliseconds from sending a transaction until the overview shows the contract that it creates."""
    context = await visitor(browser, state)
    page = await context.new_page()
    delays = []
    async with page.expect_response(lambda answer: "/events" in answer.url):
        await page.goto(address)
    for number in range(repeats):
        name = f"contract-{number}"
        begun = perf_counter()
        await operator.perform(create_shared(operator.chain.world, name))
        await page.get_by_text(name).first.wait_for()
        delays.append(1000 * (perf_counter() - begun))
    await context.close()
    return delays


async def frames(browser: Browser, state: StorageState, address: str) -> tuple[float, float]:
    """Milliseconds of a frame of the matrix, at the worst of its sizes, and of the floor."""
    context = await visitor(browser, state)
    page = await context.new_page()
    html = chart_page(chart("swarm-matrix", participation(SITES, ROUNDS)))
    headers = {"Content-Security-Policy": POLICY}
    await context.route(
        f"{address}bench", lambda route: route.fulfill(body=html, content_type="text/html", headers=headers)
    )
    await page.goto(f"{address}bench")
    await page.get_by_text(f"{SITES} sites, {ROUNDS} rounds").wait_for()
    found = [await page.evaluate(FRAMES, zoom) for zoom in ZOOMS]
    await context.close()
    return max(median(drawn) for drawn, _ in found), max(median(floor) for _, floor in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="calls and transactions (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON line instead of a sentence")
    options = parser.parse_args()
    found = run_benchmark("bench-ui", lambda folder: measure(folder, options.repeats))
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(
            f"first paint {found.first_paint_ms:.0f} ms cold, {found.first_paint_warm_ms:.0f} warm (floor "
            f"{found.floor_paint_ms:.0f}); a transaction is seen after {found.update_delay_ms:.0f} ms; the page has "
            f"{found.page_kb:.0f} KB, the server {found.server_rss_mb:.0f} MB; a frame of {SITES} x {ROUNDS} takes "
            f"{found.frame_ms_64x1000:.1f} ms (floor {found.floor_frame_ms:.1f}), one of its page while it is scrolled "
            f"{found.scroll_frame_ms:.1f}, while charts are pointed at {found.point_frame_ms:.1f} (floor "
            f"{found.floor_page_frame_ms:.1f}); that page has {found.long_page_kb:.0f} KB and "
            f"{found.long_page_elements} elements"
        )


if __name__ == "__main__":
    main()

"""`make screenshots`: pages of the UI on the swarm of the showcase, as the pictures of README and `docs/ui.md`."""

import argparse
import asyncio
import io
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image

from showcase.__main__ import pass_phrase
from showcase.hospitals import CONTRACT, TASKS
from showcase.machines import bundle, machines, prepare
from showcase.network import USER, Showcase, showcase
from showcase.people import PROJECT, Operator
from support.browser import PHONE, Chromium, View
from support.tools import lacks
from swarmlearning.errors import UserError, first_cause
from swarmlearning.supervise.processes import RunError

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS: Final = Path(__file__).parents[2] / "docs" / "ui"
LAPTOP: Final = View(1280, 860)


class Picture(NamedTuple):
    """A page as it is seen through a window: the file is `name`.png in `DOCS`, the page is at `path`."""

    name: str
    path: str
    view: View = LAPTOP


PICTURES: Final = (
    Picture("overview", "/"),
    Picture("overview-dark", "/", LAPTOP._replace(scheme="dark")),
    Picture("training", f"/training/{CONTRACT}"),
    Picture("training-phone", f"/training/{CONTRACT}", PHONE),
    Picture("compare", "/experiments/compare?" + "&".join(f"run={CONTRACT}/{n}" for n in range(1, len(TASKS) + 1))),
    Picture("project", f"/projects/{PROJECT}"),
    Picture("hosts", "/hosts"),
)
COLOURS: Final = 96
MOST_BYTES: Final = 150_000
PACE: Final = 0.06
"""Seconds of a step: the last training has to be under way while its pages are looked at."""
UNDER_WAY: Final = 20
"""Rounds after which it is."""
DRAWN: Final = """() => new Promise((done) => {
  const charts = [...document.querySelectorAll("swarm-lines, swarm-matrix")];
  const whole = () => charts.every(({ data }) => (data?.series ?? data?.cells)?.length);
  const look = () => (whole() ? requestAnimationFrame(() => requestAnimationFrame(done)) : setTimeout(look, 50));
  fetch("/static/icons.svg").then(look);
})"""
"""Once the charts have their data, the icons are there, and a frame was drawn with them."""


async def take(folder: Path, to: Path) -> None:
    """Takes all pictures. Raises `UserError`."""
    for tool in ("chromium", "sshd"):
        if reason := lacks(tool):
            raise RunError(reason)
    ours = bundle(folder / "bundle")
    async with AsyncExitStack() as stack:
        shown = await stack.enter_async_context(showcase(folder / "swarm", pass_phrase(), pace=PACE, bundle=ours))
        operator = await stack.enter_async_context(Operator(shown))
        hosts = stack.enter_context(machines(folder / "hosts"))
        await operator.prepare()
        await prepare(operator, hosts)
        for task in TASKS[:-1]:
            await operator.finish(await operator.begin(task))
        await operator.begin(TASKS[-1])
        await operator.until(f"/training/{CONTRACT}.json", lambda it: it["run"]["rounds"] >= UNDER_WAY)
        browser = stack.enter_context(closing(Chromium(None)))
        for picture in PICTURES:
            seen = await asyncio.to_thread(browser.run, partial(look, shown, picture.path), picture.view)
            keep(seen, to / f"{picture.name}.png")


def look(shown: Showcase, path: str, page: "Page") -> bytes:
    """A picture of this page for `USER`, once all of it is drawn. Raises `RunError`."""
    page.goto(shown.address)
    page.locator("input[name=name]").fill(USER)
    page.locator("input[name=password]").fill(shown.password)
    page.locator("main button").click()
    page.locator("#main").wait_for()
    answer = page.goto(shown.address.rstrip("/") + path)
    if answer is None or answer.status != 200:
        raise RunError(f"{path}: {answer.status if answer else 'no answer'}")
    page.evaluate(DRAWN)
    return page.screenshot()


def keep(picture: bytes, path: Path) -> None:
    """Writes a picture with few colours. Raises `RunError` where it is too large for a repository all the same."""
    made = io.BytesIO()
    reduced = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(made, "PNG", optimize=True)
    size = len(made.getvalue())
    if size > MOST_BYTES:
        raise RunError(f"{path.name}: {size} bytes; {MOST_BYTES} are the most")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.getvalue())
    print(f"{path}: {size // 1000} KB", flush=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=DOCS, help="folder of the pictures (default %(default)s)")
    options = parser.parse_args(words)
    failures: list[BaseException] = []
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what SWOPs have started is to end, too
        try:
            asyncio.run(take(Path(folder) / "showcase", options.to))
        except* UserError as group:
            failures.append(first_cause(group))
    if failures:
        sys.exit(f"screenshots: {failures[0]}")


if __name__ == "__main__":
    main()

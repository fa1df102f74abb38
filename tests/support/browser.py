"""Plugin of pytest: Debian's Chromium, driven by Playwright, one browser for each worker: the fixture `chromium`.

A test gives it a story: a function that takes a page, and runs in the browser's own thread, since Playwright's event
loop and those of other tests must not meet in one. Each story has a profile of its own. What the page complains about
(errors of scripts, violations of its content security policy, answers that are missing) fails the story.

`pytest --screenshots FOLDER` keeps the pictures that stories take by `shoot`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

import pytest

from support.tools import lacks

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

T = TypeVar("T")
Scheme: TypeAlias = Literal["light", "dark"]

FLAGS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--font-render-hinting=none"),
)
SECONDS: Final = 300.0
"""For a whole story on a machine under heavy load; nothing comes near it otherwise."""
EXPECTED_MS: Final = 60_000.0
"""How long a story waits for what it expects on a page."""
TAKEN_SERIOUSLY: Final = ("serious", "critical")


class View(NamedTuple):
    """The window that a story looks through."""

    width: int = 1280
    height: int = 800
    scheme: Scheme = "light"
    language: str = "en-GB"


LAPTOP: Final = View()
PHONE: Final = View(390, 844)


class Tab:
    """A page that stays open, in the browser's thread."""

    def __init__(self, thread: ThreadPoolExecutor, page: Page) -> None:
        self._thread = thread
        self._page = page

    def run(self, story: Callable[[Page], T]) -> T:
        """Returns what the story returns, which goes on where the one before has left the page."""
        return self._thread.submit(story, self._page).result(SECONDS)


class Chromium:
    """A browser in a thread of its own, which has the network of the thread that makes it."""

    def __init__(self, pictures: Path | None) -> None:
        self._pictures = pictures
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chromium")
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None

    def run(
        self, story: Callable[[Page], T], view: View = LAPTOP, allowed: tuple[str, ...] = (), **profile: object
    ) -> T:
        """Returns what the story returns. Raises what it raises, and `AssertionError` for complaints of its pages that
        contain none of the `allowed` texts. `profile`: more options of Playwright's `new_context`."""
        return self._thread.submit(self._run, story, view, allowed, profile).result(SECONDS)

    @contextmanager
    def tab(self, view: View = LAPTOP, allowed: tuple[str, ...] = (), **profile: object) -> Iterator[Tab]:
        """A page that stays open from story to story. Fails at its end for complaints, as `run` does."""
        complaints: list[str] = []
        context = self._thread.submit(self._opened, view, complaints, profile).result(SECONDS)
        try:
            yield Tab(self._thread, self._thread.submit(context.new_page).result(SECONDS))
            _raise(complaints, allowed)
        finally:
            self._thread.submit(context.close).result(SECONDS)

    def shoot(self, page: Page, name: str) -> None:
        """Called by a story: a picture of the whole page, where pictures are kept."""
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=self._pictures / f"{name}.png", full_page=True)

    def close(self) -> None:
        """Ends the browser."""
        self._thread.submit(self._end).result(SECONDS)
        self._thread.shutdown()

    def _run(self, story: Callable[[Page], T], view: View, allowed: tuple[str, ...], profile: dict[str, Any]) -> T:
        complaints: list[str] = []
        context = self._opened(view, complaints, profile)
        try:
            result = story(context.new_page())
            _raise(complaints, allowed)
            return result
        finally:
            context.close()

    def _opened(self, view: View, complaints: list[str], profile: dict[str, Any]) -> BrowserContext:
        settings: dict[str, Any] = {
            "viewport": {"width": view.width, "height": view.height},
            "color_scheme": view.scheme,
            "locale": view.language,
            **profile,
        }
        context = self._started().new_context(**settings)
        context.set_default_timeout(EXPECTED_MS)
        _note_complaints(context, complaints)
        return context

    def _started(self) -> Browser:
        if self._browser is None:
            from playwright.sync_api import sync_playwright

            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        return self._browser

    def _end(self) -> None:
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()


def barriers(page: Page) -> list[str]:
    """Called by a story: what of the page keeps people out, by axe: its serious and critical findings, a line each."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['impact']}: {each['id']}: {each['help']}: {node['html'][:200]} ({' '.join(map(str, node['target']))})"
        for each in found["violations"]
        if each["impact"] in TAKEN_SERIOUSLY
        for node in each["nodes"][:5]
    ]


def overflows(page: Page) -> int:
    """Called by a story: by how many pixels the page is wider than its window, so that it would scroll sideways."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def _raise(complaints: list[str], allowed: tuple[str, ...]) -> None:
    found = [each for each in complaints if not any(text in each for text in allowed)]
    assert not found, "the pages complained:\n" + "\n".join(found)


def _note_complaints(context: BrowserContext, found: list[str]) -> None:
    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    context.on("console", note)
    context.on("weberror", lambda error: found.append(f"exception: {error.error}"))


# --- pytest's hooks -------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", type=Path, help="keep the pictures that stories take of pages")


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> Iterator[Chromium]:
    """The browser of this worker, started by its first story."""
    if reason := lacks("chromium"):
        pytest.skip(reason)
    os.environ.setdefault("NODE_NO_WARNINGS", "1")  # of Playwright's driver, on standard error
    browser = Chromium(request.config.getoption("--screenshots"))
    yield browser
    browser.close()

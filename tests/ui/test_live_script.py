"""Pages that keep themselves up to date, in a real browser, with a server that says what has changed."""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from support.browser import Chromium
from support.ports import fixed_port
from support.styleguide import POLICY, TYPES, UI, chart_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECONDS = 60.0
BODY = """<h1 id="head">Version {version}</h1>
<section id="part" data-live="training"><p>Round {version}</p><ul>{items}</ul>
<details id="more"><summary>More</summary><input id="typed" aria-label="Filter"><p>Inner {version}</p></details>
<pre id="log" class="log" tabindex="0">{log}</pre></section>
<section id="other" data-live="nodes"><p>Nodes {version}</p></section>"""


class Site:
    """A page whose content has a version, and its events."""

    def __init__(self) -> None:
        self.version = 1
        self.fetched = 0
        self.streams: list[queue.Queue[str | None]] = []
        self.opened = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self.unheard = 0
        """Changes after the next answer that nobody is told of."""

    def change(self, *topics: str) -> None:
        """A newer version, of which all open pages hear."""
        self.version += 1
        for stream in self.streams:
            stream.put(f"event: changed\ndata: {json.dumps(topics)}\n\n")

    def end(self) -> None:
        """Ends all streams, as a server does that stops."""
        for stream in self.streams:
            stream.put(None)

    @property
    def page(self) -> str:
        """The page now."""
        items = "".join(f"<li>item {number}</li>" for number in range(self.version))
        log = "\n".join(f"line {number}" for number in range(200))
        page = chart_page(BODY.format(version=self.version, items=items, log=log))
        return page.replace("<body>", f'<body data-news="{self.version}">')


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/events":
            self._events()
        elif path == "/":
            self.site.fetched += 1
            self._answer("text/html; charset=utf-8", self.site.page.encode())
            self.site.version, self.site.unheard = self.site.version + self.site.unheard, 0
        else:
            file = UI / path.lstrip("/")
            self._answer(TYPES[file.suffix], file.read_bytes())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", len(body)),
            ("Content-Security-Policy", POLICY),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"event: since\ndata: {self.site.version}\n\n".encode())
        stream: queue.Queue[str | None] = queue.Queue()
        self.site.streams.append(stream)
        self.site.opened.release()
        try:
            while (text := self._next(stream)) is not None:
                self.wfile.write(text.encode())
        except OSError:
            pass
        self.site.streams.remove(stream)
        self.site.closed.release()

    @staticmethod
    def _next(stream: "queue.Queue[str | None]") -> str | None:
        try:
            return stream.get(timeout=0.2)
        except queue.Empty:
            return ": there\n\n"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(site: Site, port: int) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", port), type("_Handler", (_Handler,), {"site": site}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        site.end()
        server.shutdown()
        server.server_close()


def test_what_has_changed_before_a_page_hears_of_changes_is_shown(chromium: Chromium) -> None:
    site = Site()
    site.unheard = 1

    def story(page: "Page") -> None:
        page.goto(address)
        page.get_by_text("Round 2").wait_for()

    with served(site, fixed_port()) as address:
        chromium.run(story)
    assert site.fetched == 2


def test_what_changes_is_shown_and_focus_scroll_and_typing_stay(chromium: Chromium) -> None:
    site = Site()

    def story(page: "Page") -> None:
        page.goto(address)
        assert site.opened.acquire(timeout=SECONDS)
        page.get_by_text("More").click()
        page.locator("#typed").fill("klinik")
        page.locator("#log").evaluate("log => log.scrollTop = 700")
        page.evaluate("window.before = document.querySelector('#log')")
        site.change("training")
        page.get_by_text("Round 2", exact=True).wait_for()
        page.get_by_text("Inner 2").wait_for()
        assert page.locator("li").count() == 2
        assert page.locator("#typed").input_value() == "klinik"
        assert page.evaluate("document.activeElement.id") == "typed"
        assert page.locator("#log").evaluate("log => log === window.before && log.scrollTop") == 700
        assert page.locator("#head").text_content() == "Version 1"  # not live
        assert page.locator("#other").text_content() == "Nodes 1"  # of another topic
        site.change("nodes", "training")
        page.get_by_text("Nodes 3").wait_for()

    with served(site, fixed_port()) as address:
        chromium.run(story)
    assert site.fetched == 3


def test_a_lost_connection_is_said_and_what_was_missed_is_fetched(chromium: Chromium) -> None:
    site, port = Site(), fixed_port()

    def story(page: "Page") -> None:
        with served(site, port) as address:
            page.goto(address)
            assert site.opened.acquire(timeout=SECONDS)
        page.get_by_text("The connection is lost").wait_for()
        site.version = 7
        with served(site, port):
            page.get_by_text("Round 7", exact=True).wait_for()
            page.get_by_text("The connection is lost").wait_for(state="hidden")

    chromium.run(story, allowed=("net::ERR_",))  # the browser itself tells of each try


def test_a_hidden_page_stops_listening_and_catches_up_when_it_is_seen(chromium: Chromium) -> None:
    site = Site()
    seen = """(state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""

    def story(page: "Page") -> None:
        page.clock.install()
        page.goto(address)
        assert site.opened.acquire(timeout=SECONDS)
        page.evaluate(seen, "hidden")
        page.clock.fast_forward(60_000)
        assert site.closed.acquire(timeout=SECONDS)
        site.version = 5
        page.evaluate(seen, "visible")
        assert site.opened.acquire(timeout=SECONDS)
        page.clock.resume()
        page.get_by_text("Round 5", exact=True).wait_for()

    with served(site, fixed_port()) as address:
        chromium.run(story)


def test_whoever_is_signed_out_meanwhile_is_told(chromium: Chromium) -> None:
    site = Site()

    def story(page: "Page") -> None:
        page.goto(address)
        assert site.opened.acquire(timeout=SECONDS)
        site.streams[0].put("event: ended\ndata: {}\n\n")
        page.get_by_role("link", name="Sign in again").wait_for()

    with served(site, fixed_port()) as address:
        chromium.run(story)

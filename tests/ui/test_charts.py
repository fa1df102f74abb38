"""Charts in a real browser: what they show, by pointer and by keys, and how they follow their data."""

import json
import re
from typing import TYPE_CHECKING

from support.browser import LAPTOP, PHONE, Chromium, barriers, overflows
from support.styleguide import ADDRESS, UI, chart, chart_page, chart_texts, curves, guide, participation, serve

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def shown(page: "Page", body: str, answers: dict[str, str] | None = None) -> None:
    serve(page, chart_page(body), answers)
    page.goto(ADDRESS)


def said(canvas: "Locator") -> str:
    return canvas.get_attribute("aria-valuetext") or ""


def test_charts_keep_nobody_out_and_fit_their_window(chromium: Chromium) -> None:
    html = guide({"few": curves(4, 60), "many": curves(12, 200), "part": participation(24, 300)})

    def story(page: "Page") -> tuple[list[str], int]:
        serve(page, html)
        page.goto(ADDRESS)
        page.get_by_text("24 sites, 300 rounds").wait_for()
        assert page.locator("swarm-lines canvas.over").count() == 2
        chromium.shoot(page, f"charts-{page.viewport_size['width'] if page.viewport_size else 0}")
        narrow = page.viewport_size == {"width": PHONE.width, "height": PHONE.height}
        return [] if narrow else barriers(page), overflows(page)

    assert chromium.run(story, LAPTOP) == ([], 0)
    assert chromium.run(story, PHONE) == ([], 0)


def test_keys_move_along_curves_and_buttons_choose_measure_axis_and_lines(chromium: Chromium) -> None:
    data = {
        "round": [0, 1, 2],
        "series": [
            {"name": "Swarm", "kind": "swarm", "loss": [0.9, 0.5, 0.25], "metric": [0.1, 0.5, 0.75]},
            {"name": "<b>SL-1</b>", "epochs": [1, 2, 3], "loss": [1, None, 0.5], "metric": [None, None, 0.7]},
        ],
    }

    def story(page: "Page") -> None:
        shown(page, chart("swarm-lines", data))
        canvas = page.get_by_role("slider", name="Made up")
        page.get_by_role("button", name="<b>SL-1</b>").wait_for()  # a name is text, whatever is in it
        page.keyboard.press("Tab")
        for _ in range(4):
            page.keyboard.press("Tab")
        assert said(canvas) == "Round 2: Swarm 0.25, <b>SL-1</b> 0.5"
        page.keyboard.press("ArrowLeft")
        assert said(canvas) == "Round 1: Swarm 0.5"
        page.get_by_role("button", name="Metric").click()
        canvas.press("End")
        page.wait_for_function("document.querySelector('.over').ariaValueText.endsWith('0.7')")
        assert said(canvas) == "Round 2: Swarm 0.75, <b>SL-1</b> 0.7"
        page.get_by_role("button", name="Swarm").click()
        canvas.press("Home")
        canvas.press("End")
        page.wait_for_function("!document.querySelector('.over').ariaValueText.includes('Swarm')")
        page.get_by_role("button", name="Epochs").click()
        page.wait_for_function("document.querySelector('swarm-lines').axis === 'epochs'")

    chromium.run(story)


def test_keys_move_from_cell_to_cell_of_a_matrix(chromium: Chromium) -> None:
    data = {"first": 7, "sites": ["SL-1", "SL-2"], "cells": ["Lctx", " awe"]}

    def story(page: "Page") -> list[str]:
        shown(page, chart("swarm-matrix", data))
        canvas = page.get_by_role("slider", name="Made up: 2 sites, 4 rounds")
        canvas.wait_for()
        for _ in range(4):  # three buttons come before it
            page.keyboard.press("Tab")
        found = [said(canvas)]
        for key in ("ArrowLeft", "Home", "ArrowDown", "ArrowRight"):
            page.keyboard.press(key)
            found.append(said(canvas))
        assert page.locator(".tip").text_content() == "SL-2Round 8: absent"
        return found

    assert chromium.run(story) == [
        "SL-1, round 10: lost",
        "SL-1, round 9: late",
        "SL-1, round 7: led and contributed",
        "SL-2, round 7: absent",
        "SL-2, round 8: absent",
    ]


def test_64_sites_and_1000_rounds_are_drawn_at_each_size(chromium: Chromium) -> None:
    data = participation(64, 1000)
    data["cells"][:3] = ["c" * 1000, "x" * 1000, " " * 1000]
    draw = """(zoom) => {
      const matrix = document.querySelector("swarm-matrix");
      [matrix.whole, matrix.size] = zoom === null ? [true, 3] : [false, zoom];
      matrix.draw();
      const context = matrix.canvas.getContext("2d"), ratio = devicePixelRatio;
      return [0, 1, 2].map((row) => {
        const corner = [matrix.margin + 4, 22 + row * matrix.row + 2, 60, matrix.row - 4].map((each) => each * ratio);
        const pixels = context.getImageData(...corner).data, colours = new Set();
        for (let at = 0; at < pixels.length; at += 4) colours.add(pixels.slice(at, at + 4).join());
        return [...colours].sort().join(" ");
      });
    }"""

    def story(page: "Page") -> list[tuple[str, str, str]]:
        shown(page, chart("swarm-matrix", data))
        page.get_by_text("64 sites, 1000 rounds").wait_for()
        return [page.evaluate(draw, zoom) for zoom in (None, 0, 1, 2, 3, 4, 5)]

    for contributed, lost, absent in chromium.run(story, allowed=("readback",)):
        assert contributed != lost
        assert absent not in (contributed, lost)


def test_a_chart_fetches_its_data_and_says_where_it_cannot(chromium: Chromium) -> None:
    answers = {"/there.json": json.dumps(curves(2, 5))}

    def story(page: "Page") -> str:
        shown(page, '<swarm-lines label="A" src="/there.json"></swarm-lines>', answers)
        page.get_by_role("button", name="klinikum-2").wait_for()
        page.evaluate("""() => {
          document.querySelector("swarm-lines").insertAdjacentHTML("afterend", '<swarm-lines src="/gone.json">');
        }""")
        return page.get_by_text("cannot be fetched").text_content() or ""

    assert "at present" in chromium.run(story, allowed=("404",))


def test_all_texts_of_charts_are_in_both_languages() -> None:
    english, german = chart_texts("en"), chart_texts("de")
    assert english.keys() == german.keys()
    scripts = [script.read_text("utf-8") for script in (UI / "static").rglob("*.js")]
    used = {key for script in scripts for key in re.findall(r'say\("([\w-]+)"', script)}
    assert {"keys", "live-lost"} <= used <= english.keys()

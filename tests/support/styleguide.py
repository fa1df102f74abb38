"""The style guide: one page with every part of which SLM-UI's pages are made, and charts with made-up data."""

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

UI: Final = Path(__file__).parents[2] / "src/swarmlearning/ui"
GUIDE: Final = Path(__file__).parents[1] / "ui/styleguide"
ADDRESS: Final = "https://guide.test"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""As strict as that of the pages: whatever works here needs no inline script and no inline style."""
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json"}


def environment() -> Environment:
    """Templates as the pages have them: escaped, and with nothing undefined."""
    loader = FileSystemLoader([UI / "templates", GUIDE])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def chart_texts(language: str = "en") -> dict[str, str]:
    """The texts of charts, as pages hand them to scripts."""
    found = json.loads((UI / "texts/charts.json").read_text("utf-8"))
    return {name: both[language] for name, both in found.items()}


def guide(charts: Mapping[str, Any] | None = None, language: str = "en") -> str:
    """The page; `charts`: the data of its charts `few`, `many` and `part`, without which it has none."""
    template = environment().get_template("guide.html")
    return template.render(charts=charts, texts=chart_texts(language), theme="")


def chart_page(body: str) -> str:
    """A page with nothing but a head like that of all pages, and this body."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Charts</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/swarm.css">'
        f'<script type="application/json" id="texts">{json.dumps(chart_texts())}</script>'
        f'<script type="module" src="/static/swarm.js"></script></head><body><main>{body}</main></body></html>'
    )


def chart(name: str, data: Mapping[str, Any]) -> str:
    """A chart's element, with these data in it."""
    inside = json.dumps(data).replace("<", "\\u003c")
    return f'<{name} label="Made up"><script type="application/json">{inside}</script></{name}>'


def serve(page: "Page", html: str, answers: Mapping[str, str] | None = None) -> None:
    """Called by a story: this page is at `ADDRESS`, with the static files of the UI; `answers`: more, by path."""

    def answer(route: "Route") -> None:
        path = route.request.url.removeprefix(ADDRESS).partition("?")[0]
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        static = UI / path.lstrip("/")
        if path == "/":
            route.fulfill(body=html, content_type="text/html; charset=utf-8", headers=headers)
        elif answers and path in answers:
            route.fulfill(body=answers[path], content_type="application/json", headers=headers)
        elif path.startswith("/static/") and static.is_file():
            route.fulfill(body=static.read_bytes(), content_type=TYPES[static.suffix], headers=headers)
        else:
            route.fulfill(status=404, body="not found", headers=headers)

    page.route(f"{ADDRESS}/**", answer)


def curves(sites: int, rounds: int) -> dict[str, Any]:
    """Made-up curves of a training, the same in each run: those of the swarm and of its sites."""
    chance = random.Random(sites * 10_000 + rounds)
    speeds = [chance.uniform(0.6, 1.4) for _ in range(sites)]
    names = [f"klinikum-{index + 1}" for index in range(sites)]
    found = [_curve(name, "site", speed, rounds, chance, 0.06) for name, speed in zip(names, speeds, strict=True)]
    swarm = _curve("Swarm", "swarm", 1.0, rounds, chance, 0.02)
    return {"series": [swarm, *found], "marks": [{"round": rounds * 3 // 4, "text": "best"}]}


def _curve(name: str, kind: str, speed: float, rounds: int, chance: random.Random, noise: float) -> dict[str, Any]:
    decay = [math.exp(-3 * speed * number / rounds) for number in range(rounds)]
    losses = [0.15 + 2.1 * each * (1 + chance.gauss(0, noise)) for each in decay]
    return {
        "name": name,
        "kind": kind,
        "round": list(range(rounds)),
        "epochs": [round(number * 0.31 * speed, 2) for number in range(rounds)],
        "time": [1_790_000_000_000 + number * 21_000 for number in range(rounds)],
        "loss": [round(each, 4) for each in losses],
        "metric": [round(0.93 - 0.6 * each * (1 + chance.gauss(0, noise)), 4) for each in decay],
    }


def participation(sites: int, rounds: int) -> dict[str, Any]:
    """A made-up participation: most sites contribute in most rounds, one after the other leads, some go and return."""
    chance = random.Random(sites * 10_000 + rounds + 1)
    lines = []
    for site in range(sites):
        line = ["a"] * (rounds * site // (8 * sites))
        while len(line) < rounds:
            kind = chance.choices("ctxweral", (60, 3, 1, 0.5, 0.5, 1, 1, 0.2))[0]
            line += [kind] * (chance.randint(5, 60) if kind in "cxa" else chance.randint(1, 3))
        lines.append(line[:rounds])
    for number in range(rounds):
        there = [line for line in lines if line[number] == "c"]
        if there:
            chance.choice(there)[number] = "L"
    return {
        "first": 0,
        "sites": [f"klinikum-{index + 1}" for index in range(sites)],
        "cells": ["".join(line) for line in lines],
    }

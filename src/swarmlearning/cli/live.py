"""The display of a run in progress, from its ledger: a bar a site, or a line a round where no terminal is."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.world import World
from swarmlearning.views.names import fetch_addresses
from swarmlearning.views.nodes import sl_names
from swarmlearning.views.render import activity_text, waiting_text
from swarmlearning.views.training import activity, main_contract, waiting_in

BAR_WIDTH = 28
FRAMES_PER_SECOND = 8
SECONDS_BETWEEN_LINES = 1.0
SECONDS_BEFORE_REMINDER = 5.0


@dataclass(frozen=True)
class SiteView:
    """One site. Loss and metric are of its last report, None without, and with the result of round `measured`; `rounds`
    is how often it contributed; `away`: its SL or its script is not there."""

    name: str
    epochs: int = 0
    total_epochs: int = 0
    loss: float | None = None
    metric: float | None = None
    rounds: int = 0
    status: str = "starting"
    away: bool = False
    measured: int | None = None


@dataclass(frozen=True)
class RunView:
    """A run at one height. `closed` counts the rounds that have a result; `leader` is the name of a site, or empty;
    `held_up`: somebody waits for others."""

    sites: tuple[SiteView, ...]
    round: int | None
    term: int
    leader: str
    closed: int
    waiting: str
    held_up: bool = False

    @classmethod
    def before(cls, sites: Sequence[str]) -> Self:
        """The view before the ledger has anything about these sites."""
        views = tuple(SiteView(name) for name in sites)
        return cls(views, round=None, term=0, leader="", closed=0, waiting="the nodes are starting")

    def keeping(self, earlier: "RunView") -> "RunView":
        """With the loss and metric of `earlier` where there are none: reports after a script has left have none."""
        known = {site.name: site for site in earlier.sites}
        sites = [
            replace(
                site, loss=known[site.name].loss, metric=known[site.name].metric, measured=known[site.name].measured
            )
            if site.loss is None and site.metric is None and site.name in known
            else site
            for site in self.sites
        ]
        return replace(self, sites=tuple(sites))

    @classmethod
    def from_world(cls, world: World, contract: str) -> Self:
        """The view of the training contract in `world`; the sites are its SLs, by name."""
        state = state_of(world, contract)
        names, facts = sl_names(world), waiting_in(world, state)
        return cls(
            sites=tuple(_site(name, state, uid) for uid, name in names.items()),
            round=state.round.number if state.round else None,
            term=state.round.term if state.round else 0,
            leader=names.get(state.round.leader, "") if state.round else "",
            closed=state.rounds,
            waiting=waiting_text(facts, names, fetch_addresses(world)),
            held_up=facts.have > 0 and facts.phase not in ("empty", "over"),
        )


def render(view: RunView, metric: str = "metric") -> RenderableType:
    """The live view: a bar a site, and what the round in progress waits for. `metric` is the head of its column."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column()
    table.add_column("epochs", max_width=BAR_WIDTH)
    for title in ("", "loss", metric, "rounds"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for site in view.sites:
        total = max(site.total_epochs, 1)
        bar = ProgressBar(total=total, completed=min(site.epochs, total))
        epochs = f"{site.epochs}/{site.total_epochs or '?'}"
        numbers = (_number(site.loss), _number(site.metric), str(site.rounds))
        table.add_row(Text(site.name), bar, epochs, *numbers, Text(site.status))
    return Group(table, Text(_headline(view), style="dim"))


def line(view: RunView, sites: int, metric: str = "metric") -> str:
    """The newest closed round in one line, for logs; loss and metric are means over the sites that have measured them
    with one result, and that is named where it is an earlier one: sites measure after the merge."""
    measured = Counter(site.measured for site in view.sites if site.measured is not None)
    newest = max(measured, key=lambda number: (measured[number], number), default=None)
    losses = [site.loss for site in view.sites if site.loss is not None and site.measured == newest]
    metrics = [site.metric for site in view.sites if site.metric is not None and site.measured == newest]
    after = f" after round {newest}" if newest != view.closed - 1 else ""
    parts = [
        f"round {view.closed - 1} is merged",
        f"loss {_number(fmean(losses))}{after}" if losses else "",
        f"{metric} {_number(fmean(metrics))}{after if not losses else ''}" if metrics else "",
        *(f"{site.name} {site.status}" for site in view.sites if site.away),
        f"{len(view.sites)} of {sites} sites are there" if len(view.sites) < sites else "",
    ]
    return ", ".join(part for part in parts if part)


class Screen(Protocol):
    """The display of a run in progress."""

    def show(self, chain: Chain) -> None:
        """Shows a newer state of the chain."""

    def remind(self) -> None:
        """Shows for whom training waits; called when there has been no newer state for a while."""


@contextmanager
def screen(console: Console, sites: Sequence[str], live: bool | None, metric: str = "metric") -> Iterator[Screen]:
    """A screen while training goes on: a live view that stays as it last was, or lines.

    `live` None: a live view where the console is a terminal.
    """
    if not (console.is_terminal if live is None else live):
        yield Lines(console, len(sites), metric)
        return
    view = _LiveView(sites)
    with Live(console=console, get_renderable=lambda: render(view.now, metric), refresh_per_second=FRAMES_PER_SECOND):
        yield view


async def observe(chains: AsyncIterator[Chain], screen: Screen) -> None:
    """Shows every chain, and a reminder after each that stays the newest for a while; returns after the last."""
    newer = asyncio.ensure_future(anext(chains, None))
    try:
        while True:
            if not (await asyncio.wait({newer}, timeout=SECONDS_BEFORE_REMINDER))[0]:
                screen.remind()
            if (chain := await newer) is None:
                return
            screen.show(chain)
            newer = asyncio.ensure_future(anext(chains, None))
    finally:
        newer.cancel()
        await asyncio.gather(newer, return_exceptions=True)


class _LiveView:
    """Keeps the newest view for the live display, which shows at all times who is waited for."""

    def __init__(self, sites: Sequence[str]) -> None:
        self.now = RunView.before(sites)

    def show(self, chain: Chain) -> None:
        if contract := main_contract(chain.world):
            self.now = RunView.from_world(chain.world, contract).keeping(self.now)

    def remind(self) -> None: ...


class Lines:
    """Prints at most a line a second about the newest closed round, one when training is over, and reminders."""

    def __init__(self, console: Console, sites: int, metric: str) -> None:
        self._console, self._sites, self._metric = console, sites, metric
        self._view = RunView.before(())
        self._printed = 0
        self._reminder = ""
        self._next = time.monotonic()

    def show(self, chain: Chain) -> None:
        """Prints the newest closed round, unless it is too early."""
        if not (contract := main_contract(chain.world)):
            return
        self._view = view = RunView.from_world(chain.world, contract).keeping(self._view)
        now, over = time.monotonic(), view.round is None
        if view.closed > self._printed and (over or now >= self._next):
            self._print(line(view, self._sites, self._metric))
            self._printed, self._next = view.closed, now + SECONDS_BETWEEN_LINES

    def remind(self) -> None:
        """Prints for whom the sites that are ready wait; the same text once."""
        if self._view.held_up and self._view.waiting != self._reminder:
            self._reminder = self._view.waiting
            self._print(self._reminder)

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _site(name: str, state: Training, uid: str) -> SiteView:
    member = state.members.get(uid)
    if member is None:
        return SiteView(name, status="waiting for its script")
    report, now = member.performance, activity(state, member)
    return SiteView(
        name=name,
        epochs=report.epochs if report else 0,
        total_epochs=report.total_epochs if report else member.epochs,
        loss=report.loss if report else None,
        metric=report.metric if report else None,
        rounds=member.contributed,
        status=activity_text(now, state.round.number if state.round else None),
        away=not member.present and now != "done",
        measured=report.round if report and (report.loss is not None or report.metric is not None) else None,
    )


def _headline(view: RunView) -> str:
    if view.round is None:
        return view.waiting
    term = f", term {view.term}" if view.term else ""
    return f"led by {view.leader or 'nobody'}{term}: {view.waiting}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}"

"""The live view and the lines without a terminal, from ledgers made in memory."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest
from rich.console import Console

from support.network import Ledger, session
from swarmlearning.cli import live
from swarmlearning.cli.live import RunView, SiteView, line, observe, render, screen
from swarmlearning.ledger.bodies import (
    CloseSession,
    Contribution,
    Freeze,
    Lost,
    Publish,
    Receipt,
    Register,
    ReportPerformance,
    SubmissionKind,
    Submit,
)
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.views.training import main_contract

SITES = ["site-1", "site-2", "site-10"]


@pytest.fixture
def ledger() -> Ledger:
    """Three sites with open sessions, waiting in round 0."""
    made = Ledger()
    for site in SITES:
        made.join(site)
    for site in SITES:
        made.send(site, session(min_peers=2, epochs=5))
    return made


def submit(ledger: Ledger, *sites: str) -> None:
    assert ledger.training.round is not None
    for site in sites:
        current = ledger.training.round
        kind: SubmissionKind = "snapshot" if ledger.training.members[site].finished else "trained"
        ledger.send(site, Submit(current.number, current.base, kind, site_digest(site), 1, 1))


def publish(ledger: Ledger) -> str:
    """The leader publishes what was submitted; the leader."""
    current = ledger.training.round
    assert current is not None
    parts = tuple(Contribution(uid, site_digest(uid), 1, 1) for uid in sorted(current.submissions))
    ledger.send(
        current.leader, Publish(current.number, current.term, f"{current.number:064x}", 1, Receipt("mean", parts, ()))
    )
    return current.leader


def site_digest(site: str) -> str:
    return f"{int(site.removeprefix('site-')):x}" * 64


def view(ledger: Ledger) -> RunView:
    return RunView.from_world(ledger.chain.world, main_contract(ledger.chain.world))


def statuses(ledger: Ledger) -> dict[str, str]:
    return {site.name: site.status for site in view(ledger).sites}


def text(renderable: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_view_lists_sites_in_the_order_of_their_numbers(ledger: Ledger) -> None:
    assert [site.name for site in view(ledger).sites] == SITES


def test_a_site_is_shown_with_what_it_does_now(ledger: Ledger) -> None:
    assert set(statuses(ledger).values()) == {"training"}
    submit(ledger, "site-1", "site-2")
    assert statuses(ledger) == {
        "site-1": "waits for the others",
        "site-2": "waits for the others",
        "site-10": "training",
    }
    leader = view(ledger).leader
    ledger.send(leader, Freeze(0, 0))
    assert statuses(ledger)[leader] == "merging round 0"
    submit(ledger, "site-10")
    if leader != "site-10":
        assert statuses(ledger)["site-10"] == "late for round 0"
    publish(ledger)
    assert set(statuses(ledger).values()) == {"training"}
    assert {site.name: site.rounds for site in view(ledger).sites} == {"site-1": 1, "site-2": 1, "site-10": 0}


def test_a_site_without_a_session_is_waiting_for_its_script(ledger: Ledger) -> None:
    ledger.join("site-3")
    assert statuses(ledger)["site-3"] == "waiting for its script"


def test_a_site_that_is_lost_is_named(ledger: Ledger) -> None:
    ledger.send("sn-1", Lost("site-2", 1), network.CONTRACT)
    ledger.send("site-10", Lost("site-10", 1), network.CONTRACT)
    assert statuses(ledger) == {"site-1": "training", "site-2": "is lost", "site-10": "has lost its script"}
    assert "site-2 is lost" in line(view(ledger), 3)


def test_loss_metric_and_epochs_are_those_of_the_last_report(ledger: Ledger) -> None:
    submit(ledger, *SITES)
    publish(ledger)
    ledger.send("site-2", ReportPerformance(0, 0.5, 0.75, 2, 5))
    site = view(ledger).sites[1]
    assert (site.epochs, site.total_epochs, site.loss, site.metric) == (2, 5, 0.5, 0.75)


def test_sites_are_done_once_they_hold_the_final_model(ledger: Ledger) -> None:
    for site in SITES:
        ledger.send(site, CloseSession("snapshot"))
    assert set(statuses(ledger).values()) == {"finished, the others still train"}
    submit(ledger, *SITES)
    leader = publish(ledger)
    assert view(ledger).round is None
    expected = {site: "done" if site == leader else "loads the final model" for site in SITES}
    assert statuses(ledger) == expected
    for site in SITES:
        ledger.send(site, ReportPerformance(0, None, None, 5, 5))
        ledger.send("sn-1", Lost(site, 1), network.CONTRACT)  # its SL has ended: that is no loss any more
    assert set(statuses(ledger).values()) == {"done"}


def test_the_live_view_names_sites_and_shows_no_uids() -> None:
    ledger = Ledger()
    ledger.actor("7f3a-uid", "SL")
    ledger.send("7f3a-uid", Register("SL", "site-1", ledger.actors["7f3a-uid"].pem, "0"), network.CONTRACT)
    ledger.send("7f3a-uid", session(min_peers=1))
    shown = text(render(view(ledger)))
    assert "led by site-1: round 0, open since " in shown
    assert "0 models in, minPeers 1; waiting for site-1\n" in shown
    assert "7f3a" not in shown


def test_the_live_view_keeps_values_that_later_reports_leave_out() -> None:
    before = RunView((SiteView("site-1", loss=0.5, metric=0.9), SiteView("site-2", loss=0.4)), 3, 0, "site-1", 3, "")
    after = RunView((SiteView("site-1"), SiteView("site-2", loss=0.3), SiteView("site-3")), 4, 0, "site-1", 4, "")
    kept = after.keeping(before)
    assert [(site.loss, site.metric) for site in kept.sites] == [(0.5, 0.9), (0.3, None), (None, None)]


def test_the_live_view_shows_every_site_and_the_round() -> None:
    sites = (
        SiteView("site-1", 3, 12, 0.25, 0.9, 7, "merging round 7"),
        SiteView("site-2", 2, 0, None, None, 6, "training"),
    )
    shown = text(render(RunView(sites, 7, 1, "site-1", 7, "round 7: site-1 is merging 2 models"), "accuracy"))
    head, first, second, last = shown.splitlines()
    assert "accuracy" in head
    assert first.split()[0] == "site-1"
    assert first.split()[2:] == ["3/12", "0.2500", "0.9000", "7", "merging", "round", "7"]
    assert second.split()[2:] == ["2/?", "-", "-", "6", "training"]
    assert last.strip() == "led by site-1, term 1: round 7: site-1 is merging 2 models"


def test_the_live_view_fits_a_terminal_of_80_columns() -> None:
    sites = (SiteView("site-1", 3, 12, 0.25, 0.9, 7, "waits for the others"),)
    shown = text(render(RunView(sites, 7, 0, "site-1", 7, "waiting"), "accuracy"), width=80)
    assert len(shown.splitlines()) == 3
    assert "waits for the others" in shown


def test_every_site_is_starting_before_anything_is_known() -> None:
    shown = text(render(RunView.before(["site-1", "site-2"])))
    assert shown.count("starting") == 3
    assert main_contract(Chain().world) == ""


def test_the_line_of_a_round_has_the_mean_loss_and_metric(ledger: Ledger) -> None:
    submit(ledger, *SITES)
    publish(ledger)
    ledger.send("site-1", ReportPerformance(0, 1.0, 0.5, 1, 5))
    ledger.send("site-2", ReportPerformance(0, 2.0, None, 1, 5))
    assert line(view(ledger), 4, "accuracy") == (
        "round 0 is merged, loss 1.5000, accuracy 0.5000, 3 of 4 sites are there"
    )


def test_a_loss_that_was_measured_with_an_earlier_result_says_with_which(ledger: Ledger) -> None:
    submit(ledger, *SITES)
    publish(ledger)
    for site in SITES:
        ledger.send(site, ReportPerformance(0, 1.0, 0.5, 1, 5))
    submit(ledger, *SITES)
    publish(ledger)
    assert line(view(ledger), len(SITES), "accuracy") == "round 1 is merged, loss 1.0000 after round 0, accuracy 0.5000"
    ledger.send("site-1", ReportPerformance(1, 7.0, 0.9, 2, 5))  # one of three: the mean of a site is not the swarm's
    assert line(view(ledger), len(SITES), "accuracy") == "round 1 is merged, loss 1.0000 after round 0, accuracy 0.5000"
    for site in SITES[1:]:
        ledger.send(site, ReportPerformance(1, 4.0, 0.6, 2, 5))
    assert line(view(ledger), len(SITES), "accuracy") == "round 1 is merged, loss 5.0000, accuracy 0.7000"


async def test_a_line_is_printed_for_the_first_and_the_last_round_without_a_terminal(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 3600.0)  # so the rounds between come too soon

    async def chains() -> AsyncIterator[Chain]:
        yield Chain()
        for last in (False, False, True):
            if last:
                for site in SITES:
                    ledger.send(site, CloseSession("snapshot"))
            submit(ledger, *SITES)
            publish(ledger)
            yield ledger.chain
            for site in SITES:
                ledger.send(site, ReportPerformance(ledger.training.rounds - 1, 0.5, None, 1, 5))
                yield ledger.chain

    console = Console(file=io.StringIO(), width=200)
    with screen(console, SITES, None) as show:
        await observe(chains(), show)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().splitlines()
    assert [text.partition(",")[0] for text in shown] == ["round 0 is merged", "round 2 is merged"]


async def test_the_last_live_view_stays_on_a_terminal(ledger: Ledger) -> None:
    async def chains() -> AsyncIterator[Chain]:
        yield Chain()
        yield ledger.chain

    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with screen(console, SITES, None) as show:
        await observe(chains(), show)
    assert isinstance(console.file, io.StringIO)
    assert any("0 models in" in line for line in console.file.getvalue().splitlines()[-3:])


def test_a_reminder_names_the_sites_that_others_wait_for_and_is_printed_once(ledger: Ledger) -> None:
    console = Console(file=io.StringIO(), width=200)
    lines = live.Lines(console, 3, "metric")
    lines.show(ledger.chain)
    lines.remind()
    submit(ledger, "site-1")
    lines.show(ledger.chain)
    lines.remind()
    lines.remind()
    assert isinstance(console.file, io.StringIO)
    (shown,) = console.file.getvalue().splitlines()
    assert shown.endswith(": 1 models in, minPeers 2; waiting for site-10, site-2")


async def test_a_reminder_is_printed_when_no_block_has_come_for_a_while(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SECONDS_BEFORE_REMINDER", 0.01)
    reminded = asyncio.Event()

    class Noted:
        def show(self, chain: Chain) -> None: ...

        def remind(self) -> None:
            reminded.set()

    async def chains() -> AsyncIterator[Chain]:
        yield ledger.chain
        await reminded.wait()

    await observe(chains(), Noted())


@pytest.mark.parametrize("name", ["[/]", "[bold red]x[/bold red]", "[link=file:///x]y[/link]"])
def test_markup_in_the_name_of_a_site_is_shown_as_it_is(name: str) -> None:
    made = Ledger()
    made.actor("site-1", "SL")
    made.send("site-1", Register("SL", name, made.actors["site-1"].pem, "0"), network.CONTRACT)
    made.send("site-1", session(min_peers=1))
    assert name in text(render(view(made)))

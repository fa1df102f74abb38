"""Every page of the one table is there as HTML and as JSON, and waits for no node that does not answer."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.ledgerui import LedgerFeed, Visitor, ledger_ui
from support.network import CONTRACT, Ledger
from support.rounds import finish, three_sites
from support.uirecords import recorder_of, recording
from swarmlearning.node.errors import NodeError
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.progress import HostsJob
from swarmlearning.ui.hosts.running import NodeState
from swarmlearning.ui.hosts.seeing import SeenHost
from swarmlearning.ui.network import feed
from swarmlearning.ui.pages import logpages
from swarmlearning.ui.security.roles import TABLE, json_path
from swarmlearning.ui.site import Site

LONG = 60.0
"""Seconds: less than what an act may take, and more than any page needs on a busy machine."""
HOST = "10.0.0.7"
PAGES = sorted(path for method, path in TABLE if method == "GET" and ("GET", json_path(path)) in TABLE)
VALUES = {
    "/experiments/compare": f"?run={CONTRACT}/1",
    "/projects/{name}/file": "?path=tasks/run.yaml",
    "/projects/tasks/task": "?name=none-such",
    "/projects/logs": "?node=site-1&part=NODE",
    "/hosts/{address}/output": "?node=SL-1",
}
"""What pages are asked for behind their paths."""
NAMES = {
    "{contract:path}": CONTRACT,
    "{run:path}": f"{CONTRACT}/1",
    "{height:int}": "1",
    "{number:int}": "1",
    "{address}": HOST,
    "{step}": "welcome",
    "{name}": "mnist",
}
NOT_THERE = {"/projects/tasks/task": 404, "/ledger/{height:int}": 404}
"""What is not on this ledger, and a block: this UI has no index of them."""


def at(path: str) -> str:
    """The address of a page with something that there is."""
    for place, value in NAMES.items():
        path = path.replace(place, value)
    return path


async def nobody_answers(self: Any, work: Callable[[Any], Awaitable[Any]], seconds: float = 60.0) -> Any:
    """An SN that takes the request and says nothing."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        raise NodeError("no SN of the network has done this") from None


async def fill(site: Site, ledger: Ledger) -> None:
    """A project, a host and a job."""
    site.projects.create("mnist", "ada")
    site.projects.put("mnist", "task", "run.yaml", io.BytesIO(b"Name: run\n"))
    await site.hosts.add([Address(HOST, 22)], "/opt/swarm", "ada", "", "ada")

    await site.hosts.see(HOST, SeenHost(1, Facts(), (NodeState("sl-1", "running", "detached"),)))

    async def work(tell: Any) -> str:
        return ""

    await site.jobs.ended(site.jobs.start("jobs.look", "ada", HostsJob({HOST: work})).id)


async def fetched(visitor: Visitor, path: str) -> dict[str, int]:
    """The status of a page as HTML and as JSON, neither of which may take long."""
    asked, found = VALUES.get(path, ""), {}
    for kind, where in (("text/html", at(path)), ("application/json", at(json_path(path)))):
        async with asyncio.timeout(LONG):
            answer = await visitor.get(where + asked)
        assert answer.headers["content-type"].startswith(kind), where
        if kind != "text/html":
            msgspec.json.decode(answer.content)
        found[kind] = answer.status_code
    return found


async def test_no_page_waits_for_a_node_and_each_is_also_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedgerFeed, "use", nobody_answers)
    monkeypatch.setattr(feed, "PAGE_SECONDS", 0.05)
    monkeypatch.setattr(logpages, "FIRST_SECONDS", 0.05)
    ledger = three_sites()
    ledger.join("op-1", "SWCI")
    finish(ledger)
    async with ledger_ui(tmp_path / "ui", ledger) as ui, ui.visitor("admin") as visitor:
        recording(ui, recorder_of(ledger))
        await fill(ui.site, ledger)
        statuses = {path: await fetched(visitor, path) for path in PAGES}
        page = await visitor.page("/projects/logs?node=site-1&part=NODE")
        with pytest.raises(NodeError, match="has done this"):  # the bytes of a block, which only an SN has
            async with asyncio.timeout(LONG):
                await ui.feed.block(1)
    assert len(PAGES) >= 30
    expected = {path: dict.fromkeys(("text/html", "application/json"), NOT_THERE.get(path, 200)) for path in PAGES}
    assert statuses == expected
    assert "has not answered yet" in page

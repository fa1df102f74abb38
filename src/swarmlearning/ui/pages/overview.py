"""The first page: the swarm as it stands, what is wrong with it, and what it survives."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
from fastapi import FastAPI

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.taskrunner import taskrunners
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.ui.network.feed import Feed, Trouble
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.pages.topology import Drawing, Site, drawing
from swarmlearning.ui.site import Here
from swarmlearning.views.alerts import Alert
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.nodes import node_view
from swarmlearning.views.told import machine_text
from swarmlearning.views.trainings import contract_status

Health: TypeAlias = Literal["well", "warning", "critical", "unknown"]
MOST_ALERTS: Final = 200


class NodeRow(msgspec.Struct, frozen=True):
    """A node. `state`: by the ledger, of an SN as the SNs see it; `machine`: what it says of its machine."""

    uid: str
    kind: str
    name: str
    organisation: str
    state: str
    version: str
    machine: str
    does: str
    addresses: dict[str, str]


class TrainingRow(msgspec.Struct, frozen=True):
    """A training contract in short."""

    name: str
    state: str
    rounds: int
    sites: int
    text: str


class NetworkFacts(msgspec.Struct, frozen=True):
    """The ledger as it is known here; `time_ms` of its newest block. `sn`: who has answered last, at `seen_ms`."""

    name: str
    id: str
    height: int
    time_ms: int
    founded_ms: int
    sn: str
    seen_ms: int | None


class OverviewView(msgspec.Struct, frozen=True):
    """All that the page shows. `trouble`: why the ledger is not followed; `outage`: why no SN answers; None where all
    is well. `network` is None before anything is known."""

    configured: bool
    network: NetworkFacts | None
    health: Health
    alerts: list[Alert]
    survives: list[Alert]
    trouble: Trouble | None
    outage: Trouble | None
    nodes: list[NodeRow]
    trainings: list[TrainingRow]
    drawing: Drawing


def add_overview(app: FastAPI) -> None:
    """The page."""

    @page(app, "/", "overview.html")
    async def overview(visit: Here) -> OverviewView:
        return overview_view(visit.feed)


def overview_view(feed: Feed) -> OverviewView:
    """The page's data."""
    chain, seen, alerts = feed.chain, feed.seen, feed.alerts[:MOST_ALERTS]
    told = {node["uid"]: node for node in seen.found["nodes"]} if seen.found else {}
    nodes = node_rows(chain.world, told, seen.now_ms())
    outage = Trouble(seen.outage[0], displayed(seen.outage[1], 1000)) if seen.outage else None
    return OverviewView(
        configured=feed.configured,
        network=_network(feed) if chain.height >= 0 else None,
        health=_health(feed, alerts),
        alerts=[each for each in alerts if each.severity != "info"],
        survives=[each for each in alerts if each.severity == "info"],
        trouble=feed.trouble,
        outage=outage,
        nodes=nodes,
        trainings=[_training(chain.world, state) for state in chain.world.area("training/", Training)],
        drawing=_drawing(chain.world, nodes, seen.found or {}),
    )


def node_rows(world: World, told: Mapping[str, Mapping[str, Any]], now_ms: int) -> list[NodeRow]:
    """The registered nodes that have not left, SNs first; `told`: what an SN states of each, by UID."""
    names, does = node_names(world), _doing(world)
    found = []
    for known in network.nodes(world):
        if known.left:
            continue
        shown, stated = node_view(world, known), told.get(known.uid, {})
        found.append(
            NodeRow(
                uid=displayed(known.uid),
                kind=known.type,
                name=name_of(names, known.uid),
                organisation=displayed(known.organisation),
                state=displayed(str(stated.get("state") or shown.state)),
                version=displayed(known.version),
                machine=machine_text(stated, now_ms) if stated else "",
                does=does.get(known.uid, ""),
                addresses={displayed(service): displayed(at) for service, at in known.addresses.items()},
            )
        )
    order = ("SN", "SWOP", "SL")
    return sorted(
        found,
        key=lambda row: (order.index(row.kind) if row.kind in order else 3, row.kind, len(row.name), row.name),
    )


def _network(feed: Feed) -> NetworkFacts:
    chain, seen = feed.chain, feed.seen
    known = network.network(chain.world)
    return NetworkFacts(
        name=displayed(known.name),
        id=chain.network_id,
        height=chain.height,
        time_ms=chain.time_ms,
        founded_ms=known.created_ms,
        sn=displayed(seen.address),
        seen_ms=seen.found.get("time_ms") if seen.found else None,
    )


def _health(feed: Feed, alerts: list[Alert]) -> Health:
    if feed.trouble is not None or feed.seen.outage is not None or any(each.severity == "critical" for each in alerts):
        return "critical"
    if feed.seen.found is None:
        return "unknown"
    return "warning" if any(each.severity == "warning" for each in alerts) else "well"


def _training(world: World, state: Training) -> TrainingRow:
    found = contract_status(world, state.name)
    return TrainingRow(found.name, found.state, found.rounds, found.active_peers, found.text)


def _doing(world: World) -> dict[str, str]:
    """Of each site in a training that is not over: its contract and epochs."""
    found: dict[str, str] = {}
    for state in world.area("training/", Training):
        for uid, member in state.members.items():
            report = member.performance
            epochs = f", {report.epochs}/{report.total_epochs}" if report and report.total_epochs else ""
            if not state.over:
                found[uid] = f"{displayed(state.name)}{epochs}"
    return found


def _shares(world: World) -> dict[str, float]:
    """Of each site in a training: the part of its epochs that is done."""
    return {
        uid: member.performance.epochs / member.performance.total_epochs
        for state in world.area("training/", Training)
        for uid, member in state.members.items()
        if member.performance is not None and member.performance.total_epochs
    }


def _drawing(world: World, nodes: list[NodeRow], found: Mapping[str, Any]) -> Drawing:
    shares, sns = _shares(world), {sn["uid"]: sn for sn in found.get("sns", ())}
    founder = network.network(world).founder if nodes else ""

    def site(row: NodeRow) -> Site:
        if row.kind == "SN":
            return Site(row.uid, row.kind, row.name, row.state, row.organisation, *_sn(row, sns, founder))
        return Site(row.uid, row.kind, row.name, row.state, row.organisation, row.does, shares.get(row.uid))

    of_kind = {kind: [site(row) for row in nodes if row.kind == kind] for kind in ("SN", "SWOP", "SL")}
    started = {
        pair.uid: peer.uid
        for runner in taskrunners(world)
        for peer in runner.peers
        for pair in peer.reports
        if pair.uid
    }
    return drawing(of_kind["SN"], of_kind["SWOP"], of_kind["SL"], started)


def _sn(row: NodeRow, sns: Mapping[str, Mapping[str, Any]], founder: str) -> tuple[str, None, tuple[str, ...]]:
    """Its height and lag, and its marks."""
    stated = sns.get(row.uid)
    marks = ("founder",) if row.uid == founder else ()
    if stated is None:
        return "", None, marks
    height = "" if stated["height"] is None else f"#{stated['height']}"
    lag = f" −{stated['lag']}" if stated["lag"] else ""
    part = "" if stated["part"] == "unknown" else displayed(str(stated["part"]))
    return f"{part} {height}{lag}".strip(), None, marks

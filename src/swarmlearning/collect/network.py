"""What the nodes of a network give, by way of its SNs: each site decides what an operator gets, and the rest is named.

What a node sends was written by another organisation: it is bounded in bytes and in time, and only shown, never used.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.collect.archive import Archive
from swarmlearning.collect.content import Content, Source
from swarmlearning.collect.files import add_data, add_text
from swarmlearning.collect.ledger import MOST_BLOCKS, MOST_BYTES, excerpt
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.taskrunner.state import taskrunners
from swarmlearning.ledger.world import World
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.facts import cleaned
from swarmlearning.node.sealing import MAX_LINES, Wanted
from swarmlearning.operator.acts import node as named_node
from swarmlearning.operator.logs import LogsError, report_of, whole_log
from swarmlearning.operator.session import Operator
from swarmlearning.redaction import redacted
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.nodes import node_view
from swarmlearning.views.told import alerts_of

AT_ONCE: Final = 4
"""Nodes that are asked at the same time."""
REPORT_SECONDS: Final = 45.0
LOG_SECONDS: Final = 180.0
LEDGER_SECONDS: Final = 120.0
MOST_PAIRS: Final = 16
"""Of one SWOP."""
MOST_NAMED: Final = 20
KINDS: Final = ("SN", "SL", "SWOP")
"""Nodes that have logs; operators come and go, and have none."""
TEXTS: Final = ("stacks", "crash", "metrics")
"""Fields of a report that are files of their own."""


class Asking(NamedTuple):
    """What is wanted: the nodes that are `named` (all, where none is), so many bytes of each one's logs, from a time
    on (Unix time in ms; None: the newest). `known`: secrets to take out, see `node.secrets.known_secrets`."""

    named: Collection[str]
    node_bytes: int
    since_ms: int | None
    known: Collection[str]


async def add_network(archive: Archive, content: Content, operator: Operator, asking: Asking) -> None:
    """Adds the ledger, and what the nodes give. Raises `CollectError` or `ActError`."""
    chain = await operator.refresh()
    await operator.register()
    await add_ledger(archive, content, operator, chain)
    nodes = nodes_to_ask(chain.world, asking.named)
    turns = asyncio.Semaphore(AT_ONCE)

    async def collect(node: Node, number: int) -> Source:
        async with turns:
            return await add_node(archive, operator, node, number, asking)

    content.sources += await asyncio.gather(*(collect(node, number) for number, node in enumerate(nodes, start=1)))


def nodes_to_ask(world: World, named: Collection[str]) -> list[Node]:
    """The nodes of these names or UIDs; without any all that have logs, SNs first. Raises `ActError`."""
    return [named_node(world, each) for each in named] or list(_present(world))


async def add_node(archive: Archive, operator: Operator, node: Node, number: int, asking: Asking) -> Source:
    """Adds what one node gives, in the folder of this number; what it does not give is said with the reason.

    The operator has registered. Raises `CollectError`.
    """
    world = operator.chain.world
    source = _source(world, node, name_of(node_names(world), node.uid))
    place = f"nodes/{number:02d}-{node.type}-{node.name}"
    await _collect(archive, source, place, operator, world, node, asking)
    return source


def _present(world: World) -> Iterator[Node]:
    """The nodes to ask, SNs first."""
    found = [node for node in network.nodes(world) if not node.left and node.type in KINDS]
    yield from sorted(found, key=lambda node: (node.type != "SN", node.type, node.name, node.uid))


def _source(world: World, node: Node, name: str) -> Source:
    view = node_view(world, node)
    facts = {"type": view.type, "organisation": displayed(view.organisation), "state": view.state}
    return Source(name, {**facts, "release": displayed(view.version)})


async def _collect(
    archive: Archive, source: Source, place: str, operator: Operator, world: World, node: Node, asking: Asking
) -> None:
    try:
        report = await report_of(operator, node, REPORT_SECONDS)
        await asyncio.to_thread(_add_report, archive, source, place, report, asking.known)
    except LogsError as error:
        source.missing["report"] = displayed(str(error), 500)
    left = asking.node_bytes
    for file, wanted in _logs(world, node, asking.since_ms):
        try:
            log = await whole_log(operator, node, wanted, max(left, 1), LOG_SECONDS)
        except LogsError as error:
            source.missing[file] = displayed(str(error), 500)
            continue
        left -= len(log.text)
        text = await asyncio.to_thread(redacted, log.text, asking.known)
        await asyncio.to_thread(add_text, archive, source, f"{place}/{file}", text, displayed(log.lacking, 300))


def _logs(world: World, node: Node, since_ms: int | None) -> Iterator[tuple[str, Wanted]]:
    """The logs that a node may have: its own, and those of its pairs in the present tasks."""
    yield "node.log", Wanted(since_ms=since_ms, lines=MAX_LINES)
    pairs = 0
    for runner in taskrunners(world) if node.type == "SWOP" else ():
        for peer in runner.peers:
            if peer.uid != node.uid or runner.assignment is None:
                continue
            for pair in peer.reports[: MOST_PAIRS - pairs]:
                pairs += 1
                for part in ("SL", "ML"):
                    wanted = Wanted("SL" if part == "SL" else "ML", runner.name, pair.index, "", since_ms, MAX_LINES)
                    yield f"pair-{pair.index}-{part.lower()}.log", wanted


def _add_report(archive: Archive, source: Source, place: str, report: dict[str, Any], known: Collection[str]) -> None:
    found = cleaned(report, frozenset(known))
    for name in TEXTS:
        text = found.pop(name, None)
        if isinstance(text, str) and text:
            add_text(archive, source, f"{place}/{name}.txt", text)
    add_data(archive, source, f"{place}/report.json", found)
    source.facts["release"] = _word(found, "versions", "swarmlearning") or source.facts["release"]
    source.facts["system"] = ", ".join(
        each
        for each in (
            _word(found, "system", "os"),
            f"Python {_word(found, 'versions', 'Python')}" if _word(found, "versions", "Python") else "",
            _word(found, "container", "engine"),
        )
        if each
    )


def _word(report: Mapping[str, Any], *path: str) -> str:
    """A text at this place of a report; empty where there is none."""
    value: Any = report
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return displayed(value, 80) if isinstance(value, str) else ""


# --- what all see ---------------------------------------------------------------------------------------------------


async def add_ledger(archive: Archive, content: Content, operator: Operator, chain: Chain) -> None:
    """Adds the newest blocks as text and as a timeline, and what the SN states. Raises `CollectError`."""
    names, shared = node_names(chain.world), Source("the ledger")
    sns = [node.uid for node in network.nodes(chain.world) if node.type == "SN"]
    content.facts |= {
        "network": displayed(network.network(chain.world).name),
        "ID": chain.network_id,
        "height": str(chain.height),
        "asked through": f"SN {operator.client.address}",
    }
    blocks: deque[bytes] = deque()
    try:
        async with asyncio.timeout(LEDGER_SECONDS):
            async for raw in _newest(operator, chain):
                blocks.append(raw)
    except TimeoutError:
        shared.missing["ledger"] = f"only what came within {LEDGER_SECONDS:.0f} s"
    except (Unavailable, Refusal) as error:
        shared.missing["ledger"] = displayed(str(error), 300)
    chronicle, lines = await asyncio.to_thread(excerpt, blocks, names, sns)
    if blocks and sha256(blocks[-1]) != chain.hash:
        shared.missing["ledger"] = "the blocks that came are not those that were verified"
    content.chronicle = chronicle
    add_text(archive, shared, "ledger/blocks.txt", lines, f"the newest {len(blocks)} of {chain.height + 1} blocks")
    try:
        status = await operator.client.status()
        content.alerts = [str(alert) for alert in alerts_of(status, clock_ms()) if alert.severity != "info"]
        add_data(archive, shared, "ledger/status.json", status)
    except (Unavailable, Refusal) as error:
        shared.missing["status"] = displayed(str(error), 300)
    if left := [displayed(node.name) for node in network.nodes(chain.world) if node.left and node.type in KINDS]:
        more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
        shared.missing["nodes that have left"] = f"{', '.join(left[:MOST_NAMED])}{more}: their files lie at their sites"
    content.entries += shared.entries
    content.missing |= shared.missing


async def _newest(operator: Operator, chain: Chain) -> AsyncIterator[bytes]:
    """The newest blocks up to the verified one, as they come."""
    size, start = 0, max(0, chain.height + 1 - MOST_BLOCKS)
    blocks = operator.client.blocks(start)
    try:
        async for raw in blocks:
            size += len(raw)
            yield raw
            if size > MOST_BYTES or start >= chain.height:
                return
            start += 1
    finally:
        await blocks.aclose()

"""Logs of nodes, and of the pairs that SWOPs have started: read from the node itself, which decides who gets them."""

import shlex
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.taskrunner import taskrunners
from swarmlearning.ledger.world import World
from swarmlearning.node.sealing import Wanted
from swarmlearning.operator.acts import node
from swarmlearning.operator.logs import WithheldError, excerpt
from swarmlearning.operator.session import Operator
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.nodes import node_view

LINES: Final = 200
LONGEST_FAULT: Final = 1000
_KINDS: Final = ("SN", "SWOP", "SL")

Part: TypeAlias = Literal["NODE", "SL", "ML"]


class Source(msgspec.Struct, frozen=True):
    """A log that can be asked for: of a node, or of a `part` of a pair of the task of a taskrunner."""

    node: str
    name: str
    kind: str
    organisation: str
    state: str
    part: Part = "NODE"
    taskrunner: str = ""
    pair: int = 0


class Excerpt(msgspec.Struct, frozen=True):
    """A part of a log, safe to show. `cursor`: what the next one is asked for by; `more`: there is more at once;
    `lost`: some of it is missing before. `withheld`: the site does not give it, and says this; `fault`: it cannot be
    read now; `late`: the node has not answered yet."""

    text: str = ""
    cursor: str = ""
    more: bool = False
    lost: bool = False
    withheld: str = ""
    fault: str = ""
    late: bool = False


class LogsView(msgspec.Struct, frozen=True):
    """All logs, the one that is shown, and its newest lines; None where none was chosen."""

    sources: list[Source]
    shown: Source | None
    excerpt: Excerpt
    command: str


def log_sources(world: World) -> list[Source]:
    """The logs of all nodes that have not left, then those of the pairs of present tasks."""
    if world.get("network", network.Network) is None:
        return []
    known = [each for each in network.nodes(world) if each.type in _KINDS and not each.left]
    found = [_of_node(world, each) for each in known]
    found.sort(key=lambda each: (_KINDS.index(each.kind), len(each.name), each.name))
    return [*found, *_of_pairs(world)]


def chosen(sources: list[Source], uid: str, part: str, taskrunner: str, pair: int) -> Source | None:
    """The one of these that is meant."""
    wanted = (uid, part, taskrunner, pair)
    return next((each for each in sources if (each.node, each.part, each.taskrunner, each.pair) == wanted), None)


def command_of(source: Source) -> str:
    """What shows the same in a terminal."""
    if source.part == "NODE":
        return shlex.join(("swarm", "logs", source.node, "--follow"))
    pair = (f"--{source.part.lower()}", str(source.pair))
    return shlex.join(("swarm", "logs", source.node, "--taskrunner", source.taskrunner, *pair, "--follow"))


async def read(operator: Operator, source: Source, cursor: str, *, wait: bool) -> Excerpt:
    """The newest lines of a log, or with a cursor what has come since; `wait`: for some seconds until something has."""
    wanted = Wanted(source.part, source.taskrunner, source.pair, cursor, lines=LINES, wait=wait)
    try:
        found = await excerpt(operator, node(operator.chain.world, source.node), wanted)
    except WithheldError as error:
        return Excerpt(withheld=displayed(str(error), LONGEST_FAULT))
    except UserError as error:
        return Excerpt(fault=displayed(str(error), LONGEST_FAULT), cursor=cursor)
    return Excerpt(found.text, found.cursor, found.more, found.lost)


def _of_node(world: World, known: Node) -> Source:
    return Source(
        node=known.uid,
        name=node_names(world)[known.uid],
        kind=known.type,
        organisation=known.organisation,
        state=node_view(world, known).state,
    )


def _of_pairs(world: World) -> list[Source]:
    names, found = node_names(world), list[Source]()
    for runner in taskrunners(world):
        for peer in runner.peers if runner.assignment is not None else ():
            for pair in peer.reports:
                name = name_of(names, peer.uid)
                parts: tuple[Part, Part] = ("SL", "ML")
                found += [
                    Source(peer.uid, name, "SWOP", peer.organisation, pair.state, part, runner.name, pair.index)
                    for part in parts
                ]
    return found

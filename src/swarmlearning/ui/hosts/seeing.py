"""What a host is like now: its facts, its nodes, and the end of what each of these has written."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from swarmlearning.node.clocks import clock_ms
from swarmlearning.redaction import redacted
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, MachineError
from swarmlearning.ui.hosts.nodes import proper_name
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.running import NodeState, log, states
from swarmlearning.views.names import escaped

MOST_OUTPUT: Final = 24 * 1024
"""Bytes of a node's output."""
MOST_OUTPUTS: Final = 32
"""Nodes of a host whose output is read."""


class SeenHost(msgspec.Struct, frozen=True):
    """A host as it was at this time (Unix milliseconds): its facts, and its nodes."""

    at_ms: int
    facts: Facts
    nodes: tuple[NodeState, ...] = ()


class Sight(NamedTuple):
    """A host as it is, and by node (`SN-1`) the end of its output, safe to show and without secrets."""

    host: SeenHost
    outputs: Mapping[str, str]


async def see(machine: Machine, layout: Layout) -> Sight:
    """Looks at a host; nothing is changed there. Raises `MachineError`."""
    facts = await probe(machine, layout)
    nodes = await states(machine, layout)
    outputs: dict[str, str] = {}
    for node in nodes[:MOST_OUTPUTS]:
        name = proper_name(node.name)
        try:
            outputs[name] = safe_output(await log(machine, layout, name, MOST_OUTPUT))
        except MachineError as error:  # the other nodes have theirs
            outputs[name] = str(error)
    return Sight(SeenHost(clock_ms(), facts, nodes), outputs)


def safe_output(text: str) -> str:
    """What a node has written, as it may be shown: whole lines, without secrets and control characters."""
    if len(text) >= MOST_OUTPUT and "\n" in text:
        text = text.partition("\n")[2]
    return escaped(redacted(text), keep="\n\t")

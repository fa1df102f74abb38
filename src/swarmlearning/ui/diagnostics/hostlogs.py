"""What lies on a host that the UI reaches over SSH: its facts, its nodes, and what these have written."""

import asyncio
from typing import Final

import msgspec

from swarmlearning.collect.archive import Archive
from swarmlearning.collect.content import Source
from swarmlearning.collect.files import add_data, add_text
from swarmlearning.collect.network import Asking
from swarmlearning.node.facts import cleaned
from swarmlearning.redaction import redacted
from swarmlearning.ui.hosts.machine import Machine, MachineError
from swarmlearning.ui.hosts.nodes import proper_name
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.running import log, states
from swarmlearning.ui.hosts.works import Target
from swarmlearning.views.names import displayed, escaped

MOST_NODES: Final = 64
MOST_OUTPUT: Final = 8 * 10**6
"""Bytes of one node: all that its host keeps is not much more."""
LONGEST: Final = 500


async def add_host(archive: Archive, target: Target, number: int, address: str, asking: Asking) -> Source:
    """Adds what a host has, in a folder of this number; what cannot be read is said with the reason.

    Raises `CollectError`, and `UserError` for a host that cannot be reached.
    """
    source = Source(displayed(address), {"type": "host"})
    place = f"hosts/{number:02d}-{address}"
    async with target.open() as machine:
        facts = await probe(machine, target.layout)
        known = frozenset(asking.known)
        told = cleaned(msgspec.to_builtins(facts), known)
        await asyncio.to_thread(add_data, archive, source, f"{place}/host.json", told)
        source.facts["system"] = displayed(facts.system, 80)
        nodes = await states(machine, target.layout)
        await asyncio.to_thread(add_data, archive, source, f"{place}/nodes.json", msgspec.to_builtins(nodes))
        for node in nodes[:MOST_NODES]:
            await _add_output(archive, source, place, machine, target, proper_name(node.name), asking)
    return source


async def _add_output(
    archive: Archive, source: Source, place: str, machine: Machine, target: Target, name: str, asking: Asking
) -> None:
    try:
        text = await log(machine, target.layout, name, min(asking.node_bytes, MOST_OUTPUT))
    except MachineError as error:
        source.missing[name] = displayed(str(error), LONGEST)
        return
    clean = await asyncio.to_thread(redacted, text, asking.known)
    await asyncio.to_thread(add_text, archive, source, f"{place}/{name}.log", escaped(clean, keep="\n\t"))

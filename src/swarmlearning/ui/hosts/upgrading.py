"""Another version on a host with nodes: the former one stays until all nodes run under the new one, and comes back if
one does not. And the end of everything on a host."""

import asyncio
from collections.abc import Sequence

from swarmlearning.ui.hosts.bundle import Bundle
from swarmlearning.ui.hosts.installing import install, prune, remove, switch
from swarmlearning.ui.hosts.judging import Plan
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, MachineError
from swarmlearning.ui.hosts.nodes import proper_name
from swarmlearning.ui.hosts.progress import Tell
from swarmlearning.ui.hosts.running import NodeState, start, states, stop


async def upgrade(machine: Machine, bundle: Bundle, plan: Plan, tell: Tell) -> str:
    """Installs the bundle's version and restarts the nodes that run, one after another, under it. Repeating it goes on
    where one was interrupted.

    If one does not start, all run under the former version again. Returns the name of the version that is used. Raises
    `MachineError`, `BundleError`.
    """
    layout = plan.layout
    name = await install(machine, bundle, plan, tell)
    running = [each for each in await states(machine, layout) if each.state in ("running", "starting")]
    former = await switch(machine, layout, name)
    if former == name:  # also where an upgrade was interrupted, so that some nodes run under the version before still
        running = [each for each in running if each.version not in ("", name)]
        if not running:
            return name
        former = running[0].version
    try:
        await _restart(machine, layout, running, tell)
    except (MachineError, asyncio.CancelledError) as error:
        if not former:
            raise
        back = asyncio.ensure_future(_back(machine, layout, former, running, tell))
        await asyncio.shield(back)
        if isinstance(error, MachineError):
            raise MachineError(f"{error}. Its nodes run under {former} again, as before") from error
        raise
    await prune(machine, layout, name, former)
    return name


async def uninstall(machine: Machine, layout: Layout, tell: Tell, *, data: bool = False) -> None:
    """Stops the nodes of this installation, and removes what was installed; with `data` what nodes keep, too.

    Raises `MachineError`.
    """
    for node in await states(machine, layout):
        if node.state in ("running", "starting"):
            tell("stop", "running", node.name)
            await stop(machine, layout, proper_name(node.name))
    tell("stop", "done")
    await remove(machine, layout, tell, data=data)


async def _restart(machine: Machine, layout: Layout, nodes: Sequence[NodeState], tell: Tell) -> None:
    for number, node in enumerate(nodes):
        tell("restart", "running", node.name, number, len(nodes))
        await stop(machine, layout, proper_name(node.name))
        await start(machine, layout, proper_name(node.name), node.how)
    tell("restart", "done", "", len(nodes), len(nodes))


async def _back(machine: Machine, layout: Layout, former: str, nodes: Sequence[NodeState], tell: Tell) -> None:
    """All nodes under the former version, also those that were not touched yet: they are restarted in vain, and run."""
    tell("back", "running", former)
    await switch(machine, layout, former)
    await _restart(machine, layout, nodes, tell)
    tell("back", "done", former)

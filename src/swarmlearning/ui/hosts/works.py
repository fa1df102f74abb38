"""What is done on hosts that are known: look, install, remove, start and stop. Each is `Work` for a `HostsJob`, which
looks at the host afterwards, so that what is shown of it is true."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.bundle import Bundle, read_bundle
from swarmlearning.ui.hosts.hostkeys import HostKey
from swarmlearning.ui.hosts.judging import Plan, faults, judge
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, MachineError
from swarmlearning.ui.hosts.nodes import how_for
from swarmlearning.ui.hosts.progress import Tell, Work
from swarmlearning.ui.hosts.running import start, stop
from swarmlearning.ui.hosts.seeing import Sight, see
from swarmlearning.ui.hosts.ssh import look
from swarmlearning.ui.hosts.upgrading import uninstall, upgrade

_ORDER: Final = ("SN", "SWOP", "SL")
"""In which the nodes of a host start; they stop in the other one."""


@dataclass(frozen=True)
class Target:
    """A host to work on: how it is opened, and who is told what it is like then."""

    layout: Layout
    open: Callable[[], AbstractAsyncContextManager[Machine]]
    seen: Callable[[Sight], Awaitable[None]]


class SharedBundle:
    """The bundle in a folder, read and checked once for all hosts that need it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bundle: Bundle | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> Bundle:
        """The bundle. Raises `BundleError`."""
        async with self._lock:
            if self._bundle is None:
                self._bundle = await read_bundle(self._folder)
            return self._bundle


def shows_key(address: Address, shown: Callable[[HostKey], Awaitable[None]]) -> Work:
    """Asks a host for its key; nothing is sent to it."""

    async def work(tell: Tell) -> str:
        key = await look(address)
        await shown(key)
        return f"{key.algorithm} {key.fingerprint}"

    return work


def looked_at(target: Target) -> Work:
    """A look, which changes nothing there."""

    async def work(tell: Tell) -> str:
        tell("check", "running")
        async with target.open() as machine:
            sight = await _see(machine, target)
        tell("check", "done")
        facts, found = sight.host.facts, faults(judge(sight.host.facts, Plan(target.layout)))
        return "; ".join(each.text for each in found) or facts.system

    return work


def installed(target: Target, bundle: SharedBundle) -> Work:
    """Installs the bundle's version; nodes that run are restarted under it."""

    async def act(machine: Machine, tell: Tell) -> str:
        tell("bundle", "running")
        read = await bundle.read()
        tell("bundle", "done", read.version)
        return await upgrade(machine, read, Plan(target.layout), tell)

    return _then_seen(target, act)


def uninstalled(target: Target, *, data: bool) -> Work:
    """Removes the product; with `data` what nodes keep, too."""

    async def act(machine: Machine, tell: Tell) -> str:
        await uninstall(machine, target.layout, tell, data=data)
        return target.layout.prefix

    return _then_seen(target, act)


def started(target: Target, names: Sequence[str]) -> Work:
    """Starts nodes (`SN-1`) that were placed there; one that does not start keeps no other one from it."""

    async def act(machine: Machine, tell: Tell) -> str:
        how = how_for((await see(machine, target.layout)).host.facts)

        async def begin(name: str) -> None:
            await start(machine, target.layout, name, how)

        return await _each(sorted(names, key=_rank), "start", tell, begin)

    return _then_seen(target, act)


def stopped(target: Target, names: Sequence[str]) -> Work:
    """Stops nodes in good order."""

    async def act(machine: Machine, tell: Tell) -> str:
        async def end(name: str) -> None:
            await stop(machine, target.layout, name)

        return await _each(sorted(names, key=_rank, reverse=True), "stop", tell, end)

    return _then_seen(target, act)


async def _each(names: Sequence[str], step: str, tell: Tell, act: Callable[[str], Awaitable[None]]) -> str:
    """Acts on one after another; raises `MachineError` at the end, with all that has failed."""
    failed: list[str] = []
    for number, name in enumerate(names):
        tell(step, "running", name, number, len(names))
        try:
            await act(name)
        except MachineError as error:
            failed.append(str(error))
    if failed:
        tell(step, "failed", "", len(names) - len(failed), len(names))
        raise MachineError("; ".join(failed))
    tell(step, "done", "", len(names), len(names))
    return ", ".join(names)


def _then_seen(target: Target, act: Callable[[Machine, Tell], Awaitable[str]]) -> Work:
    async def work(tell: Tell) -> str:
        async with target.open() as machine:
            try:
                said = await act(machine, tell)
            except MachineError:
                with suppress(MachineError):
                    await _see(machine, target)
                raise
            await _see(machine, target)
            return said

    return work


async def _see(machine: Machine, target: Target) -> Sight:
    sight = await see(machine, target.layout)
    await target.seen(sight)
    return sight


def _rank(name: str) -> tuple[int, str]:
    role = name.partition("-")[0]
    return _ORDER.index(role) if role in _ORDER else len(_ORDER), name

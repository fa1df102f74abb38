"""A whole swarm on this machine for one script: an SN, and for each site an SL and a process of the script.

    SN ready ─▶ SLs ready ─▶ scripts ─▶ all scripts ended ─▶ SLs end by themselves ─▶ SN stopped ─▶ report

Every step waits for an event. A site that fails does not end the run while the others can still bring training to its
end (`outcome`); an SN that fails does.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.cli.laiddown import Travel, lay_down, require_used
from swarmlearning.cli.live import Screen, observe
from swarmlearning.cli.nodecommands import (
    bridge_command,
    bridge_environment,
    script_environment,
    sl_command,
    sn_command,
)
from swarmlearning.cli.outcome import SiteEnds, State, finished, obstacle, quitters, undecided
from swarmlearning.cli.runfolder import OBSERVER, RunFolder
from swarmlearning.identity.tls import client_context
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower, Pin
from swarmlearning.supervise.processes import Child, Processes, RunError, stop
from swarmlearning.supervise.readiness import SlFacts, SnFacts, start_node
from swarmlearning.views.training import main_contract

LEAVE_SECONDS = 60.0
CATCH_UP_SECONDS = 30.0
RETRY_SECONDS = 0.2
WHOLE = Travel()


class SitesFailed(RunError):
    """Sites have failed; the message is that of the first. `failures`: each in a few words, by site."""

    def __init__(self, failures: Mapping[str, RunError]) -> None:
        super().__init__(str(next(iter(failures.values()))))
        self.failures = {site: error.brief for site, error in failures.items()}


class SiteProcesses(NamedTuple):
    """The two processes of a site."""

    name: str
    sl: Child
    script: Child

    @property
    def ends(self) -> SiteEnds:
        """The states of both now."""
        return SiteEnds(self.name, _state(self.script), _state(self.sl))

    @property
    def sl_has_failed(self) -> bool:
        """True when its SL has ended, and not well."""
        return _state(self.sl) == "failed"


def _state(child: Child) -> State:
    if not child.end.done():
        return "running"
    return "failed" if child.failure() else "ended"


async def train(
    processes: Processes,
    folder: RunFolder,
    command: Sequence[str],
    count: int,
    screen: Screen,
    *,
    bridge: bool = False,
    travel: Travel = WHOLE,
) -> None:
    """Runs `command` at `count` sites until training is over and scripts and SLs have ended.

    The SN still runs then; the end of `processes` stops it. `screen` shows every newer state of the ledger, verified
    here. With `bridge` the scripts use the original's client. `travel`: as an operator lays it down. Raises `RunError`
    when training cannot come to its end, `SitesFailed` when it has without some sites, and `NodeError` when the ledger
    breaks its rules.
    """
    sn = await start_node(processes, "SN-1", sn_command(folder), lasting=True)
    sn_facts = await sn.ready(SnFacts)
    if travel.text:
        await lay_down(travel, folder, sn_facts.api, sn_facts.network)
    processes.next_wave()
    command_of = bridge_command if bridge else sl_command
    sls = [
        await start_node(processes, f"SL-{number}", command_of(folder, number, sn_facts.api))
        for number in range(1, count + 1)
    ]
    channels = [(await sl.ready(SlFacts)).channel for sl in sls]
    follower = Follower([sn_facts.api], client_context(folder.identity.identity(OBSERVER)), only(sn_facts.network))

    async def work() -> None:
        processes.next_wave()
        scripts = await _start_scripts(processes, folder, command, channels, bridge)
        sites = [SiteProcesses(one.name, sl.child, one) for sl, one in zip(sls, scripts, strict=True)]
        await see_out(processes, folder, sites, follower)

    try:
        beside = [follower.run(), observe(follower.chains(), screen), _lasts(sn.child)]
        if travel.text:
            beside.append(require_used(travel, follower.chains()))
        await with_beside(work(), *beside)
        screen.show(follower.chain)
    finally:
        await follower.close()


async def _start_scripts(
    processes: Processes, folder: RunFolder, command: Sequence[str], channels: Sequence[str], bridge: bool
) -> list[Child]:
    scripts = []
    for index, channel in enumerate(channels):
        variables = {**script_environment(folder, index, len(channels)), "SWARM_CHANNEL": channel}
        if bridge:
            variables |= bridge_environment(folder, index, len(channels))
        scripts.append(await processes.start(variables["SWARM_SITE"], command, variables))
    return scripts


async def see_out(processes: Processes, folder: RunFolder, sites: Sequence[SiteProcesses], follower: Follower) -> None:
    """Waits until all scripts have ended and, where they ended well, their SLs.

    Raises `SitesFailed` then if any site has failed, at once when too few are left for minPeers; and `RunError` when
    nobody has taken part.
    """
    failures = await _scripts_ended(processes, sites, follower)
    if not main_contract(follower.chain.world):
        raise (
            SitesFailed(failures)
            if failures
            else RunError(
                f"the scripts have ended, but none has taken part in the swarm: make a SwarmCallback in the script; "
                f"the logs are in {folder.logs}"
            )
        )
    leaving = [site.sl for site in sites if site.name not in failures and finished(follower.chain.world, site.name)]
    await _until_left(folder, leaving)
    await catch_up(follower)
    for site in sites:
        if site.sl in leaving and (failure := site.sl.failure()):
            failures[site.name] = _lost_sl(failure)
    if failures:
        raise SitesFailed(failures)


async def _scripts_ended(
    processes: Processes, sites: Sequence[SiteProcesses], follower: Follower
) -> dict[str, RunError]:
    """Waits for the end of all scripts. Raises `RunError` when training cannot come to its end any more."""
    known: list[SiteEnds] = []
    async with aclosing(follower.chains()) as chains:
        newer = asyncio.ensure_future(anext(chains))
        try:
            while True:
                ends = [site.ends for site in sites]
                if ends != known:
                    await catch_up(follower)  # so that the world is newer than these ends
                    known = ends
                world = follower.chain.world
                failures = _failures(processes, sites, quitters(world, ends))
                if reason := obstacle(world, ends):
                    raise SitesFailed(failures) if failures else RunError(reason)
                await stop([site.script for site in sites if site.sl_has_failed and not site.script.end.done()])
                pending = [end for site in sites for end in (site.script.end, site.sl.end) if not end.done()]
                if not any(site.script.end in pending for site in sites) and not undecided(world, ends):
                    return failures
                if newer.done():
                    newer = asyncio.ensure_future(anext(chains))
                await asyncio.wait({newer, *pending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            newer.cancel()
            await asyncio.gather(newer, return_exceptions=True)


def _failures(processes: Processes, sites: Sequence[SiteProcesses], quit_by: Mapping[str, str]) -> dict[str, RunError]:
    """By site, the first first: what fails later may fail because of it."""
    site_of = {child: site.name for site in sites for child in (site.sl, site.script)}
    found: dict[str, RunError] = {}
    for child in processes.in_order_of_end(site_of):
        name = site_of[child]
        if failure := child.failure():
            found.setdefault(name, failure if child.name == name else _lost_sl(failure))
        elif child.name == name and name in quit_by:
            found.setdefault(name, RunError(f"{name} {quit_by[name]}. Its log is {child.log}", quit_by[name]))
    return found


def _lost_sl(failure: RunError) -> RunError:
    return RunError(str(failure), f"lost its SL, which {failure.brief}")


async def _until_left(folder: RunFolder, sls: Sequence[Child]) -> None:
    if sls:
        await asyncio.wait([sl.end for sl in sls], timeout=LEAVE_SECONDS)
    if late := ", ".join(sl.name for sl in sls if not sl.end.done()):
        raise RunError(
            f"the scripts have ended, but {LEAVE_SECONDS:.0f} s later {late} not. Does every script call "
            f"on_train_end()? The logs are in {folder.logs}"
        )


async def catch_up(follower: Follower) -> None:
    """Waits until the follower has every block that the SN has now. Raises `RunError` when that takes too long."""
    failed: Exception | None = None
    try:
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while True:
                try:
                    await follower.reached((await follower.client.status())["height"])
                    return
                except (Unavailable, Refusal) as error:
                    failed = error
                    await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        raise RunError(f"cannot read the SN's chain height: {failed or 'its blocks do not come'}") from failed


def only(expected: str) -> Pin:
    """A follower's pin that refuses every network but this one."""

    def pin(found: str, name: str) -> None:
        if found != expected:
            raise NodeError(f"the SN serves network {name} ({found[:16]}), not the one it has founded for this run")

    return pin


async def with_beside(work: Coroutine[Any, Any, None], *beside: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end, with the endless others beside it; an error of any ends all."""
    tasks = [asyncio.create_task(each) for each in (work, *beside)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _lasts(sn: Child) -> None:
    """Runs without end. Raises `ProcessFailed` when the SN ends."""
    await sn.ended()
    if failure := sn.failure():
        raise failure

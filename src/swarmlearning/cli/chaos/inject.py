"""Carries out a schedule of faults: waits for the moment, strikes, and measures the time until the swarm recovers.

Each fault hits a swarm in good order: all sites there, and some rounds merged since the last fault. `recovery_s` is the
time from the fault to the first block after it with a merge that stands, as this process sees that block. For a leader
that is hit before it has published, that is the merge of the round it led; otherwise it is the next merge.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path

import msgspec

from swarmlearning.cli.chaos import sight
from swarmlearning.cli.chaos.plan import Fault
from swarmlearning.cli.chaos.swarm import ChaosSwarm, Part, Site
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.names import node_names
from swarmlearning.views.nodes import sl_names
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import main_contract, waiting

PATIENCE_SECONDS = 180.0
"""Seconds for a swarm to recover fully; longer than any fault of a ready plan lasts."""
ATTEMPTS = 20
"""Attempts at a fault that keeps coming too late."""


class Injected(msgspec.Struct, frozen=True):
    """A fault that has happened: to which site (empty: the SN), in which round. `too_late`: how many blows before it
    met a leader whose result was on its way already; they do not count."""

    fault: Fault
    site: str
    round: int
    recovery_s: float
    too_late: int

    @property
    def took_down(self) -> bool:
        """True when the site was out of the training."""
        return self.fault.kind in ("kill", "freeze", "partition")

    def __str__(self) -> str:
        fault = self.fault
        whom = f"{fault.target} {self.site}".rstrip()
        when = "" if fault.phase == "any" else f", {fault.phase}"
        what = f"{fault.number}: {fault.kind} of {whom} in round {self.round}{when}"
        return f"{what}: merged {self.recovery_s:.2f} s later"


class Injector:
    """Strikes `swarm`; `announce` gets a line for each fault."""

    def __init__(self, swarm: ChaosSwarm, announce: Callable[[str], None]) -> None:
        self._swarm = swarm
        self._announce = announce
        self._last = "the start"

    async def run(self, faults: Iterable[Fault]) -> list[Injected]:
        """Injects one fault after the other, until there are no more or training is over. Raises `RunError`."""
        done: list[Injected] = []
        for fault in faults:
            injected = await self._inject(fault)
            if injected is None:
                return done
            done.append(injected)
            self._last = f"fault {injected}"
            self._announce(str(injected))
        await self._until("in good order", self._in_good_order)
        return done

    async def _inject(self, fault: Fault) -> Injected | None:
        """The injected fault, None where training is over before."""
        for attempt in range(ATTEMPTS):
            before = await self._moment(fault)
            if before.over or before.round is None:
                return None
            began = asyncio.get_running_loop().time()
            uid = sight.chosen(before, fault)
            if await self._strike(fault, before, uid):
                after, seconds = await self._recover(fault, before, uid, began)
                if not sight.came_too_late(fault, before, after):
                    return Injected(fault, self._name(uid), before.round.number, round(seconds, 3), attempt)
        raise RunError(f"{fault.kind} of the {fault.target}, {fault.phase}: it came too late {ATTEMPTS} times")

    async def _moment(self, fault: Fault) -> Training:
        """The state in which to strike."""
        first = (await self._until("in good order", self._in_good_order)).rounds + fault.pause_rounds

        def ready(state: Training) -> bool:
            return state.rounds >= first and self._in_good_order(state) and sight.is_in(state, fault.phase)

        return await self._until(f"{fault.phase} in good order", ready)

    async def _recover(self, fault: Fault, before: Training, uid: str, began: float) -> tuple[Training, float]:
        """Ends the fault in its time; returns the state with the next merge, and the seconds until then."""
        ending = asyncio.create_task(self._end(fault, uid))
        try:
            after = await self._until("merged", lambda state: sight.is_newer(state.result, before.result))
            seconds = asyncio.get_running_loop().time() - began
            await ending
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        return after, seconds

    # --- a fault, and its end

    async def _strike(self, fault: Fault, state: Training, uid: str) -> bool:
        """Strikes; returns True when that has hit anything."""
        match fault.kind:
            case "kill":
                await self._part(fault, uid).kill()
            case "freeze":
                self._part(fault, uid).freeze()
            case "partition":
                self._site(uid).line.cut()
            case "slow-link":
                self._site(uid).line.slow_down(fault.mb_per_s * 1e6)
            case "corrupt-file":
                return flip_byte(self._site(uid).model(sight.model_of(state, uid)))
        return True

    async def _end(self, fault: Fault, uid: str) -> None:
        """Ends the fault after a while: killed processes are restarted, stopped ones go on."""
        if fault.kind == "corrupt-file":
            return
        await asyncio.sleep(fault.seconds)
        match fault.kind:
            case "kill":
                await self._part(fault, uid).start()
            case "freeze":
                self._part(fault, uid).thaw()
            case _:
                self._site(uid).line.mend()

    def _part(self, fault: Fault, uid: str) -> Part:
        if fault.target == "sn":
            return self._swarm.sn
        site = self._site(uid)
        return site.ml if fault.target == "ml" else site.sl

    def _site(self, uid: str) -> Site:
        name = self._name(uid)
        return next(site for site in self._swarm.sites if site.name == name)

    def _name(self, uid: str) -> str:
        return sl_names(self._chain.world).get(uid, "")

    # --- what the ledger shows

    @property
    def _chain(self) -> Chain:
        return self._swarm.follower.chain

    def _in_good_order(self, state: Training) -> bool:
        return sight.is_whole(state, len(self._swarm.sites))

    async def _until(self, what: str, reached: Callable[[Training], bool]) -> Training:
        """The first state that is so, or in which training is over. Raises `RunError` when that takes too long."""
        state = training(self._chain)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), aclosing(self._swarm.follower.chains()) as chains:
                async for chain in chains:
                    state = training(chain)
                    if state.over or reached(state):
                        return state
        except TimeoutError:
            waits = waiting_text(waiting(state), node_names(self._chain.world))
            raise RunError(
                f"{PATIENCE_SECONDS:.0f} s after {self._last} the swarm is not {what}: {waits}. "
                f"The logs are in {self._swarm.folder.logs}"
            ) from None
        raise AssertionError("the chain is followed without end")


def training(chain: Chain) -> Training:
    """The training of a run, as the chain shows it."""
    return state_of(chain.world, main_contract(chain.world))


def flip_byte(path: Path) -> bool:
    """Damages the middle of a file, as a disk might; returns True if the file exists."""
    try:
        with path.open("r+b") as file:
            middle = path.stat().st_size // 2
            file.seek(middle)
            byte = file.read(1)[0]
            file.seek(middle)
            file.write(bytes([byte ^ 1]))
    except FileNotFoundError:
        return False
    return True

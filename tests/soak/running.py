"""A soak at work: 3 SNs and 8 SLs that train without end, faults in lanes, and a look at the spared ones meanwhile."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import psutil

from soak.faults import LANES, SPARED, Fault, faults
from soak.watching import MEGABYTE, Sample, bytes_of, family, own_mb
from support.processes import Process
from support.sns import Network
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.cli.chaos.inject import flip_byte
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.node.follower import Follower
from swarmlearning.views.training import main_contract

SNS, SLS = 3, 8
MIN_PEERS = 5
"""So that rounds go on while one SL of each lane is down."""
FOREVER = 10**9
LOOKS = 360
END_SECONDS = 120.0
"""Within which all sites must contribute to one round after the last fault."""
CHAIN = ("chain.sqlite", "chain.sqlite-wal", "chain.sqlite-shm")


class SoakError(Exception):
    """The swarm has not survived; the message says what does not work."""


class Soak:
    """One soak. `samples`, and `struck`: how often each kind of fault came."""

    def __init__(self, net: Network, seed: int, pace_s: float, rest_s: float, kilobytes: int) -> None:
        self.samples: list[Sample] = []
        self.struck = Counter[str]()
        self.begin = monotonic()
        self._net = net
        self._seed = seed
        self._rest_s = rest_s
        size = kilobytes * 1000 // 32
        options = {"rounds": FOREVER, "min-peers": MIN_PEERS, "pace": pace_s, "size": size}
        self._ml = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._nodes: dict[str, Process] = {}
        self._down = set[str]()

    async def run(self, seconds: float) -> None:
        """Raises `SoakError` when the swarm does not survive."""
        await asyncio.to_thread(self._start_all)
        async with self._observer() as observer:
            await self._whole_round(observer)
            self.begin = monotonic()
            await self._disturb(seconds)
            self._note("the last fault is over")
            await self._whole_round(observer)
            await self._look()

    def stop(self) -> None:
        """Ends all nodes in good order, SLs first."""
        for name in sorted(self._nodes):
            self._nodes[name].signal(signal.SIGTERM)
        for name in sorted(self._nodes):
            self._nodes[name].wait()

    # --- the swarm --------------------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        for number, sn in enumerate(self._net.found(SNS), start=1):
            self._nodes[f"SN-{number}"] = sn
        for number in range(1, SLS + 1):
            self._start(f"SL-{number}")
        for node in list(self._nodes.values()):
            assert node.ready

    def _start(self, name: str) -> None:
        kind, _, number = name.partition("-")
        index = int(number)
        if kind == "SN":
            self._nodes[name] = self._net.start(index)
        else:
            self._nodes[name] = self._net.start_site(index, "--index", number, *self._ml, at=1 + index % SNS)

    @asynccontextmanager
    async def _observer(self) -> AsyncIterator[Follower]:
        """A verified chain beside the nodes'."""
        addresses = [self._net.api(number) for number in range(1, SNS + 1)]
        follower = Follower(addresses, client_context(self._net.identities["SL-1"]), lambda network_id, name: None)
        following = asyncio.create_task(follower.run())
        try:
            yield follower
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await follower.close()

    async def _whole_round(self, observer: Follower) -> None:
        """Until a round that begins from now on has models of all sites. Raises `SoakError`."""
        after: int | None = None
        state: Training | None = None
        try:
            async with asyncio.timeout(END_SECONDS):
                async for chain in observer.chains():
                    state = _training(chain)
                    if state is None or state.round is None:
                        continue
                    after = state.round.number if after is None else after
                    if state.round.number > after and len(state.round.submissions) == SLS:
                        return
        except TimeoutError:
            raise SoakError(f"no round with all {SLS} sites within {END_SECONDS:.0f} s: {state}") from None

    # --- the faults -------------------------------------------------------------------------------------------------

    async def _disturb(self, seconds: float) -> None:
        """Faults in all lanes for so long, each with its end; samples meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            lanes = [tasks.create_task(self._lane(lane, self.begin + seconds)) for lane in LANES]
            watching = tasks.create_task(self._watch(max(1.0, seconds / LOOKS)))
            await asyncio.wait(lanes)
            watching.cancel()

    async def _lane(self, lane: str, end: float) -> None:
        for fault in faults(lane, self._seed, self._rest_s):
            if monotonic() + fault.rest_s > end:
                return
            await asyncio.sleep(fault.rest_s)
            self._require_all()
            await self._strike(fault)

    async def _strike(self, fault: Fault) -> None:
        node = self._nodes[fault.node]
        self.struck[fault.kind] += 1
        self._note(f"{fault.node} {fault.kind}")
        if fault.kind == "damage":
            damage(self._net.directory / fault.node.lower() / "models")
        elif fault.kind == "freeze":
            node.freeze()
            await asyncio.sleep(fault.seconds)
            node.thaw()
        else:
            self._down.add(fault.node)
            await asyncio.to_thread(node.kill if fault.kind == "kill" else node.stop)
            await asyncio.sleep(fault.seconds)
            self._start(fault.node)
            await asyncio.to_thread(lambda: self._nodes[fault.node].ready)
            self._down.remove(fault.node)

    def _require_all(self) -> None:
        """Raises `SoakError` when a node has ended that nobody has ended."""
        for name in self._nodes.keys() - self._down:
            if not self._nodes[name].running:
                raise SoakError(f"{name} has ended by itself:\n{self._nodes[name].output[-2000:]}")

    # --- what is seen -----------------------------------------------------------------------------------------------

    async def _watch(self, pause: float) -> None:
        while True:
            await self._look()
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        memory, descriptors, cpu = dict[str, float](), dict[str, int](), dict[str, float]()
        for name in SPARED:
            for part, process in family(name, self._nodes[name].pid):
                with suppress(psutil.NoSuchProcess, FileNotFoundError):
                    memory[part] = round(own_mb(process), 2)
                    descriptors[part] = process.num_fds()
                    spent = process.cpu_times()
                    cpu[part] = round(spent.user + spent.system, 2)
        answer_ms, height = await self._answer()
        disk, chain = await asyncio.to_thread(self._disk)
        self.samples.append(
            Sample(
                at_s=round(monotonic() - self.begin, 1),
                memory_mb=memory,
                descriptors=descriptors,
                cpu_s=cpu,
                disk_mb=disk,
                chain_mb=chain,
                height=height,
                answer_ms=answer_ms,
                load=round(os.getloadavg()[0], 2),
            )
        )

    async def _answer(self) -> tuple[float, int]:
        """The milliseconds that SN-1, which is spared, takes to answer, and its height. Raises `SoakError`."""
        async with SnClient(self._net.api(1), client_context(self._net.identities["SL-1"])) as client:
            try:
                await client.clock()  # the connection is made
                begin = monotonic()
                status = await client.status()
            except Unavailable as error:
                raise SoakError(str(error)) from error
            return round((monotonic() - begin) * 1000, 2), int(status["height"])

    def _disk(self) -> tuple[dict[str, float], float]:
        """Megabytes of each kind of node without the chains, and of SN-1's chain."""
        places = {"SNs": [f"sn-{n}" for n in range(1, SNS + 1)], "SLs": [f"sl-{n}" for n in range(1, SLS + 1)]}
        used = {
            kind: round(sum(bytes_of(self._net.directory / name, CHAIN) for name in names) / MEGABYTE, 2)
            for kind, names in places.items()
        }
        chain = self._net.directory / "sn-1" / CHAIN[0]
        return used, round(chain.stat().st_size / MEGABYTE, 3)

    def _note(self, what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {monotonic() - self.begin:7.1f} s  {what}", flush=True)


def damage(models: Path) -> None:
    """Flips a byte of one of the models there."""
    found = sorted(models.glob("*.safetensors"))
    if found:
        flip_byte(random.choice(found))


def _training(chain: Chain) -> Training | None:
    return state_of(chain.world, main_contract(chain.world)) if chain.height > 0 else None

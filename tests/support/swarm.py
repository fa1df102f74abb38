"""A whole swarm of real processes for tests: one SN, SLs with ML stand-ins, certificates, and what can be seen."""

import asyncio
import os
import select
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from support.certs import make_workspace
from support.ml import CONTRACT
from support.processes import Process, Processes, nodes, nodes_interpreter
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file

ML = Path(__file__).with_name("ml.py")
SECONDS = 150.0
"""Until what a test waits for must have happened, on a machine under heavy load."""
PAUSE = 0.05

T = TypeVar("T")


class Gate:
    """The points where ML stand-ins wait (`--hold-at N`) until they are let through, one by one."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._end = os.open(path, os.O_RDWR)

    def let(self, count: int = 1) -> None:
        """`count` of those who wait, or will come, may go on."""
        os.write(self._end, b"." * count)

    def wait(self) -> None:
        """The other way round: until somebody has written a byte."""
        assert select.select([self._end], [], [], SECONDS)[0], f"nobody came to {self.path}"
        os.read(self._end, 1)

    def close(self) -> None:
        os.close(self._end)


class Swarm:
    """Files below `directory`; `identities` by certificate name (SN-1, SL-1, …), made when not given."""

    def __init__(
        self, processes: Processes, directory: Path, identities: dict[str, Identity] | None = None, name: str = "swarm"
    ) -> None:
        self.processes = processes
        self.directory = directory
        self.identities = identities or make_workspace(directory / "cert", ["SN-1", "SL-1", "SL-2", "SL-3"])
        self.name = name
        self.sn: Process

    # --- its processes ----------------------------------------------------------------------------------------------

    def start_sn(self, *flags: str, port: int = 0, within: Sequence[str] = (), **changes: str | Path) -> Process:
        """Starts the SN, or starts it again with the same data, by the command `within`; `changes` are options."""
        options = {
            "host-ip": "127.0.0.1",
            "sn-api-port": str(port),
            "network-name": self.name,
            "ordering": "local",
            "data-dir": self.directory / "sn",
            **identity_options(self.identities["SN-1"]),
            **_named(changes),
        }
        self.sn = self.processes.node(f"{self.name}-SN", "sn", options, flags or ["--sentinel"], within=within)
        return self.sn

    def start_sl(
        self,
        index: int,
        *ml: str,
        identity: str = "",
        environment: Mapping[str, str] | None = None,
        **changes: str | Path,
    ) -> Process:
        """Starts SL number `index`, with an ML stand-in if there are arguments `ml` for one; `changes` are options."""
        options = self.sl_options(index, identity, **changes)
        script = self.forked_script(index, ml) if ml else ()
        return self.processes.node(f"SL-{index}", "sl", options, ml=script, environment=environment)

    def sl_options(self, index: int, identity: str = "", **changes: str | Path) -> dict[str, str | Path]:
        """The options of SL number `index`; `changes` by option names with underscores."""
        return {
            "host-ip": "127.0.0.1",
            "sn-ip": "127.0.0.1",
            "sn-api-port": self.address.rpartition(":")[2],
            "sl-fs-port": "0",
            "node-name": f"site-{index}",
            "data-dir": self.directory / f"sl-{index}",
            **identity_options(self.identities[identity or f"SL-{index}"]),
            **_named(changes),
        }

    def train(self, index: int, sl: Process, *ml: str) -> Process:
        """Starts an ML stand-in by hand beside a running SL."""
        return self.processes.start(
            f"ML-{index}", *self.forked_script(index, ml), environment={"SWARM_CHANNEL": sl.ready["channel"]}
        )

    def start_sites(self, *ml: str, count: int = 3) -> list[Process]:
        """`count` SLs with an ML stand-in each."""
        return [self.start_sl(index, *(ml or ("--rounds", "2"))) for index in range(1, count + 1)]

    def script(self, index: int, ml: Sequence[str]) -> list[str | Path]:
        """The command of an ML stand-in."""
        return [sys.executable, ML, "--index", str(index), *ml]

    def forked_script(self, index: int, ml: Sequence[str]) -> list[str | Path]:
        """The same, forked where nodes are, by a process that stands in for it: most of its start is imports."""
        if not nodes().can_start({}):
            return self.script(index, ml)
        return [nodes_interpreter(self.directory), *self.script(index, ml)[1:]]

    # --- what can be seen of it -------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The SN's API, `host:port`; the same after a restart on the same port."""
        return self.sn.ready["api"]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def ask(self, question: Callable[[SnClient], Awaitable[T]], node: str = "SL-1") -> T:
        """Sends a request to the SN with a node's certificate."""

        async def asked() -> T:
            async with SnClient(self.address, client_context(self.identities[node])) as client:
                return await question(client)

        return run(asked())

    def status(self) -> dict[str, Any]:
        return self.ask(lambda client: client.status())

    def until(self, reached: Callable[[Training], bool], contract: str = CONTRACT) -> Training:
        """Follows the chain until the training is `reached`."""
        return self.training(self.until_chain(lambda chain: reached(self.training(chain, contract))), contract)

    def until_chain(self, reached: Callable[[Chain], bool]) -> Chain:
        async def follow(client: SnClient) -> Chain:
            async for chain in growing(client):
                if reached(chain):
                    break
            return chain

        return self.ask(follow)

    @staticmethod
    def training(chain: Chain, contract: str = CONTRACT) -> Training:
        return state_of(chain.world, contract)

    def chain(self) -> Chain:
        """The SN's chain file, replayed from block 0 with every check; no block of it is void."""
        walked = list(steps(read_chain_file(self.directory / "sn" / "chain.sqlite")))
        assert [step.void for step in walked if step.void is not None] == []
        return walked[-1].chain


async def growing(client: SnClient) -> AsyncIterator[Chain]:
    """The chain after each block, without an end. Where an SN is too busy to go on in time, its client asks again."""
    chain = Chain()
    while True:
        with suppress(Unavailable):
            async for raw in client.blocks(chain.height + 1):
                chain = chain.append(raw).chain
                yield chain
        await asyncio.sleep(PAUSE)


def has_models(count: int, number: int) -> Callable[[Training], bool]:
    """Round `number` is in progress and has `count` models."""

    def reached(state: Training) -> bool:
        return state.round is not None and state.round.number == number and len(state.round.submissions) == count

    return reached


def assert_complete(sites: list[Process]) -> None:
    """All have ended with 0, and with the same model."""
    for site in sites:
        assert site.wait() == 0, f"{site.name}\n{site.output}"
    assert len({digest(site) for site in sites}) == 1


def digest(process: Process) -> str:
    """The digest of the model that an ML stand-in ended with."""
    found = [line.removeprefix("DIGEST ") for line in process.output.splitlines() if line.startswith("DIGEST ")]
    assert len(found) == 1, f"{process.name} has printed {len(found)} digests\n{process.output}"
    return found[0]


def identity_options(identity: Identity) -> dict[str, str | Path]:
    """The options for a node's identity: its agent, or its certificate, whose CAs are in the folder beside it."""
    if identity.bundles:
        return {"socket-path": identity.cert_path}
    return {
        "cert": identity.cert_path,
        "key": identity.key_path,
        "capath": identity.cert_path.parent / "ca" / "capath",
    }


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine, at most as long as a test waits for anything."""

    async def bounded() -> T:
        async with asyncio.timeout(SECONDS):
            return await work

    return asyncio.run(bounded())


def _named(changes: dict[str, str | Path]) -> dict[str, str | Path]:
    return {name.replace("_", "-"): value for name, value in changes.items()}

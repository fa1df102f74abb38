"""A swarm with several SNs, by real processes and real etcd members; any of them may be killed and started again."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from support.certs import make_workspace
from support.local_sn import member
from support.ports import fixed_port
from support.processes import COMMAND, Process, Processes
from support.swarm import PAUSE, SECONDS, Swarm, growing, identity_options, run
from support.uids import uid
from swarmlearning.address import join
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.channel.address import short_path
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.block import Header
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.history import steps
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ordering.etcd.gateway import Gateway
from swarmlearning.ordering.etcd.member import CLIENT_SOCKET
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.ordering.protocols import UnavailableError

MOST = 5


class Hosts(Protocol):
    """The places where nodes run: host `n` is that of SN `n` and the SLs beside it."""

    def address(self, host: int) -> str:
        """Its IP address."""
        ...

    def command(self, host: int) -> Sequence[str]:
        """Returns the command prefix with which a command runs there."""
        ...


class ThisHost:
    """All of them are this machine."""

    def __init__(self, loopback: str = "127.0.0.1") -> None:
        self._loopback = loopback

    def address(self, host: int) -> str:
        """The loopback address."""
        return self._loopback

    def command(self, host: int) -> Sequence[str]:
        """Nothing is needed."""
        return ()


class Network(Swarm):
    """SNs 1 to 5, each with ports that it keeps, and SLs 1 to 4, or to `sls`."""

    def __init__(self, processes: Processes, directory: Path, hosts: Hosts | None = None, sls: int = 4) -> None:
        numbers = range(1, MOST + 1)
        names = [*(f"SN-{number}" for number in numbers), *(f"SL-{number}" for number in range(1, sls + 1))]
        super().__init__(processes, directory, make_workspace(directory / "cert", names))
        self.hosts = hosts or ThisHost()
        self.ports = {number: fixed_port() for number in numbers}
        self.p2p_ports = {number: fixed_port() for number in numbers}
        self.sns: dict[int, Process] = {}

    # --- its processes ----------------------------------------------------------------------------------------------

    def start(self, number: int, *, through: int = 0, ordering: str = "etcd", witness: bool = False) -> Process:
        """Starts SN `number`, or starts it again; the first founds the network, the others join by SN `through`."""
        options: dict[str, str | Path] = {
            "node-name": f"SN-{number}",
            "network-name": self.name,
            "ordering": ordering,
            "data-dir": self.directory / f"sn-{number}",
            **self.place(number),
            **(self.sentinel(through) if through else {}),
            **identity_options(self.identities[f"SN-{number}"]),
        }
        flags = [*([] if through else ["--sentinel"]), *(["--witness"] if witness else [])]
        sn = self.processes.node(f"SN-{number}", "sn", options, flags, within=self.hosts.command(number))
        self.sns[number] = sn
        if number == 1:
            self.sn = sn
        return sn

    def operate(self, number: int, act: str, *flags: str) -> Process:
        """`swarm sn ACT` on the data directory of SN `number`, which has been stopped."""
        identity = identity_options(self.identities[f"SN-{number}"])
        words = [word for option, value in identity.items() for word in (f"--{option}", value)]
        place = self.directory / f"sn-{number}"
        return self.processes.start(f"{act}-{number}", *COMMAND, "sn", act, "--data-dir", place, *words, *flags)

    def place(self, number: int) -> dict[str, str]:
        """Returns the options that state where SN `number` is."""
        return {
            "host-ip": self.hosts.address(number),
            "sn-api-port": str(self.ports[number]),
            "sn-p2p-port": str(self.p2p_ports[number]),
        }

    def sentinel(self, number: int) -> dict[str, str]:
        """Returns the options for joining through SN `number`."""
        return {"sentinel-ip": self.hosts.address(number), "sentinel-api-port": str(self.ports[number])}

    def found(self, count: int) -> list[Process]:
        """`count` SNs that all vote, but for a fourth: voters are kept odd."""
        sns = [self.start(1)]
        assert sns[0].ready
        for number in range(2, count + 1):
            sns.append(self.start(number, through=number - 1))
            assert sns[-1].ready
        voters = 3 if count == 4 else count
        self.until_status(1, lambda status: status["fault_tolerance"].startswith(f"{voters} voter"))
        return sns

    def start_site(self, index: int, *ml: str, at: int = 1) -> Process:
        """Starts SL `index` with an ML stand-in on the host of SN `at`, the SN that it is given."""
        host = self.hosts.address(at)
        options = self.sl_options(index, host_ip=host, sn_ip=host, sn_api_port=str(self.ports[at]))
        within = self.hosts.command(at)
        script = self.script(index, ml) if within else self.forked_script(index, ml)
        return self.processes.node(f"SL-{index}", "sl", options, ml=script, within=within)

    def kill_sns(self) -> None:
        """All of them at once."""
        for sn in self.sns.values():
            sn.kill()

    # --- what can be seen of it -------------------------------------------------------------------------------------

    def api(self, number: int) -> str:
        """The address of SN `number`'s API."""
        return join(self.hosts.address(number), self.ports[number])

    def until_status(self, number: int, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Returns the status that SN `number` shows once it is `reached`."""
        return run(self.status_once(number, reached))

    async def status_once(self, number: int, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The same inside an event loop, and without a deadline."""
        async with SnClient(self.api(number), client_context(self.identities["SL-1"])) as client:
            while True:
                try:
                    status = await client.status()
                except Unavailable:
                    status = None
                if status is not None and reached(status):
                    return status
                await asyncio.sleep(PAUSE)

    def until_training(self, number: int, reached: Callable[[Training], bool]) -> None:
        """Follows the chain at SN `number` until the training is `reached`.

        Fails with the state in which it is after too long.
        """
        chain = Chain()

        async def follow() -> None:
            nonlocal chain
            async with SnClient(self.api(number), client_context(self.identities["SL-1"])) as client:
                async for chain in growing(client):
                    if reached(self.training(chain)):
                        return

        try:
            run(follow())
        except TimeoutError:
            raise AssertionError(f"SN {number}, height {chain.height}: {self.training(chain)}") from None

    def write(self, number: int, name: str = "client") -> str:
        """A transaction of the node `name`, which SN `number` has registered, not offered to anybody yet."""

        async def written() -> str:
            async with member(self.api(number), self.identities["SL-1"], uid=uid(name)) as client:
                await client.register()
                await client.catch_up()
                return client.write(Announce({"fs": "127.0.0.1:1"})).raw

        return run(written())

    def offer(self, number: int, raw: str, seconds: float = SECONDS) -> int | None:
        """Returns the height at which SN `number` shows the transaction; None if it does not within that time."""

        async def offered() -> int | None:
            async with SnClient(self.api(number), client_context(self.identities["SL-1"])) as client:
                offer = asyncio.ensure_future(client.submit(raw))
                await asyncio.wait((offer,), timeout=seconds)
            offer.cancel()
            await asyncio.wait((offer,))
            return None if offer.cancelled() or isinstance(offer.exception(), Unavailable) else offer.result()

        return run(offered())

    def leader(self) -> int:
        """The SN whose etcd member leads."""

        async def find() -> int:
            while True:
                for number in self.sns:
                    if await self._leads(number):
                        return number
                await asyncio.sleep(PAUSE)

        return run(find())

    async def _leads(self, number: int) -> bool:
        with short_path(self.directory / f"sn-{number}" / "etcd" / CLIENT_SOCKET) as socket:
            gateway = Gateway(Path(socket))
            try:
                status = await gateway.status()
            except UnavailableError:
                return False
            finally:
                await gateway.close()
        return bool(status.get("leader") == status["header"]["member_id"])

    def height(self, number: int) -> int:
        return int(self.until_status(number, lambda status: True)["height"])

    def blocks(self, number: int) -> list[bytes]:
        """The chain file of a stopped or running SN."""
        return read_chain_file(self.directory / f"sn-{number}" / "chain.sqlite")

    def verified(self, number: int) -> list[Step]:
        """The same, replayed from block 0 with every check; no block of it is void."""
        walked = list(steps(self.blocks(number)))
        assert [step.void for step in walked if step.void is not None] == []
        return walked

    def transactions(self, number: int) -> list[tuple[Header, SignedTransaction]]:
        """Returns all that is on the verified chain of SN `number`, each with the header of its block."""
        found = [step.block for step in self.verified(number)]
        return [(block.header, signed) for block in found for signed in block.transactions]

    def assert_one_chain(self, *numbers: int) -> None:
        """All these SNs come to the same height, and have the same blocks, which hold."""
        top = max(self.height(number) for number in numbers)
        for number in numbers:
            self.until_status(number, lambda status: status["height"] >= top)
        chains = [self.blocks(number)[: top + 1] for number in numbers]
        assert all(chain == chains[0] for chain in chains)
        assert self.verified(numbers[0])

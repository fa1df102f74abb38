"""A swarm behind thin links: every site is an SL and a participant on a host of its own, the SN on one more.

Hosts are network namespaces. The SN's link is fast, those of the sites are as told. Programs are forked from one that
has imported their modules, so that sixteen sites start in seconds and share the memory of what they have in common.
"""

import asyncio
import contextlib
import os
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from launch import Linked, hear, make_identities, numbered, start, start_node
from linkrow import MEGABYTE, Link
from participant import Done
from support.forking import SWARM, Server
from support.namespaces import Namespaces
from support.thinlinks import ThinLinks
from swarmlearning.choices import MergeMethod, Transfer, TransferBack
from swarmlearning.identity.source import Latest
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.block import read_header
from swarmlearning.ledger.bodies import CreateContract, Publish
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.operator.acts import create_contract
from swarmlearning.operator.session import acting
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.supervise.processes import Processes, RunError

PARTICIPANT = str(Path(__file__).with_name("participant.py"))
OPERATOR = "SWCI-1"
CODED = "coded"
"""The contract of a swarm whose changes are coded."""
STAR = {"SL_SLICES": "never"}
"""What an SL's environment says so that one site merges alone, where slices would be chosen."""
SLICE = "Sliced"
RESULT = Publish.__name__
"""The transactions by which a merger states its slice, and by which a leader states the result, by their names: so the
same benchmark measures a swarm that knows no slices."""


@dataclass(frozen=True)
class Network:
    """Hosts 1 to N for the sites, and N + 1 for the SN. `python`: an interpreter whose swarm programs are forked."""

    hosts: Namespaces
    links: ThinLinks
    sites: int
    python: str

    @property
    def sn(self) -> int:
        """The host of the SN."""
        return self.sites + 1

    def cpu_seconds(self) -> float:
        """CPU time, so far, of all that runs on the hosts."""
        return sum(map(_spent, (pid for host in range(1, self.sn + 1) for pid in self.links.processes(host))))


def _spent(pid: int) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


@contextlib.contextmanager
def network(folder: Path, links: Sequence[Link], rtt_ms: float = 0.0, loss: float = 0.0) -> Iterator[Network]:
    """Makes hosts with these links, one a site; programs can be forked on them until the block ends. Raises OSError
    where this machine cannot make such a link."""
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(Namespaces(len(links) + 1))
        made = ThinLinks(hosts)
        if rtt_ms:  # four times over a link, there and back
            stack.enter_context(made.longer(range(1, len(links) + 2), rtt_ms / 1000 / 4))
        for host, link in enumerate(links, start=1):
            made.limit(host, *link)
            if loss:
                made.lose(host, loss)
        server = stack.enter_context(Server(os.environ))
        python = server.interpreter(folder / "python")
        yield Network(hosts, made, len(links), str(python))


@dataclass(frozen=True)
class Site:
    """A site: its host's number, its SL and its participant."""

    number: int
    sl: Linked
    participant: Linked

    @property
    def name(self) -> str:
        return f"SL-{self.number}"


class LinkSwarm:
    """A swarm that is ready for its first round. `sites`: those that live."""

    def __init__(self, processes: Processes, sites: Sequence[Site], api: str, chain: Path) -> None:
        self.sites = list(sites)
        self.api = api
        self._processes = processes
        self._chain = chain

    async def rounds(self, count: int) -> list[list[Done]]:
        """Runs so many rounds in a row and returns each site's times. Raises `RunError`."""
        return [await self._round() for _ in range(count)]

    async def _round(self) -> list[Done]:
        self.begin(self.sites)
        return await self.done(self.sites)

    def begin(self, sites: Iterable[Site]) -> None:
        """Lets these sites hand their models over."""
        for site in sites:
            site.participant.writer.write(b"begin\n")

    async def done(self, sites: Sequence[Site]) -> list[Done]:
        """Waits until each of these sites has the merged model. Raises `RunError`, also where they differ."""
        done = await asyncio.gather(*map(self.one_done, sites))
        if len({one.sample for one in done}) > 1:
            raise RunError(f"the sites hold different models after a round: {done}")
        return done

    async def one_done(self, site: Site) -> Done:
        """The same for one site."""
        return msgspec.json.decode(await hear(self._processes, site.participant), type=Done)

    async def kill(self, site: Site) -> None:
        """SIGKILL of a site's SL and participant."""
        self.sites.remove(site)
        for linked in (site.sl, site.participant):
            await self._processes.sacrifice(linked.child)
            linked.writer.close()

    def transactions(self) -> list[SignedTransaction]:
        """All that is on the ledger, in its order."""
        raw = read_chain_file(self._chain)
        return [signed for block in raw for signed in RULES[read_header(block).rules_version].read(block).transactions]


@contextlib.asynccontextmanager
async def link_swarm(
    processes: Processes,
    made: Network,
    folder: Path,
    identities: Workspace,
    model: Sequence[str],
    environment: Mapping[str, str],
    transfer: Transfer = "float32",
    back: TransferBack = "float32",
) -> AsyncIterator[LinkSwarm]:
    """Starts a swarm on these hosts; `model`: options of its participants; `transfer`: how their changes are coded, and
    on the way `back` what was merged. Raises `RunError` when a process fails."""
    sn = await start_node(
        processes,
        folder,
        identities,
        "SN-1",
        ["sn", "--sentinel", "--sn-api-port", "0", "--ordering", "local"],
        [*made.hosts.command(made.sn), made.python, "-m", SWARM],
        made.hosts.address(made.sn),
    )
    api: str = msgspec.json.decode(await hear(processes, sn))["api"]
    port = api.rpartition(":")[2]
    options = ["sl", "--sn-ip", made.hosts.address(made.sn), "--sn-api-port", port, "--sl-fs-port", "0"]
    if not transfer == back == "float32":
        await _create_contract(f"{made.hosts.address(made.sn)}:{port}", identities, folder, transfer, back)
        model = [*model, "--contract", CODED]
    processes.next_wave()

    async def site(number: int) -> Site:
        host = made.hosts.command(number)
        variables = [f"{name}={value}" for name, value in environment.items()]
        node = ["env", *variables, *host, made.python, "-m", SWARM]
        address = made.hosts.address(number)
        sl = await start_node(processes, folder, identities, f"SL-{number}", options, node, address)
        channel = msgspec.json.decode(await hear(processes, sl))["channel"]
        script = [*host, made.python, PARTICIPANT, *model, "--channel", channel, "--seed", str(number)]
        participant = await start(processes, f"ML-{number}", script)
        await hear(processes, participant)
        return Site(number, sl, participant)

    sites = await asyncio.gather(*map(site, range(1, made.sites + 1)))
    swarm = LinkSwarm(processes, sites, f"{made.hosts.address(made.sn)}:{port}", folder / "SN-1" / CHAIN_FILE)
    try:
        yield swarm
    finally:
        for one in swarm.sites:
            one.participant.writer.close()
            one.sl.writer.close()
        sn.writer.close()


async def _create_contract(
    api: str, identities: Workspace, folder: Path, transfer: Transfer, back: TransferBack
) -> None:
    source = Latest(identities.identity(OPERATOR))
    async with acting(api, source, folder / "operator") as operator:
        body = CreateContract(shared=True, transfer=transfer, transfer_back=back)
        await operator.perform(create_contract(operator.chain.world, CODED, body))


def identities_for(folder: Path, sites: int) -> Workspace:
    """Certificates of one CA for all nodes, and for an operator."""
    return make_identities(folder, ["SN-1", OPERATOR, *numbered("SL", sites)])


def participant_options(peers: int, mb: int, method: MergeMethod = "mean") -> list[str]:
    """For participants with a model of `mb` megabytes, whose rounds need `peers` sites."""
    return ["--peers", str(peers), "--size", str(mb * MEGABYTE), "--method", method]


def mergers(transactions: Sequence[SignedTransaction]) -> int:
    """The number of sites that merged a round, as the ledger states it: median over the rounds."""
    slices, results = (_senders(transactions, kind) for kind in (SLICE, RESULT))
    return round(statistics.median(len(slices.get(number, who)) for number, who in results.items()))


def _senders(transactions: Sequence[SignedTransaction], kind: str) -> dict[int, set[str]]:
    """By round, who has sent a transaction of this kind."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for signed in transactions:
        if signed.kind == kind:
            found[getattr(signed.content.body, "round")].add(signed.content.sender)  # noqa: B009
    return dict(found)

"""The network, examined from here, and by its nodes for those who are operators; all within a deadline."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from swarmlearning.address import AddressError, split
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.api.peertls import role_fault
from swarmlearning.doctor.contact import compare_clocks, examine_licenses, examine_way
from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.hanging import find_hanging
from swarmlearning.doctor.matrix import HERE, Known, diagnose
from swarmlearning.doctor.sight import examine_answers, examine_status, examine_structures, examine_world, nodes_in
from swarmlearning.doctor.wording import OTHER_ID, OTHER_NETWORK
from swarmlearning.errors import UserError
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import NodeTls, client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.models.destinations import refusal_beside
from swarmlearning.node.checkup import Answer, targets_of, try_all
from swarmlearning.node.outcomes import Outcome
from swarmlearning.node.probing import Target, probe
from swarmlearning.operator.checkups import checkup
from swarmlearning.operator.logs import LogsError, WithheldError
from swarmlearning.operator.session import Operator
from swarmlearning.tensors.structure import Structure
from swarmlearning.views.names import displayed

SECONDS: Final = 8.5
"""For all of it; what has not answered by then is named as not examined."""
ANSWER_SECONDS: Final = 6.3
STATUS_SECONDS: Final = 6.5
READ_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 0.7
"""To leave the network again; a session that could not is a node without a lease."""
AS: Final = "run it with an operator's certificate (SWCI-…)"
WRITES: Final = "nodes answer only those whom the ledger knows, and nothing can be written to it"
APART: Final = re.compile(r"clocks of this node and of who asks are ([0-9]{1,9}) s apart")


Work: TypeAlias = Callable[[Operator], Awaitable[None]]


@dataclass(frozen=True)
class Standpoint:
    """Who examines a network, and from where.

    `use`: has work done by an operator at the SN of an address, in the network of an ID; `ledger`: gives the verified
    ledger that the SN has, and why it is none, if so. `network_id`: of the only network that is meant, where it is
    named; `pinned`: of the network that a node of this machine belongs to. `structure`: of that node's model.
    """

    identity: Identity
    use: Callable[[str, str, Work], Awaitable[None]]
    ledger: Callable[[str], Awaitable[tuple[Chain, str | None]]]
    network_id: str = ""
    pinned: str = ""
    license_servers: LicenseServers = NO_SERVERS
    structure: Structure | None = None


async def examine_network(here: Standpoint, sns: Sequence[str], report: Report) -> None:
    """Examines the way to the network, by the first of these SNs that can be used, and what is seen there."""
    end = asyncio.get_running_loop().time() + SECONDS
    licenses = asyncio.create_task(examine_licenses(here.license_servers, here.identity, report))
    try:
        async with asyncio.timeout_at(end + LEAVE_SECONDS):
            address = await _reached(here.identity, sns, report)
            if address:
                await _Examination(here, address, report, end).run()
            await licenses
    except TimeoutError:
        report.unknown.append(f"what had not answered within {SECONDS:.0f} s")
    finally:
        licenses.cancel()
        await asyncio.gather(licenses, return_exceptions=True)


async def _reached(identity: Identity, sns: Sequence[str], report: Report) -> str:
    """The first of the SNs that can be used from here; of those before it, and of all if none is, it says why not."""
    for number, address in enumerate(sns):
        outcome = await examine_way(address, identity, report)
        if outcome is not None and outcome.code == "ok":
            if number:
                report.notes.append(f"the SN {address} answers, and is used instead")
            return address
        if report.has("clock"):
            break
    return ""


_Looked: TypeAlias = tuple[dict[str, Sequence[Outcome]], dict[str, tuple[Answer, int]], Chain | None]
"""What each has tried (by UID; `HERE`: this machine), what nodes have answered in how many milliseconds, the ledger."""


class _Examination:
    """Of the network, through the SN at `address`, until `end` of the loop's time."""

    def __init__(self, here: Standpoint, address: str, report: Report, end: float) -> None:
        self._here = here
        self._identity = here.identity
        self._address = address
        self._report = report
        self._end = end
        self._apart: dict[str, int] = {}  # seconds, of nodes that refuse to answer for them

    async def run(self) -> None:
        """Examines it."""
        status = await self._status()
        if status is None:
            return
        examine_status(status, self._report)
        nodes = nodes_in(status)
        rows, answers, chain = await self._looked(status, nodes)
        if chain is not None:
            examine_world(chain.world, self._report)
        now_ms = time.time_ns() // 1_000_000
        examine_answers(answers, self._apart, nodes, now_ms, self._report)
        self._report.add(diagnose(rows, nodes))
        self._compare_structures(answers, nodes)
        weigh(self._report, nodes, rows)

    async def _status(self) -> Mapping[str, Any] | None:
        """The status of the SN, None where it gives none."""
        async with SnClient(self._address, client_context(self._identity), STATUS_SECONDS) as client:
            clocks = asyncio.create_task(compare_clocks(client, self._report))
            try:
                status = await client.status()
            except Refusal as refusal:
                self._refused(refusal)
                return None
            except Unavailable as error:
                if "is too old for" in str(error):
                    self._report.find("old-version", "a release", str(error), "install the newer release there")
                    return None
                remedy = "look at that SN's log; is its host overloaded?"
                self._report.find("stalled", f"the SN {self._address}", f"gives no status: {error}", remedy)
                return None
            finally:
                await asyncio.wait((clocks,), timeout=1.0)
                clocks.cancel()
        return status if self._is_own(status) else None

    def _refused(self, refusal: Refusal) -> None:
        if refusal.code == Code.NOT_ALLOWED:
            remedy = "have a new certificate issued by a CA that the network trusts (swarm trust list)"
            self._report.find("shut-out", "the certificate in use here", f"is refused: {refusal.detail}", remedy)
        else:
            remedy = "correct --sn-ip and --sn-api-port: the address and API port of an SN"
            self._report.find("no-service", f"what answers at {self._address}", f"is no SN: {refusal}", remedy)

    def _is_own(self, status: Mapping[str, Any]) -> bool:
        """Whether it is the network that was named, or that the node on this host belongs to."""
        found = status["network_id"]
        checks = (
            (self._here.network_id, "--network-id names", OTHER_ID),
            (self._here.pinned, "this node belongs to", OTHER_NETWORK),
        )
        for wanted, whose, remedy in checks:
            if wanted and wanted != found:
                self._report.find(
                    "wrong-network",
                    f"the SN {self._address}",
                    f"is of network {displayed(status['network'])} ({found[:16]}), and {whose} network {wanted[:16]}",
                    remedy,
                )
                return False
        return True

    async def _looked(self, status: Mapping[str, Any], nodes: Mapping[str, Known]) -> _Looked:
        """What is reached from here, what nodes answer, and the ledger."""
        writable = status["majority"] is not False
        try:
            if self._identity.role in OPERATORS and writable:
                return await self._as_operator(nodes, status["network_id"])
            self._report.unknown.append(f"the ways between nodes, and how each is: {AS if writable else WRITES}")
            if not writable:  # an SN without a majority takes seconds for each answer
                return {HERE: await self._sns(nodes)}, {}, None
            chain, problem = await asyncio.wait_for(self._here.ledger(self._address), READ_SECONDS)
            if problem:
                remedy = "name another SN; an operator of that SN runs swarm sn repair"
                self._report.find("chain-damaged", f"the SN {self._address}", problem, remedy)
                return {}, {}, None
            who, row = await self._own_row(chain)
            return {who: row}, {}, chain
        except (UserError, TimeoutError) as error:
            self._report.unknown.append(f"the ledger, and what nodes reach: {str(error) or 'it takes too long'}")
            return {}, {}, None

    async def _as_operator(self, nodes: Mapping[str, Known], network_id: str) -> _Looked:
        found: _Looked | None = None
        try:
            async with asyncio.timeout_at(self._end) as limit:

                async def look(operator: Operator) -> None:
                    nonlocal found
                    if not operator.known:
                        await operator.register()
                    found = await self._from_all(operator, nodes)
                    limit.reschedule(asyncio.get_running_loop().time() + LEAVE_SECONDS)

                await self._here.use(self._address, network_id, look)
        except TimeoutError:  # also where only leaving takes too long
            if found is None:
                raise
        assert found is not None
        return found

    async def _from_all(self, operator: Operator, nodes: Mapping[str, Known]) -> _Looked:
        """What is reached from here and from all nodes that answer in time."""
        chain = operator.chain
        asked = {uid: known for uid, known in nodes.items() if known.type in ("SN", "SL", "SWOP") and known.alive}
        row = asyncio.create_task(self._own_row(chain))
        hanging = asyncio.create_task(self._scripts(operator))
        found = await asyncio.gather(*(self._asked(operator, uid, known) for uid, known in asked.items()))
        who, own = await row
        await hanging
        answers = {uid: answer for uid, answer in zip(asked, found, strict=True) if answer is not None}
        rows: dict[str, Sequence[Outcome]] = {who: own}
        rows |= {uid: answer.outcomes for uid, (answer, _) in answers.items()}
        return rows, answers, chain

    async def _scripts(self, operator: Operator) -> None:
        try:
            async with asyncio.timeout(self._left()):
                await find_hanging(operator, self._report)
        except TimeoutError:
            self._report.unknown.append("whether scripts hang: their sites have not answered in time")

    def _left(self) -> float:
        """Seconds in which a node may still answer."""
        return max(0.1, min(ANSWER_SECONDS, self._end - asyncio.get_running_loop().time() - 0.7))

    async def _asked(self, operator: Operator, uid: str, known: Known) -> tuple[Answer, int] | None:
        """What a node answers, and how many milliseconds that took."""
        node, begun = network.node(operator.chain.world, uid), time.monotonic()
        if node is None:
            return None
        try:
            async with asyncio.timeout(self._left()):
                answer = await checkup(operator, node)
            return answer, round((time.monotonic() - begun) * 1000)
        except TimeoutError:
            self._report.unknown.append(f"{known.shown}: it has not answered in time")
        except WithheldError as error:
            if found := APART.search(str(error)):
                self._apart[uid] = int(found[1])
                return None
            self._report.unknown.append(f"{known.shown}: {error}")
        except LogsError as error:
            self._report.unknown.append(f"{known.shown} (or it is of a release before `swarm doctor`): {error}")
        return None

    async def _sns(self, nodes: Mapping[str, Known]) -> list[Outcome]:
        """Which SNs are reached from here, at the addresses that the SN's status has."""
        apis = {uid: known.addresses["api"] for uid, known in nodes.items() if "api" in known.addresses}
        targets = list[Target]()
        for uid, address in apis.items():
            with suppress(AddressError):
                targets.append(
                    Target(uid, "api", *split(address), "/openapi.json", lambda shown: not role_fault(shown))
                )
        refuse = await asyncio.to_thread(refusal_beside, [split(self._address)[0]])
        return await try_all(targets, partial(probe, context=client_context(self._identity), refuse=refuse))

    async def _own_row(self, chain: Chain) -> tuple[str, list[Outcome]]:
        """What is reached from here, and the UID of the node for which that stands; `HERE`: of none."""
        tls = NodeTls(self._identity)
        tls.trust(each.pem for each in network.authorities(chain.world))
        same = [each for each in network.nodes(chain.world) if each.certificate == self._identity.thumbprint]
        own = [each.uid for each in same if not each.left and each.type in ("SN", "SL", "SWOP")]
        uid = own[0] if len(own) == 1 else HERE
        hosts = [split(self._address)[0], *(split(each)[0] for each in _addresses(same))]
        refuse = await asyncio.to_thread(refusal_beside, hosts)
        targets = list(targets_of(chain, lambda: chain, uid, sn=self._identity.role == "SN"))
        return uid, await try_all(targets, partial(probe, context=tls.client, refuse=refuse))

    def _compare_structures(self, answers: Mapping[str, tuple[Answer, int]], nodes: Mapping[str, Known]) -> None:
        others = {}
        for uid, (answer, _) in answers.items():
            if answer.site is not None and answer.site.structure:
                with suppress(ValueError):
                    others[nodes[uid].shown] = Structure.parse(answer.site.structure)
        examine_structures(self._here.structure, others, self._report)


def _addresses(nodes: Sequence[network.Node]) -> list[str]:
    return [address for each in nodes for service, address in each.addresses.items() if service != "sn"]


def weigh(report: Report, nodes: Mapping[str, Known], rows: Mapping[str, Sequence[Outcome]]) -> None:
    """Takes out what another finding explains, and names the SNs that are missing where there is no majority."""
    silent = {found.subject for found in report.wrong if found.code in ("stalled", "no-way-in", "another")}
    reached = {
        nodes[each.uid].shown for row in rows.values() for each in row if each.code == "ok" and each.uid in nodes
    }
    for found in list(report.wrong):
        if found.code not in ("node-lost", "leader-lost") or found.subject not in silent | reached:
            continue
        report.wrong.remove(found)
        if found.subject not in silent:
            report.notes.append(f"{found.subject} had no lease a moment ago, and answers: is its host overloaded?")
    for found in [each for each in report.wrong if each.code == "ml-stopped"]:
        report.drop("ml-hangs", subject=found.subject)
    missed = {each.uid for row in rows.values() for each in row if each.service == "api" and each.code != "ok"}
    names = ", ".join(sorted(nodes[uid].shown for uid in missed if uid in nodes))
    if names and report.has("no-majority"):
        report.drop("no-majority")
        text = (
            "do not answer, and without them no majority of the voters is there: nothing can be written to the ledger"
        )
        remedy = "start them; only if they are lost for good: stop the others and run `swarm sn recover` on one"
        report.find("no-majority", names, text, remedy)

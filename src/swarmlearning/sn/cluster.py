"""This SN's part in the etcd cluster: its member, the tunnel to the others, and who votes.

    no vote yet ──(a voter adds us as a learner)──▶ learner ──(caught up, promoted)──▶ voter
        ▲                                                                                │
        └──────────────(removed: its member's data is worthless now)─────────────────────┘

While this SN has no vote it orders through the others (`sn/ordering.py`). The live voter with the lowest UID carries
out what `membership.next_step` says, one step at a time; doing it twice does no harm, etcd refuses the second.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ordering.etcd.gateway import EtcdRefusedError, Gateway, Member
from swarmlearning.ordering.etcd.log import Archive, EtcdLog
from swarmlearning.ordering.etcd.member import EtcdMember, peer_address, peer_url
from swarmlearning.ordering.etcd.membership import Step, next_step
from swarmlearning.ordering.etcd.presence import EtcdPresence
from swarmlearning.ordering.etcd.tunnel import Gate, Peer, Proxy
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import Head, Lease, OrderingError
from swarmlearning.sn.ordering import Others, RemoteLog, RemotePresence, Switch

logger = logging.getLogger("swarm.ordering")

PACE_SECONDS = 1.0
GONE_SECONDS = 10.0
"""A voter without a lease for this long is replaced, if there is somebody to replace it."""
KEPT_BLOCKS = 1000
"""Blocks that stay in etcd although every voter has them: who was away for a moment need not ask others for them."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0


def admitted(chain: Chain) -> list[Node]:
    """The SNs that the ledger admits, by UID."""
    if chain.height < 0:
        return []
    return network.admitted(chain.world)


class Cluster:
    """Gate, proxy and member of one SN, and the engine in use. `chain` gives this SN's verified chain."""

    def __init__(
        self,
        uid: str,
        identity: Identity,
        binary: Path,
        directory: Path,
        file: LocalLog,
        chain: Callable[[], Chain],
        others: Others,
        archive: Archive,
    ) -> None:
        self._uid = uid
        self._file = file
        self._chain = chain
        self._others = others
        self._archive = archive
        self._directory = directory
        self._binary = binary
        self._proxy = Proxy(client_context(identity), self._find)
        self._gate = Gate(server_context(identity), lambda: self._member.peer_socket, self._admits)
        self._member = EtcdMember(binary, directory, uid, "")
        self._gateway: Gateway | None = None
        self._remote = RemoteLog(file, others)
        self._engine: asyncio.Task[None] | None = None
        self._log: EtcdLog | None = None
        self._seen: dict[str, float] = {}
        self._pruned = 0
        self._joining = asyncio.Lock()
        self.switch = Switch(self._remote, RemotePresence(others))
        self.port = 0

    name = "etcd"

    # --- start and stop ---------------------------------------------------------------------------------------------

    @property
    def voted_before(self) -> bool:
        """Whether this SN has been part of the cluster already."""
        return self._member.has_data

    async def start(self, host: str, port: int) -> None:
        """Opens the P2P port. Raises `OrderingError` when it is taken."""
        self.port = await self._gate.start(host, port)
        self._member = EtcdMember(self._binary, self._directory, self._uid, await self._proxy.start())
        self._use_remote()

    async def found(self) -> None:
        """A new cluster of this SN alone, going on where its chain file ends."""
        await self._member.start(None, new=True)
        await self._member.answers()
        log = self._use_etcd()
        await log.begin()

    async def return_to(self) -> None:
        """Starts the member with what it left on disk; it answers, and is used, once there is a majority."""
        await self._member.start(None, new=False)

    async def join(self, members: Mapping[str, str]) -> None:
        """Enters the cluster that has added this SN as a learner, and votes once it is promoted."""
        async with self._joining:
            await self._end_member()
            shutil.rmtree(self._directory, ignore_errors=True)
            await self._member.start(members, new=False)
            await self._member.answers()
            logger.info("This SN follows the order as a learner")

    async def stop(self) -> None:
        """Stops everything in good order."""
        if self._engine is not None:
            self._engine.cancel()
            await asyncio.gather(self._engine, return_exceptions=True)
        await self._end_member()
        await self._gate.stop()
        await self._proxy.stop()

    async def run(self) -> None:
        """Keeps the member running, becomes a voter when it may, and looks after who votes; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_member())
            tasks.create_task(self._look_after_votes())

    async def order(self, expected: Head, entry: bytes) -> Head:
        """For an SN without a vote: see `EtcdLog.order`."""
        if self._log is None:
            raise OrderingError("this SN has no vote on the order either; ask another one")
        return await self._log.order(expected, entry)

    @property
    def learns(self) -> bool:
        """Whether a member runs here that has no vote yet."""
        return self._member.running or self._joining.locked()

    @property
    def votes(self) -> bool:
        """Whether this SN orders by a member of its own."""
        return self._gateway is not None

    async def leases(self) -> dict[str, Lease]:
        """Who is there, as this SN sees it; empty while it has no vote or there is no majority."""
        if self._gateway is None:
            return {}
        try:
            return await EtcdPresence(self._gateway).leases()
        except OrderingError:
            return {}

    async def members(self) -> list[Member]:
        """The cluster's members; empty while this SN has no vote or there is no majority."""
        if self._gateway is None:
            return []
        try:
            return await self._gateway.members()
        except OrderingError:
            return []

    # --- this SN's member -------------------------------------------------------------------------------------------

    def _use_remote(self) -> None:
        self._begin(self._remote.run())
        self.switch.use(self._remote, RemotePresence(self._others))

    def _use_etcd(self) -> EtcdLog:
        self._gateway = Gateway(self._member.client_socket)
        self._log = log = EtcdLog(self._gateway, self._file, self._archive)
        self._begin(log.run())
        self.switch.use(log, EtcdPresence(self._gateway))
        return log

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._engine is not None:
            self._engine.cancel()
        self._engine = asyncio.get_running_loop().create_task(work)

    async def _end_member(self) -> None:
        gateway, self._gateway, self._log = self._gateway, None, None
        if gateway is not None:
            await gateway.close()
        await self._member.stop()

    async def _keep_member(self) -> None:
        """Watches the member; begins to vote when it may; starts it again when it has ended."""
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            if not self._member.has_data or self._joining.locked():
                continue
            if not self._member.running:
                pause = await self._revive(pause)
            elif self._gateway is None and await self._may_vote():
                logger.info("This SN votes on the order")
                self._use_etcd()
                pause = FIRST_PAUSE

    async def _may_vote(self) -> bool:
        gateway = Gateway(self._member.client_socket)
        try:
            return not (await gateway.status()).get("isLearner", False)
        except OrderingError:
            return False
        finally:
            await gateway.close()

    async def _revive(self, pause: float) -> float:
        words = self._member.last_words()
        logger.warning("etcd has ended: %s", words)
        await self._end_member()
        self._use_remote()
        if "removed" in words:
            logger.warning("This SN was removed from the voters while it was away; it enters again as a newcomer")
            shutil.rmtree(self._directory, ignore_errors=True)
            return FIRST_PAUSE
        try:
            await self._member.start(None, new=False)
        except OrderingError as error:
            logger.error("%s", error)
            return min(2 * pause, LONGEST_PAUSE)
        return FIRST_PAUSE

    # --- who votes --------------------------------------------------------------------------------------------------

    async def _look_after_votes(self) -> None:
        while True:
            await asyncio.sleep(PACE_SECONDS)
            if self._gateway is None:
                continue
            try:
                step = await self._next_step(self._gateway)
                if step is not None:
                    await self._carry_out(self._gateway, step)
            except (OrderingError, Unavailable, Refusal) as error:
                logger.debug("%s", error)

    async def _next_step(self, gateway: Gateway) -> Step | None:
        nodes = admitted(self._chain())
        leases = await EtcdPresence(gateway).leases()
        now = time.monotonic()
        for node in nodes:
            if node.uid in leases or node.uid not in self._seen:
                self._seen[node.uid] = now
        gone = {node.uid for node in nodes if now - self._seen[node.uid] > GONE_SECONDS}
        members = await gateway.members()
        voters = sorted(member.name for member in members if not member.learner and member.name in leases)
        if not voters or voters[0] != self._uid:
            return None
        if len(voters) == sum(not member.learner for member in members):
            await self._prune(min(leases[uid].steps for uid in voters))
        urls = {node.uid: peer_url(node.uid) for node in nodes if "p2p" in node.addresses}
        return next_step(members, urls, leases.keys(), gone)

    async def _prune(self, stored: int) -> None:
        """Lets etcd forget old blocks; `stored` is the height up to which every voter has them in its chain file."""
        below = stored - KEPT_BLOCKS
        if self._log is not None and below >= self._pruned + KEPT_BLOCKS:
            await self._log.prune(below)
            self._pruned = below

    async def _carry_out(self, gateway: Gateway, step: Step) -> None:
        if step.action == "remove":
            logger.warning("SN %s does not vote any more", step.uid or step.member)
            await gateway.remove(step.member)
        elif step.action == "promote":
            await self._invite(gateway, step.uid)
            try:
                await gateway.promote(step.member)
                logger.info("SN %s votes from now on", step.uid)
            except EtcdRefusedError as error:
                logger.debug("not yet: %s", error)
        else:
            await gateway.add_learner(peer_url(step.uid))
            await self._invite(gateway, step.uid)

    async def _invite(self, gateway: Gateway, uid: str) -> None:
        """Tells a newcomer that it is a learner now; it starts its member, unless it has."""
        node = network.node(self._chain().world, uid)
        if node is None or "api" not in node.addresses:
            return
        members = {member.name or uid: member.peer_url for member in await gateway.members()}
        for client in self._others():
            if client.address == node.addresses["api"]:
                await client.invite(members)

    # --- the tunnel -------------------------------------------------------------------------------------------------

    def _find(self, address: str) -> Peer | None:
        for node in admitted(self._chain()):
            if peer_address(node.uid) == address and "p2p" in node.addresses:
                host, _, port = node.addresses["p2p"].rpartition(":")
                return Peer(host, int(port), node.certificate)
        return None

    def _admits(self, thumbprint: str) -> bool:
        chain = self._chain()
        stored = network.certificate(chain.world, thumbprint) if chain.height >= 0 else None
        if stored is None or stored.revoked:
            return False
        return any(node.certificate == thumbprint for node in admitted(chain))

"""This SN's part in the etcd cluster: its member, the tunnel to the others, and the engine in use.

    no vote yet ──(a voter adds us as a learner)──▶ learner ──(caught up, promoted)──▶ voter
        ▲                                                                                │
        └──────────────(removed: its member's data is worthless now)─────────────────────┘

While this SN has no vote it orders through the others (`sn/remote.py`) and polls them until it has been added. As a
voter it helps to look after the cluster (`sn/votes.py`).
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.identity.tls import NodeTls
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.node.credentials import share_of
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.etcd.gateway import Gateway, Member
from swarmlearning.ordering.etcd.log import HEAD_KEY, Archive, EtcdLog
from swarmlearning.ordering.etcd.member import QUOTA_BYTES, EtcdMember, cluster_host, peer_url
from swarmlearning.ordering.etcd.presence import EtcdPresence
from swarmlearning.ordering.etcd.tunnel import Gate, Proxy
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import Head, Lease, OrderingError
from swarmlearning.sn.admission import Admission
from swarmlearning.sn.remote import Others, RemoteLog, RemotePresence
from swarmlearning.sn.switch import Switch
from swarmlearning.sn.votes import Votes

logger = logging.getLogger("swarm.ordering")

ASK_SECONDS = 0.5
"""Between two requests of an SN without a vote, to learn if it has been added."""
FULL = 0.8
"""Share of etcd's quota above which an operator should know; at the quota every write is refused."""
EXPEL_SECONDS = 0.5
"""For ending a vote while its SN is still connected; whoever is asked later needs a majority without it."""
SOON_SECONDS = 0.1
"""Between two looks at this SN's member while something about it is about to change."""


class Cluster:
    """Gate, proxy and member of one SN, and the engine in use. `chain` gives this SN's verified chain."""

    def __init__(
        self,
        uid: str,
        tls: NodeTls,
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
        admission = Admission(chain)
        self._proxy = Proxy(tls.client, admission)
        self._gate = Gate(
            tls.server,
            cluster_host(uid),
            lambda: self._member.peer_socket,
            admission,
            lambda credential: share_of(chain(), credential),
        )
        self._member = EtcdMember(binary, directory, uid, lambda: self._proxy.url)
        self._gateway: Gateway | None = None
        self._remote = RemoteLog(file, others)
        self._engine: list[asyncio.Task[None]] = []
        self._starts = Backoff()
        self._log: EtcdLog | None = None
        self._admitted: frozenset[str] = frozenset()
        self.switch = Switch(self._remote, RemotePresence(others))
        self.port = 0

    name = "etcd"

    # --- start and stop ---------------------------------------------------------------------------------------------

    @property
    def voted_before(self) -> bool:
        """True if this SN has been part of the cluster already."""
        return self._member.has_data

    async def start(self, host: str, port: int) -> None:
        """Opens the P2P port. Raises `OrderingError` when it is in use."""
        self.port = await self._gate.start(host, port)
        await self._proxy.start()
        self._use_remote()

    async def found(self) -> None:
        """Founds a cluster of this SN alone, which continues where its chain file ends."""
        await self._member.start(None, new=True)
        await self._member.answers(led=True)
        log = self._use_etcd()
        await log.begin()

    async def return_to(self, *, alone: bool) -> None:
        """Starts the member with what it left on disk; it answers, and is used, once there is a majority.

        One that is `alone` is used at once; should another have a vote still, when that one answers.
        """
        await self._member.start(None, new=False)
        if alone:
            try:
                await self._member.answers(led=True)
            except OrderingError as error:
                logger.warning("%s; waiting for it", error)
            else:
                self._use_etcd()

    def forget(self) -> None:
        """Deletes what the member has left on disk: it is of no use in a cluster that has removed it."""
        shutil.rmtree(self._directory, ignore_errors=True)

    async def remove(self, uid: str) -> None:
        """Ends the vote of an SN at its request. Raises `OrderingError`."""
        gateway = self._gateway
        if gateway is None:
            raise OrderingError("this SN has no vote in the ordering cluster either; try another SN")
        for member in await gateway.members():
            if member.peer_url == peer_url(uid):
                await gateway.remove(member.id)

    async def stop(self) -> None:
        """Stops everything in good order."""
        self._begin()
        await self._end_member()
        await self._gate.stop()
        await self._proxy.stop()

    async def run(self) -> None:
        """Becomes a learner and a voter when it may, and keeps the member running; until cancelled."""
        seconds = SOON_SECONDS
        while True:
            await asyncio.sleep(seconds)
            await self._exclude()
            for task in self._engine:
                if task.done():
                    task.result()  # none ends by itself: a defect, which must be seen
            self._member.bound_log()
            if self._member.running:
                seconds = await self._look_at_member()
            elif self._member.has_data:
                seconds = await self._restart_member()
            else:
                seconds = await self._enter_if_added()

    async def _exclude(self) -> None:
        """Ends the votes of SNs that the ledger has just ceased to admit, then their connections. In this order: of two
        voters, the one that stays needs the other's to go on alone; it may have become one a moment ago."""
        admitted = frozenset(sn.uid for sn in network.admitted(self._chain().world))
        excluded = {peer_url(uid) for uid in self._admitted - admitted}
        self._admitted = admitted
        if excluded and self._member.running:
            temporary = Gateway(self._member.client_socket) if self._gateway is None else None
            gateway = temporary or self._gateway
            assert gateway is not None
            try:
                async with asyncio.timeout(EXPEL_SECONDS):
                    await self._end_votes(gateway, excluded)
            except (OrderingError, TimeoutError) as error:
                logger.debug("a vote cannot be ended at once: %s", error)  # `Votes` goes on trying
            finally:
                if temporary is not None:
                    await temporary.close()
        self._gate.drop_excluded()
        self._proxy.drop_excluded()

    async def _end_votes(self, gateway: Gateway, urls: Collection[str]) -> None:
        members = await gateway.members()
        for member in members:
            if member.peer_url in urls and any(other.peer_url not in urls for other in members if not other.learner):
                logger.warning("SN %s does not vote any more", member.name)
                await gateway.remove(member.id)

    async def left(self, seconds: float) -> None:
        """Waits until this SN has no vote any more, so that the others go on without it; for so long at most."""
        gateway = Gateway(self._member.client_socket)
        try:
            async with asyncio.timeout(seconds):
                async for _ in Backoff(SOON_SECONDS, SOON_SECONDS):
                    if all(member.peer_url != peer_url(self._uid) for member in await gateway.members()):
                        break
        except (OrderingError, TimeoutError):
            pass
        finally:
            await gateway.close()

    async def order(self, expected: Head, entry: bytes) -> Head:
        """For an SN without a vote: see `EtcdLog.order`."""
        if self._log is None:
            raise OrderingError("this SN has no vote in the ordering cluster either; try another SN")
        return await self._log.order(expected, entry)

    @property
    def votes(self) -> bool:
        """True if this SN orders by a member of its own."""
        return self._gateway is not None

    async def leases(self) -> dict[str, Lease] | None:
        """The leases of the nodes that are present; None while this SN has no vote or there is no majority."""
        gateway = self._gateway  # it may be another one, or none, when etcd has answered
        if gateway is None:
            return None
        try:
            return await EtcdPresence(gateway).leases() if await gateway.led() else None
        except OrderingError:
            return None

    async def members(self) -> list[Member]:
        """The cluster's members; empty while this SN has no vote or there is no majority."""
        gateway = self._gateway
        if gateway is None:
            return []
        try:
            if not await gateway.led():
                return []
            await gateway.get(HEAD_KEY)  # by agreement, so that the list, which is the member's own, is not old
            return await gateway.members()
        except OrderingError:
            return []

    async def alarms(self) -> list[str]:
        """The alarms of the etcd cluster, for an operator."""
        gateway = self._gateway
        if gateway is None:
            return []
        try:
            raised, used = await gateway.alarms(), await gateway.used_bytes()
        except OrderingError:
            return []
        found = [f"etcd has raised the alarm {alarm}: writes may be refused" for alarm in sorted(set(raised))]
        if used > FULL * QUOTA_BYTES:
            found.append(f"etcd holds {used // 2**20} of {QUOTA_BYTES // 2**20} MiB: is a voting SN away?")
        return found

    # --- this SN's member -------------------------------------------------------------------------------------------

    def _use_remote(self) -> None:
        self._begin(self._remote.run())
        self.switch.use(self._remote, RemotePresence(self._others))

    def _use_etcd(self) -> EtcdLog:
        self._gateway = Gateway(self._member.client_socket)
        self._log = log = EtcdLog(self._gateway, self._file, self._archive)
        self._begin(log.run(), Votes(self._uid, self._gateway, log, self._chain).run())
        self.switch.use(log, EtcdPresence(self._gateway))
        return log

    def _begin(self, *work: Coroutine[Any, Any, None]) -> None:
        for task in self._engine:
            task.cancel()
        self._engine = [asyncio.get_running_loop().create_task(one) for one in work]

    async def _end_member(self) -> None:
        gateway, self._gateway, self._log = self._gateway, None, None
        if gateway is not None:
            await gateway.close()
        await self._member.stop()

    async def _enter_if_added(self) -> float:
        """Starts a member of the cluster once a voter has added this SN to it as a learner."""
        client, members = await self._reported_members()
        me = next((member for member in members if member.peer_url == peer_url(self._uid)), None)
        if me is not None and not me.learner and client is not None:
            await self._end_lost_vote(client)
        if me is None or not me.learner:
            return ASK_SECONDS
        try:
            await self._member.start({member.name or self._uid: member.peer_url for member in members}, new=False)
            await self._member.answers()
        except OrderingError as error:
            logger.error("%s", error)
            await self._end_member()
            self.forget()
            await self._starts.pause()
        else:
            logger.info("This SN is now a learner of the ordering cluster")
        return SOON_SECONDS

    async def _end_lost_vote(self, client: SnClient) -> None:
        """A vote whose promises are lost with the member's data must not be used again: it ends, then a new one is
        requested."""
        try:
            await client.end_vote(self._uid)
        except (Unavailable, Refusal) as error:
            logger.warning("this SN has lost its member's data, and its old vote cannot be ended yet: %s", error)

    async def _reported_members(self) -> tuple[SnClient | None, list[Member]]:
        """The cluster's members, and the SN that reported them; none when no SN can.

        Raises `NodeError` when every SN refuses this one, which it may not be able to read on the chain any more.
        """
        others, refused = self._others(), list[str]()
        for client in others:
            try:
                members = [Member(*msgspec.structs.astuple(found)) for found in await client.cluster()]
            except (Unavailable, Refusal) as error:
                logger.debug("%s", error)
                if isinstance(error, Refusal) and error.code == Code.NOT_ALLOWED:
                    refused.append(error.detail)
                continue
            if members and self._are_known(members, client):
                return client, members
        if refused and len(refused) == len(others):
            raise NodeError(f"no SN of the network accepts this one: {refused[0]}")
        return None, []

    def _are_known(self, members: Sequence[Member], client: SnClient) -> bool:
        """True if each member is that of an SN on the verified chain: etcd is told to connect to all of them."""
        uids = {peer_url(known.uid): known.uid for known in network.nodes(self._chain().world) if known.type == "SN"}
        if all(member.peer_url in uids and member.name in ("", uids[member.peer_url]) for member in members):
            return True
        logger.warning("SN %s reports members that are no SNs on the chain as it is known here", client.address)
        return False

    async def _look_at_member(self) -> float:
        """Begins to vote with a member that was promoted; ends one that the others have removed."""
        gateway = Gateway(self._member.client_socket)
        try:
            learns, led = await gateway.learns(), await gateway.led()
        except OrderingError:
            return SOON_SECONDS
        finally:
            await gateway.close()
        if led:
            self._starts.reset()
        if self._gateway is None and not learns:
            logger.info("This SN is now a voter of the ordering cluster")
            self._use_etcd()
        if not led and await self._is_removed():
            await self._begin_anew()
        return ASK_SECONDS

    async def _is_removed(self) -> bool:
        """True if the others have removed this SN: etcd cannot report it, since their gates refuse a removed member.

        An SN that was added again meanwhile has no name in the list until its new member has started.
        """
        _, members = await self._reported_members()
        return bool(members) and all(member.name != self._uid for member in members)

    async def _begin_anew(self) -> None:
        logger.warning("This SN was removed from the voters while it was away; it joins anew")
        await self._end_member()
        self._use_remote()
        self.forget()

    async def _restart_member(self) -> float:
        words = self._member.last_words()
        await self._end_member()
        self._use_remote()
        if await self._is_removed():
            await self._begin_anew()
            return SOON_SECONDS
        logger.warning("etcd has ended: %s (if its data is damaged: stop this SN, delete %s)", words, self._directory)
        try:
            await self._member.start(None, new=False)
        except OrderingError as error:
            logger.error("%s", error)
        await self._starts.pause()
        return SOON_SECONDS

"""How an SL or a SWOP takes part in its network: it contacts an SN, verifies the chain, registers, holds its lease, and
leaves at the end.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

from swarmlearning import __version__
from swarmlearning.api.client import Refusal
from swarmlearning.ledger.bodies import Announce, Leave, Register
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.checkup import Checkup, Site
from swarmlearning.node.comparing import Comparison
from swarmlearning.node.contact import first_contact, remember_sns
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError, RefusedError, Superseded
from swarmlearning.node.expiry import warn_of_authorities
from swarmlearning.node.facts import Reporter
from swarmlearning.node.follower import Follower
from swarmlearning.node.health import answering
from swarmlearning.node.heartbeat import Heartbeat, Progress
from swarmlearning.node.reading import Reading, Shelf, SnPost
from swarmlearning.node.renewing import LiveIdentity, send_own
from swarmlearning.node.rooting import add_roots
from swarmlearning.node.sender import Author, Sender
from swarmlearning.node.trusting import trust_authorities
from swarmlearning.node.vitals import Gauge
from swarmlearning.node.withholding import leave_withholders

logger = logging.getLogger("swarm.node")

LEAVE_SECONDS = 2.0


class Membership:
    """A node's part in its network: `follower` has the verified chain, `sender` sends the node's transactions.

    `joined` takes part for as long as its block runs; `close` at the end, joined or not.
    """

    def __init__(
        self,
        kind: Literal["SL", "SWOP"],
        name: str,
        sn_address: str,
        own: LiveIdentity,
        place: DataDirectory,
        shelf: Shelf,
        *,
        vitals: bool = True,
    ) -> None:
        """`sn_address`: the SN that the operator has named; `place`: the data directory, which is locked; `shelf`: the
        logs that operators may ask for; `vitals`: whether heartbeats have them."""
        self._register = Register(kind, name, own.current.bundle, __version__, RULES_VERSION)
        self._sn_address = sn_address
        self._own = own
        self._place = place
        self._superseded: asyncio.Queue[str] = asyncio.Queue()
        self._heartbeat: Heartbeat | None = None
        self.follower = Follower([sn_address], own.tls.client, place.pin, known=place.sns)
        self.sender = Sender(Author(own.signers, place.uid, place.incarnation), self.follower, logger.warning)
        reporter = Reporter(kind, name, place.uid, place.path)
        self._logs = Reading(place.uid, own.signers, self.follower, shelf, reporter.report)
        self._gauge = Gauge(place.path, lambda: own.current, given=vitals)

    @property
    def outage(self) -> tuple[float, str] | None:
        """Since when (Unix time) no SN renews the lease, and why; None while one does."""
        return self._heartbeat.outage if self._heartbeat else None

    def answer_checkups(self, own_hosts: Sequence[str], site: Callable[[], Site] = Site) -> None:
        """From now on answers operators who ask how this node is; see `Checkup`."""
        tls, uid = self._own.tls.client, self._place.uid
        self._logs.checkup = Checkup(uid, tls, lambda: self.follower.chain, own_hosts, site)

    @property
    def lease_age(self) -> float | None:
        """Seconds since the lease was renewed last; None before the first time."""
        return self._heartbeat.lease_age if self._heartbeat else None

    async def close(self) -> None:
        """Closes the connections."""
        await self.follower.close()

    @asynccontextmanager
    async def joined(
        self,
        progress: Progress,
        health: Callable[[], Mapping[str, Any]],
        on_refused: Callable[[RefusedError], None] = lambda error: None,
        leaves: Callable[[], bool] = lambda: True,
        *,
        same_user: bool = False,
    ) -> AsyncIterator[None]:
        """Inside the block the node is registered, and its lease is renewed; then it leaves, also where it is stopped.

        `health`: what the node reports of its health beside the height of its chain; `on_refused` is called when the
        network has shut this node out, before that ends it; `leaves`: whether it leaves the network at the end, or is
        only away for a while; `same_user`: a SWOP that runs ML processes as its own user. Raises `NodeError` for what
        ends the node, among it `Superseded` when it was started again elsewhere.
        """
        height = await first_contact(self.follower, self._place, self._sn_address)
        checkpoints = await self._resume()
        facts = answering(self._place.path, lambda: {**health(), "height": self.follower.chain.height})
        self._heartbeat = heartbeat = self._made_heartbeat(progress, same_user=same_user)
        async with asyncio.TaskGroup() as tasks, facts:
            works = (self._follow(on_refused), trust_authorities(self._own.tls, self.follower))
            keeps = (checkpoints.keep(self.follower), remember_sns(self.follower, self._place), self._gauge.run())
            checks = (Comparison(self.follower, self.sender.author).run(), leave_withholders(self.follower))
            background = [tasks.create_task(work) for work in (*works, *keeps, *checks, self._end_when_superseded())]
            await self._reach(height)
            background.append(tasks.create_task(warn_of_authorities(lambda: self.follower.chain.world)))
            await self._send(self._register)
            renewing = self._own.follow(self.sender.author, self.follower, partial(send_own, self.sender))
            background.append(tasks.create_task(renewing))
            if self._register.node_type == "SWOP":  # an SL is beside a script: it adds no authority
                background.append(tasks.create_task(self._add_roots()))
            background.append(tasks.create_task(self._logs.serve(SnPost(self.follower, self._place.uid))))
            heartbeat.start(lambda: self.follower.addresses)
            try:
                yield
            finally:  # also where an operator stops it: the others need not wait for its lease to end
                await asyncio.to_thread(heartbeat.stop)
                if leaves():
                    await self._leave()
            for task in background:
                task.cancel()

    async def announce(self, addresses: dict[str, str]) -> None:
        """Reports by service where this node can be reached, and as `sn` the SN that it uses, for people.

        Raises `NodeError` when that is refused.
        """
        await self._send(Announce({"sn": self.follower.client.address, **addresses}))

    async def _add_roots(self) -> None:
        await add_roots(self._own.source, self._place.uid, self.follower, partial(send_own, self.sender))

    async def _resume(self) -> Checkpoints:
        """Goes on from the checkpoint of the data directory, if it has a usable one; returns its checkpoints."""
        checkpoints = Checkpoints(self._place.path)
        if (verified := checkpoints.read(self._place.network)) is not None:
            await self.follower.resume(verified)
        return checkpoints

    async def _follow(self, on_refused: Callable[[RefusedError], None]) -> None:
        try:
            await self.follower.run()
        except RefusedError as error:
            on_refused(error)
            raise

    async def _reach(self, height: int) -> None:
        """Waits until the chain is as far as the SN reported: from then on the ledger decides which SNs are used."""
        await self.follower.reached(max(height, 0))  # the first block shows which network it is
        self.follower.judge_sns()

    def _made_heartbeat(self, progress: Progress, *, same_user: bool) -> Heartbeat:
        loop = asyncio.get_running_loop()
        return Heartbeat(
            self._own.tls.client,
            self._place.uid,
            self._place.incarnation,
            progress=progress,
            on_superseded=lambda why: loop.call_soon_threadsafe(self._superseded.put_nowait, why),
            chain=lambda: self.follower.chain,
            same_user=same_user,
            vitals=self._gauge.latest,
        )

    async def _send(self, body: Register | Announce) -> None:
        try:
            await self.sender.send(network.CONTRACT, body)
        except Refusal as refusal:
            if refusal.code == Code.OLD_INCARNATION:
                raise Superseded(refusal.detail) from refusal
            raise NodeError(f"the SN refuses this node: {refusal}") from refusal

    async def _leave(self) -> None:
        """Reports that this node leaves: nobody waits for its lease to expire. A registration brings it back."""
        try:
            await asyncio.wait_for(self.sender.send(network.CONTRACT, Leave()), LEAVE_SECONDS)
        except (Refusal, TimeoutError) as error:
            logger.warning("Could not report to the SN that this node leaves: %s", str(error) or "no answer")

    async def _end_when_superseded(self) -> None:
        raise Superseded(await self._superseded.get())

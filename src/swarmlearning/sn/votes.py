"""Maintenance of the etcd cluster: who votes, and which blocks etcd may delete.

Every voter runs this, but only the live and admitted one with the lowest UID acts: it carries out the steps of
`membership.next_step`, one at a time. Doing a step twice does no harm: etcd refuses the second.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ordering.etcd.gateway import EtcdRefusedError, Gateway
from swarmlearning.ordering.etcd.log import EtcdLog
from swarmlearning.ordering.etcd.member import peer_url
from swarmlearning.ordering.etcd.membership import Step, TwoVoters, describe, next_step
from swarmlearning.ordering.etcd.presence import EtcdPresence
from swarmlearning.ordering.protocols import OrderingError

logger = logging.getLogger("swarm.ordering")

PACE_SECONDS = 1.0
GONE_SECONDS = 10.0
"""A voter without a lease for this long is replaced, if there is somebody to replace it."""
KEPT_BLOCKS = 256
"""Blocks that stay in etcd although every voter has them: who was away for a moment need not fetch them from others."""


class Votes:
    """One voter's share of the maintenance; `chain` gives its SN's verified chain."""

    def __init__(self, uid: str, gateway: Gateway, log: EtcdLog, chain: Callable[[], Chain]) -> None:
        self._uid = uid
        self._gateway = gateway
        self._log = log
        self._chain = chain
        self._presence = EtcdPresence(gateway)
        self._seen: dict[str, float] = {}
        self._pruned = 0
        self._two = TwoVoters(GONE_SECONDS)

    async def run(self) -> None:
        """Maintains the cluster until cancelled."""
        while True:
            await asyncio.sleep(PACE_SECONDS)
            try:
                while (step := await self._next_step()) is not None:
                    await self._carry_out(step)
                    if step.action != "remove":
                        break  # only a removed voter is replaced at once
            except OrderingError as error:
                logger.debug("%s", error)

    async def _next_step(self) -> Step | None:
        sns = network.admitted(self._chain().world)
        leases = await self._presence.leases()
        now = time.monotonic()
        for sn in sns:
            if sn.uid in leases or sn.uid not in self._seen:
                self._seen[sn.uid] = now
        gone = {sn.uid for sn in sns if now - self._seen[sn.uid] > GONE_SECONDS}
        members = await self._gateway.members()
        if self._two.noticed(sum(not member.learner for member in members), now):
            logger.warning("This network has %s", describe(2, 2))
        present = leases.keys() & {sn.uid for sn in sns}  # one that is shut out may renew its lease all the same
        voters = sorted(member.name for member in members if not member.learner and member.name in present)
        if not voters or voters[0] != self._uid:
            return None
        if len(voters) == sum(not member.learner for member in members):
            await self._prune(min(leases[uid].progress for uid in voters))
        urls = {sn.uid: peer_url(sn.uid) for sn in sns if "p2p" in sn.addresses}
        return next_step(members, urls, present, gone)

    async def _prune(self, stored: int) -> None:
        """Deletes old blocks from etcd; `stored` is the height up to which every voter has them in its chain file."""
        below = stored - KEPT_BLOCKS
        if below >= self._pruned + KEPT_BLOCKS:
            await self._log.prune(below)
            self._pruned = below

    async def _carry_out(self, step: Step) -> None:
        if step.action == "remove":
            logger.warning("SN %s does not vote any more", step.uid or step.member)
            await self._gateway.remove(step.member)
        elif step.action == "add":
            await self._gateway.add_learner(peer_url(step.uid))  # the newcomer polls for that, and starts its member
        else:
            try:
                await self._gateway.promote(step.member)
                logger.info("SN %s votes from now on", step.uid)
            except EtcdRefusedError as error:
                logger.debug("not yet: %s", error)

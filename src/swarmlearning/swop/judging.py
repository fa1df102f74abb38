"""Whether the site allows a task: its policy's judgement on what the ledger and the site show, or its operator's."""

import asyncio
import logging
import os
from collections.abc import Collection
from pathlib import Path

from swarmlearning.documents.faults import DocumentError
from swarmlearning.ledger.contracts import network, tasks
from swarmlearning.ledger.world import World
from swarmlearning.node.errors import NodeError
from swarmlearning.swop.approvals import Approvals, Question
from swarmlearning.swop.assigned import assigner, links
from swarmlearning.swop.facts import Verdict
from swarmlearning.swop.managing import Attempt, ResourceManager
from swarmlearning.swop.policy import Facts, Judgement, Link, Policy, judge
from swarmlearning.swop.policyfile import usable_policy
from swarmlearning.swop.profile import Profile

logger = logging.getLogger("swarm.swop")

MOST_BYTES = 2**20


class Judging:
    """Judges for one SWOP, of this UID. The policy's file is read again for each judgement."""

    def __init__(
        self,
        profile: Profile,
        uid: str,
        policy_file: Path | None,
        approvals: Approvals,
        manager: ResourceManager,
        protected: Collection[Path],
        same_user: str = "",
    ) -> None:
        """`protected`: the SWOP's own files, which no task may reach; `same_user`: why ML processes would run as the
        SWOP's own user, empty where they do not. Raises `NodeError` for a policy that cannot be read."""
        self._profile = profile
        self._uid = uid
        self._file = policy_file
        self._approvals = approvals
        self._manager = manager
        self._protected = tuple(str(path.resolve()) for path in protected)
        self._same_user = same_user
        self.policy = self._read()
        if self.policy.broken is not None:
            raise NodeError(self.policy.broken)

    async def verdict(self, world: World, attempt: Attempt) -> Verdict:
        """What this site says to an attempt. Raises `ManagerError` where what was brought in cannot be found out."""
        try:
            chain = links(world, attempt.task)
        except DocumentError as error:
            logger.error("Task %s of taskrunner %s is no task: %s", attempt.task, attempt.taskrunner, error)
            return Verdict("reject", attempt.digest, reason="unsupported")
        brought = set[str]()
        for each in tasks.chain(world, attempt.task)[:-1]:
            brought.update(await self._manager.brought_in(each.outcome))
        found = await asyncio.to_thread(self._judged, self._facts(world, attempt, chain, frozenset(brought)))
        if found.says == "wait":
            self._ask(attempt, chain, found, world)
        elif found.says == "reject":
            logger.warning("Task %s is not carried out: %s", attempt.task, "; ".join(found.reasons))
        elif self.policy.demand_user and self._same_user and chain[-1].type == "RUN_SWARM":
            logger.error(
                "Task %s is not carried out, since the policy demands a user: %s", attempt.task, self._same_user
            )
            return Verdict("reject", found.digest, reason="unsupported")
        return Verdict(found.says, found.digest, self.policy.limits.seconds)

    def _facts(self, world: World, attempt: Attempt, chain: tuple[Link, ...], brought_in: frozenset[str]) -> Facts:
        own, answers = network.node(world, self._uid), self._approvals.answers()
        return Facts(
            chain=chain,
            assigner=assigner(world, attempt.taskrunner),
            organisation=own.organisation if own else "",
            profile=self._profile,
            brought_in=brought_in,
            protected=self._protected,
            approved=answers.approved,
            rejected=answers.rejected,
        )

    def _judged(self, facts: Facts) -> Judgement:
        self.policy = self._read()
        return judge(self.policy, facts, resolved)

    def _ask(self, attempt: Attempt, chain: tuple[Link, ...], found: Judgement, world: World) -> None:
        by = assigner(world, attempt.taskrunner)
        question = Question(
            digest=found.digest,
            taskrunner=attempt.taskrunner,
            task=attempt.task,
            type=chain[-1].type,
            assigned_by=f"{by.subject} of {by.organisation}",
            reasons=found.reasons,
            says=tuple(line for each in tasks.chain(world, attempt.task) for line in (f"{each.name}:", *each.lines)),
        )
        if self._approvals.ask(question):
            logger.warning(
                "Task %s waits for an approval: %s. See `swarm swop list`, then: swarm swop approve %s",
                *(attempt.task, "; ".join(found.reasons), found.digest),
            )

    def _read(self) -> Policy:
        if self._file is None:
            return Policy()
        try:
            with self._file.open("rb") as file:
                return usable_policy(file.read(MOST_BYTES + 1), str(self._file))
        except OSError as error:
            return Policy(broken=f"{self._file}: cannot be read: {error.strerror}")


def resolved(path: str) -> str | None:
    """The path without symbolic links; None where nothing is there, as far as this SWOP sees."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError:
        return None

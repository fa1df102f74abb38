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
from swarmlearning.swop.makers import Makers
from swarmlearning.swop.managing import Attempt, ManagerError, ResourceManager
from swarmlearning.swop.policy import Facts, Judgement, Link, Policy, judge
from swarmlearning.swop.policyfile import usable_policy
from swarmlearning.swop.profile import Profile
from swarmlearning.taskfiles.definition import RunSwarm

logger = logging.getLogger("swarm.swop")

MOST_BYTES = 2**20
MOST_TASKS = 32
"""Tasks of a chain, which is read and judged as a whole: an organisation may make more of them."""


class Judging:
    """Judges for one SWOP, of this UID. The policy's file is read again for each judgement."""

    def __init__(
        self,
        profile: Profile,
        uid: str,
        policy_file: Path | None,
        approvals: Approvals,
        manager: ResourceManager,
        makers: Makers,
        protected: Collection[Path],
        images: Collection[str] = (),
        same_user: str = "",
    ) -> None:
        """`protected`: the SWOP's own files, which no task may reach, and `images` those that it runs its nodes in;
        `same_user`: why ML processes would run as the SWOP's own user, empty where they do not.

        Raises `NodeError` for a policy that cannot be read.
        """
        self._profile = profile
        self._uid = uid
        self._file = policy_file
        self._approvals = approvals
        self._manager = manager
        self._makers = makers
        self._protected = tuple(str(path.resolve()) for path in protected)
        self._images = tuple(images)
        self._same_user = same_user
        self.policy = self.read_policy()
        if self.policy.broken is not None:
            raise NodeError(self.policy.broken)

    async def verdict(self, world: World, attempt: Attempt) -> Verdict:
        """What this site says to an attempt. Raises `ManagerError` where what was brought in cannot be found out."""
        if (count := len(tasks.chain(world, attempt.task))) > MOST_TASKS:
            logger.error("Task %s has %d prerequisites; %d are possible", attempt.task, count - 1, MOST_TASKS - 1)
            return Verdict("reject", attempt.digest, reason="unsupported")
        try:
            chain = await asyncio.to_thread(links, world, attempt.task)
        except DocumentError as error:
            logger.error("Task %s of taskrunner %s is no task: %s", attempt.task, attempt.taskrunner, error)
            return Verdict("reject", attempt.digest, reason="unsupported")
        found = await asyncio.to_thread(self._judged, await self._facts(world, attempt, chain))
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

    async def start_of(self, world: World, attempt: Attempt) -> RunSwarm:
        """A RUN_SWARM that was allowed, as it is to be started now: with the folders to which the paths that it names
        lead at this moment, which are judged anew, since links may have changed. Raises `ManagerError`."""
        *before, last = links(world, attempt.task)
        assert isinstance(last.definition, RunSwarm)
        run = await asyncio.to_thread(_led, last.definition)
        chain = (*before, last._replace(definition=run))
        found = await asyncio.to_thread(self._judged, await self._facts(world, attempt, chain))
        if found.says != "run":
            raise ManagerError("rejected", f"the site does not allow it any more: {'; '.join(found.reasons)}")
        return run

    def begin(self, world: World, attempt: Attempt) -> None:
        """Notes who makes the outcome of this task, before that begins. Raises `NodeError`."""
        made = tasks.chain(world, attempt.task)[-1]
        self._makers.note(made.outcome, made.organisation)

    async def _facts(self, world: World, attempt: Attempt, chain: tuple[Link, ...]) -> Facts:
        own, answers = network.node(world, self._uid), self._approvals.answers()
        brought = set[str]()
        for each in chain[:-1]:
            brought.update(await self._manager.brought_in(each.outcome))
        organisation = own.organisation if own else ""
        return Facts(
            chain=chain,
            assigner=assigner(world, attempt.taskrunner),
            organisation=organisation,
            profile=self._profile,
            brought_in=frozenset(brought),
            protected=self._protected,
            images=self._images,
            replaces=await self._replaces(chain[-1], organisation),
            approved=answers.approved,
            rejected=answers.rejected,
        )

    async def _replaces(self, last: Link, own: str) -> str:
        """Whose outcome a task of another organisation would replace."""
        if last.type == "RUN_SWARM" or last.maker.organisation == own:
            return ""
        if not await self._manager.brought_in(last.outcome):
            return ""
        maker = self._makers.maker(last.outcome)
        return "" if maker == last.maker.organisation else f"organisation {maker!r}" if maker else "the site itself"

    def _judged(self, facts: Facts) -> Judgement:
        self.policy = self.read_policy()
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

    def read_policy(self) -> Policy:
        """The policy as its file is now."""
        if self._file is None:
            return Policy()
        try:
            with self._file.open("rb") as file:
                return usable_policy(file.read(MOST_BYTES + 1), str(self._file))
        except OSError as error:
            return Policy(broken=f"{self._file}: cannot be read: {error.strerror}")


def _led(run: RunSwarm) -> RunSwarm:
    shared = (
        each._replace(source=resolved(each.source) or each.source) if each.kind == "BIND" else each
        for each in run.shared_content
    )
    return run._replace(shared_content=tuple(shared))


def resolved(path: str) -> str | None:
    """The path without symbolic links; None where nothing is there, as far as this SWOP sees."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError:
        return None

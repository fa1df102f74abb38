"""The driver: one SWOP at work. It tells the executor what happens, and does the work that the executor wants.

    chain ──────────────┐                    ┌─▶ ledger (reports)
    approvals ──────────┼─▶ Executor ────────┼─▶ resource manager (make, start, watch, stop, clean)
    works (their ends) ─┘   (decides)        └─▶ judging (the site's policy), journal

An event is handled at once, in the event loop, and never while another one is: actions only begin work.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.ledger.bodies import Body
from swarmlearning.ledger.bodies import Listen as ListenBody
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import tasks
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Sender
from swarmlearning.swop.assigned import ledger_facts, links
from swarmlearning.swop.composing import Contact, pair
from swarmlearning.swop.deciding import Executor
from swarmlearning.swop.facts import (
    ApprovalsChanged,
    Begin,
    Cancel,
    Cancelled,
    Clean,
    Done,
    Event,
    Failure,
    Judge,
    LedgerAdvanced,
    Listen,
    Make,
    Pause,
    Remember,
    Send,
    Stalled,
    Start,
    Stop,
    Wait,
    Watch,
    Work,
)
from swarmlearning.swop.journal import Journal
from swarmlearning.swop.judging import Judging
from swarmlearning.swop.managing import Attempt, ManagerError, ResourceManager
from swarmlearning.swop.narration import Narrator
from swarmlearning.swop.profile import Profile
from swarmlearning.swop.stalling import Watched, watch_progress
from swarmlearning.taskfiles.definition import RunSwarm

logger = logging.getLogger("swarm.swop")

STACKS_SECONDS = 10.0
WRITING_SECONDS = 0.5
"""The time in which a script writes its stacks, before it is ended."""


class Driver:
    """`run` carries out tasks until it is cancelled, or something ends this node."""

    def __init__(
        self,
        profile: Profile,
        contact: Callable[[], Contact],
        follower: Follower,
        sender: Sender,
        manager: ResourceManager,
        journal: Journal,
        judging: Judging,
        found: Collection[str],
    ) -> None:
        """`contact`: where SLs find an SN that answers now; `found`: the keys of the attempts that have left something
        at this site. Raises `NodeError`.
        """
        self._profile = profile
        self._contact = contact
        self._follower = follower
        self._sender = sender
        self._manager = manager
        self._journal = journal
        self._judging = judging
        self._narrator = Narrator()
        indices = [node.index for node in profile.nodes]
        self._executor = Executor(indices, journal.read(), found, _new_uid, end_hung=profile.end_hung)
        self._tasks: dict[Work, asyncio.Task[Any]] = {}
        self._cancelled: set[Work] = set()
        self._shows: set[asyncio.Task[None]] = set()
        self._shown: LedgerAdvanced | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def busy(self) -> bool:
        """True while a part of a task is carried out."""
        return self._executor.busy

    async def run(self) -> None:
        """Works until cancelled; what it has started then goes on. Raises `NodeError`."""
        works = [asyncio.create_task(self._follow()), asyncio.create_task(self._watch_progress())]
        try:
            done, _ = await asyncio.wait((*works, self._failed), return_when=asyncio.FIRST_COMPLETED)
            (self._failed if self._failed in done else done.pop()).result()
        finally:
            left = [*works, *self._shows, *self._tasks.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def answered(self) -> None:
        """The site's operator has answered a question."""
        self._tell(ApprovalsChanged())

    # --- events -----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async for chain in self._follower.chains():
            self._look(chain)

    def _look(self, chain: Chain) -> None:
        shown = ledger_facts(chain.world, self._profile, self._sender.author.uid)
        if shown != self._shown:
            self._shown = shown
            self._narrator.shown(shown, self._profile.taskrunner)
            self._tell(shown)

    async def _watch_progress(self) -> None:
        if self._profile.hang_seconds is None:
            await asyncio.Event().wait()  # until cancelled: nothing is watched
            return
        await watch_progress(self._profile.hang_seconds, self._follower, self._watched, self._stalled)

    def _watched(self) -> list[Watched]:
        """The pairs at work that train with the swarm."""
        at_work, assigned = self._executor.at_work, self._shown.assigned if self._shown else None
        if at_work is None or assigned is None:
            return []
        attempt, pairs = at_work
        return [Watched(attempt, pair.index, pair.sl_uid) for pair in pairs if pair.index not in assigned.loopback]

    def _stalled(self, news: Stalled) -> None:
        self._narrator.stalled(news, self._profile.hang_seconds or 0.0)
        if news.hangs:
            task = asyncio.create_task(self._show_stacks(news))
            self._shows.add(task)
            task.add_done_callback(self._stacks_shown)
        else:
            self._tell(news)

    def _stacks_shown(self, task: "asyncio.Task[None]") -> None:
        self._shows.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    async def _show_stacks(self, news: Stalled) -> None:
        """Has the script write its stacks, before it may be ended."""
        try:
            async with asyncio.timeout(STACKS_SECONDS):
                shown = await self._manager.show_stacks(news.attempt, news.index)
                self._narrator.stacks(news, shown, self._manager.logs(news.attempt, news.index).ml)
                await asyncio.sleep(WRITING_SECONDS if shown and self._profile.end_hung else 0)
        except (ManagerError, TimeoutError) as error:
            logger.warning("The stacks of idx : %d cannot be had: %s", news.index, str(error) or "no answer")
        self._tell(news)

    def _tell(self, event: Event) -> None:
        """Lets the executor decide. An error ends the node, whoever has caused the event."""
        if self._failed.done():
            return
        try:
            for action in self._executor.handle(event, time.time()):
                match action:
                    case Remember(memory):
                        self._journal.write(memory)
                    case Begin(work):
                        self._narrator.begun(work)
                        task = asyncio.get_running_loop().create_task(self._work(work))
                        self._tasks[work] = task
                        task.add_done_callback(partial(self._ended, work))
                    case Cancel(work):
                        self._cancelled.add(work)
                        self._tasks[work].cancel()
        except Exception as error:  # noqa: BLE001 - it becomes the result of `run`
            self._failed.set_exception(error)

    def _ended(self, work: Work, task: "asyncio.Task[Any]") -> None:
        cancelled = work in self._cancelled
        self._cancelled.discard(work)
        if task.cancelled() and not cancelled:
            return  # this node ends
        if isinstance(work, Send | Listen | Wait):
            self._look(self._follower.chain)  # before the executor learns that its report, or a session, stands there
        del self._tasks[work]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ManagerError):
            if not self._failed.done():
                self._failed.set_exception(error)
        elif error is not None:
            self._narrator.failed(work, error)
            self._tell(Done(work, Failure(error.reason)))
        else:
            result = Cancelled() if task.cancelled() else task.result()
            self._narrator.done(work, result)
            self._tell(Done(work, result))

    # --- work -------------------------------------------------------------------------------------------------------

    async def _work(self, work: Work) -> Any:
        match work:
            case Listen():
                return await self._send(self._profile.taskrunner, ListenBody(len(self._profile.nodes)))
            case Send(attempt, report):
                return await self._send(attempt.taskrunner, report)
            case Judge(attempt):
                return await self._judging.verdict(self._follower.chain.world, attempt)
            case Make(attempt):
                await self._make(attempt)
            case Start(attempt, index, sl_uid):
                await self._start(attempt, index, sl_uid)
            case Watch(attempt, index, known):
                return await self._manager.changed(attempt, index, known)
            case Stop(attempt, index):
                await self._manager.stop(attempt, index)
            case Clean(key):
                await self._manager.clean(key)
            case Wait():
                await asyncio.sleep(max(0.0, work.until - time.time()))
                if work.purpose == "session":
                    await self._catch_up()
            case Pause():
                await asyncio.sleep(work.seconds)
        return None

    async def _send(self, contract: str, body: Body) -> bool:
        try:
            await self._sender.send(contract, body)
        except Refusal as refusal:
            logger.warning("The ledger refuses a report to taskrunner %s: %s", contract, refusal)
            return False
        return True

    async def _catch_up(self) -> None:
        """Waits until this node has the blocks that an SN has now, however long no SN can be reached."""
        async for _ in Backoff():
            try:
                height = int((await self._follower.client.status())["height"])
            except (Unavailable, Refusal) as error:
                logger.debug("%s", error)
                continue
            await self._follower.reached(height)
            return

    async def _make(self, attempt: Attempt) -> None:
        chain = tasks.chain(self._follower.chain.world, attempt.task)
        self._judging.begin(self._follower.chain.world, attempt)
        what = links(self._follower.chain.world, attempt.task)[-1].definition
        assert not isinstance(what, RunSwarm)
        await self._manager.make(attempt, chain[-1].outcome, what)

    async def _start(self, attempt: Attempt, index: int, sl_uid: str) -> None:
        world = self._follower.chain.world
        again = await self._manager.state(attempt, index) is not None
        self._narrator.starting(index, sl_uid, again=again)
        if again:
            return
        run, chain = await self._judging.start_of(world, attempt), tasks.chain(world, attempt.task)
        base = chain[-2].outcome if len(chain) > 1 else ""
        limits = self._judging.policy.limits
        made = pair(self._profile, self._contact(), limits, run, base, attempt, index, sl_uid)
        if run.private_content is not None and made.private_content is None:
            self._narrator.without_private_data(index, run.private_content)
        await self._manager.start(attempt, made)


def _new_uid() -> str:
    return str(uuid.uuid4())

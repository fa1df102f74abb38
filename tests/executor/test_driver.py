"""The driver with a scripted resource manager, and a ledger that is a value."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from executor.worlds import BUILD, PROFILE, RUN, SWOP, task, world
from swarmlearning.ledger.bodies import Body, Listen, ReportPeer
from swarmlearning.ledger.contracts.taskrunner import Peer, Taskrunner, taskrunner, transitions
from swarmlearning.ledger.world import World
from swarmlearning.node.errors import NodeError
from swarmlearning.swop.approvals import Approvals
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.driver import Driver
from swarmlearning.swop.journal import Journal
from swarmlearning.swop.judging import Judging
from swarmlearning.swop.makers import Makers
from swarmlearning.swop.managing import ManagerError, PairState

SECONDS = 60.0


class Ledger:
    """Follower and sender in one: what is sent stands there at once."""

    def __init__(self, begun: World) -> None:
        self.chain = SimpleNamespace(world=begun, height=0)
        self.author = SimpleNamespace(uid=SWOP)
        self._changed = asyncio.Condition()

    async def chains(self) -> AsyncIterator[Any]:
        seen = None
        while True:
            async with self._changed:
                while self.chain is seen:
                    await self._changed.wait()
                seen = self.chain
            yield seen

    async def send(self, contract: str, body: Body) -> int:
        runner = taskrunner(self.chain.world, contract)
        assert runner is not None
        match body:
            case Listen(pairs):
                runner = transitions.listening(runner, SWOP, "own", pairs, 0)
            case ReportPeer():
                runner = transitions.report(runner, SWOP, body, 0)
        await self.advance(runner)
        return int(self.chain.height)

    async def advance(self, runner: Taskrunner) -> None:
        """The taskrunner is another one."""
        async with self._changed:
            changed = self.chain.world.with_entries({f"runner/{runner.name}": runner})
            self.chain = SimpleNamespace(world=changed, height=self.chain.height + 1)
            self._changed.notify_all()

    async def peer(self, reached: Callable[[Peer], bool]) -> Peer:
        """The SWOP once it is so `reached`."""
        async with asyncio.timeout(SECONDS):
            async for chain in self.chains():
                runner = taskrunner(chain.world, "runner")
                for peer in runner.peers if runner else ():
                    if reached(peer):
                        return peer
        raise AssertionError


class Manager:
    """Makes things unless there is a `fault`; a pair never comes to be started, unless it was before: `found`."""

    def __init__(self, fault: Exception | None = None, found: PairState | None = None) -> None:
        self.fault, self.found = fault, found
        self.calls: list[str] = []
        self.starting, self.cleaned = asyncio.Event(), asyncio.Event()

    async def brought_in(self, outcome: str) -> list[str]:
        return []

    async def make(self, *given: object) -> list[str]:
        self.calls.append("make")
        if self.fault is not None:
            raise self.fault
        return []

    async def state(self, *given: object) -> PairState | None:
        return self.found

    async def changed(self, *given: object) -> PairState:
        return PairState(0, 0)

    async def start(self, *given: object) -> None:
        self.calls.append("start")
        self.starting.set()
        await asyncio.Event().wait()  # until it is cancelled

    async def stop(self, *given: object) -> None:
        self.calls.append("stop")

    async def clean(self, key: str) -> None:
        self.calls.append("clean")
        self.cleaned.set()


def made(folder: Path, ledger: Ledger, manager: Manager) -> Driver:
    judging = Judging(PROFILE, SWOP, None, Approvals(folder), cast(Any, manager), Makers(folder), [])
    given = cast(Any, ledger)
    return Driver(PROFILE, lambda: Contact("127.0.0.1"), given, given, cast(Any, manager), Journal(folder), judging, [])


@pytest.mark.parametrize(
    ("found", "says"),
    [(None, "starting SL and user process, idx"), (PairState(None, None), "SL and user process found again, idx")],
)
async def test_the_log_says_whether_a_pair_is_started_or_only_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, found: PairState | None, says: str
) -> None:
    caplog.set_level(logging.INFO, "swarm.swop")
    ledger, manager = Ledger(world(task("run", "RUN_SWARM", RUN))), Manager(found=found)
    working = asyncio.create_task(made(tmp_path, ledger, manager).run())
    await (ledger.peer(lambda peer: peer.state == "complete") if found else manager.starting.wait())
    working.cancel()
    await asyncio.wait((working,), timeout=SECONDS)
    lines = [each.message for each in caplog.records if "SL and user process" in each.message]
    assert [line.removeprefix("SWOPRunTask: ").startswith(says) for line in lines] == [True]


async def test_the_log_warns_of_a_node_without_the_private_data_that_a_task_has_a_place_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanting = tuple(line.replace("PrivateContent: null", "PrivateContent: /data") for line in RUN)
    ledger, manager = Ledger(world(task("run", "RUN_SWARM", wanting))), Manager()
    working = asyncio.create_task(made(tmp_path, ledger, manager).run())
    async with asyncio.timeout(SECONDS):
        await manager.starting.wait()
    working.cancel()
    await asyncio.wait((working,), timeout=SECONDS)
    assert "idx : 0 has no privatedata in the profile: the script finds nothing at /data" in caplog.text


@pytest.mark.parametrize("fault", [None, ManagerError("build", "no compiler")])
async def test_a_task_is_made_and_reported(tmp_path: Path, fault: Exception | None) -> None:
    ledger = Ledger(world(task("build", "MAKE_USER_CONTAINER", BUILD)))
    working = asyncio.create_task(made(tmp_path, ledger, Manager(fault)).run())
    peer = await ledger.peer(lambda peer: peer.state in ("complete", "failed"))
    assert (peer.state, peer.reason) == (("failed", "build") if fault else ("complete", None))
    working.cancel()
    await asyncio.wait((working,), timeout=SECONDS)


async def test_a_fault_of_ours_ends_the_node(tmp_path: Path) -> None:
    ledger = Ledger(world(task("build", "MAKE_USER_CONTAINER", BUILD)))
    with pytest.raises(KeyError, match="ours"):
        await asyncio.wait_for(made(tmp_path, ledger, Manager(KeyError("ours"))).run(), SECONDS)


async def test_a_journal_that_cannot_be_written_ends_the_node_before_anything_is_started(tmp_path: Path) -> None:
    ledger, manager = Ledger(world(task("run", "RUN_SWARM", RUN))), Manager()
    driver = made(tmp_path / "gone", ledger, manager)
    with pytest.raises(NodeError, match="cannot be written"):
        await asyncio.wait_for(driver.run(), SECONDS)
    assert manager.calls == []


async def test_what_is_being_started_is_cancelled_by_a_reset_and_removed(tmp_path: Path) -> None:
    ledger, manager = Ledger(world(task("run", "RUN_SWARM", RUN))), Manager()
    working = asyncio.create_task(made(tmp_path, ledger, manager).run())
    await asyncio.wait_for(manager.starting.wait(), SECONDS)
    runner = taskrunner(ledger.chain.world, "runner")
    assert runner is not None
    await ledger.advance(transitions.reset(runner, lambda uid: True))
    await asyncio.wait_for(manager.cleaned.wait(), SECONDS)
    assert manager.calls == ["start", "clean"]
    working.cancel()
    await asyncio.wait((working,), timeout=SECONDS)

"""Pairs as real containers: started once, found again after a SIGKILL, ended, and gone."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.containers import Podman
from support.fixtures import SECONDS
from support.tools import needs
from swarmlearning.swop.docker.engine import Engine
from swarmlearning.swop.managing import Limits, ManagerError, PairState
from swarmlearning.swop.profile import ContainerOptions, NodeDefinition
from swop.docker.stand import ATTEMPT, IDLE, MEET, Stand, pair

pytestmark = needs("podman")


class Killed(BaseException):
    """Ends whatever is under way, as SIGKILL does."""


@contextmanager
def interrupted(after: int) -> Iterator[None]:
    """Inside the block so many requests that change something are carried out, and no more."""
    left = after

    async def post(self: Engine, *path: str, **more: Any) -> Any:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        return await carry_out(self, *path, **more)

    carry_out = Engine.post
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "post", post)
        yield


async def test_sl_and_script_of_different_users_meet_in_a_folder_of_their_own(stand: Stand) -> None:
    await stand.start(MEET + 'id; echo 5 > /tmp/hpe-swarm/code; echo go > "$SL_REQUEST_CHANNEL"; exit 3')
    assert await stand.ended() == PairState(sl_code=5, ml_code=3)
    await stand.manager.stop(ATTEMPT, 0)
    assert "uid=1000 gid=1000 groups=1000,58000" in stand.output("ml")
    sl = stand.output("sl")
    assert "uid=2000 gid=58000 groups=2000,58000" in sl
    assert "SN_NODE_IP=10.0.0.1" in sl
    assert "drwxrws--T" in sl
    assert stand.containers() == []
    assert await stand.manager.attempts() == set()


async def test_names_are_those_that_users_know(stand: Stand) -> None:
    await stand.start(IDLE)
    names = sorted(stand.containers())
    assert [name.rpartition("-")[0] for name in names] == ["group-run-task-s-0", "group-run-task-u-0"]
    (suffix,) = {name.rpartition("-")[2] for name in names}
    assert len(suffix) == 16
    assert f"swop-group-swif-0-{suffix}" in stand.engine.run("volume", "ls", "--quiet").split()


async def test_a_swop_that_was_killed_goes_on_with_what_it_has_started(stand: Stand) -> None:
    await stand.start(f"{MEET}echo before; {IDLE}")
    before = set(stand.containers())
    await stand.killed()
    assert await stand.manager.attempts() == {ATTEMPT.key}
    assert await stand.manager.state(ATTEMPT, 0) == PairState(None, None)
    assert await stand.manager.state(ATTEMPT, 1) is None
    await stand.start("exit 1")  # which is not started: the pair is there
    assert set(stand.containers()) == before
    await stand.manager.stop(ATTEMPT, 0)
    assert "before" in stand.output("ml")
    assert "SL told to end" in stand.output("sl")


@pytest.mark.parametrize("calls", range(5))
async def test_a_start_that_ended_after_any_request_is_completed_by_the_next(stand: Stand, calls: int) -> None:
    with interrupted(after=calls), pytest.raises(Killed):
        await stand.start("exit 4")
    await stand.killed()
    assert await stand.manager.state(ATTEMPT, 0) is None
    await stand.start("exit 4")
    assert len(stand.containers()) == 2
    async with asyncio.timeout(SECONDS):
        assert (await stand.manager.changed(ATTEMPT, 0, PairState(None, None))).ml_code == 4


async def test_a_script_is_asked_for_its_stacks_and_one_that_knows_of_none_goes_on(stand: Stand) -> None:
    assert not await stand.manager.show_stacks(ATTEMPT, 0)
    await stand.start(f"trap 'echo stacks; exit 5' 40; {MEET}{IDLE}")
    await stand.start(IDLE, node=NodeDefinition(1))
    assert await stand.manager.show_stacks(ATTEMPT, 1)
    async with asyncio.timeout(SECONDS):
        while (state := await stand.manager.state(ATTEMPT, 0)) == PairState(None, None):
            await stand.manager.show_stacks(ATTEMPT, 0)
    assert state == PairState(None, 5)
    assert await stand.manager.state(ATTEMPT, 1) == PairState(None, None)


async def test_a_script_that_takes_more_memory_than_it_may_is_ended_by_a_limit(stand: Stand) -> None:
    script = 'x=x; while true; do x="$x$x"; done'
    await stand.start(script, limits=Limits(memory_bytes=16 * 2**20, cpus=0.5, processes=20))
    async with asyncio.timeout(SECONDS):
        state = await stand.manager.changed(ATTEMPT, 0, PairState(None, None))
    assert state == PairState(None, 137, limited=True)


async def test_an_end_is_noticed_at_once_though_the_sl_goes_on(stand: Stand) -> None:
    await stand.start("exit 1")
    async with asyncio.timeout(SECONDS):
        assert await stand.manager.changed(ATTEMPT, 0, PairState(None, None)) == PairState(None, 1)


async def test_a_container_that_somebody_removed_counts_as_killed(stand: Stand) -> None:
    await stand.start(IDLE)
    user = next(name for name in stand.containers() if "-u-" in name)
    waiting = asyncio.create_task(stand.manager.changed(ATTEMPT, 0, PairState(None, None)))
    await asyncio.to_thread(stand.engine.run, "rm", "--force", "--time", "0", user)
    async with asyncio.timeout(SECONDS):
        assert await waiting == PairState(None, 137)


async def test_cleaning_ends_what_runs_and_leaves_what_others_have(
    stand: Stand, engine: Podman, tmp_path: Path
) -> None:
    other = ATTEMPT._replace(attempt=2)
    async with Stand(engine, tmp_path / "other", swop="swop-2").at_work() as neighbour:
        await neighbour.start(IDLE)
        await stand.start(IDLE)
        await stand.start(IDLE, attempt=other)
        await stand.manager.clean(ATTEMPT.key)
        assert await stand.manager.state(ATTEMPT, 0) is None
        assert await stand.manager.state(other, 0) == PairState(None, None)
        assert await neighbour.manager.state(ATTEMPT, 0) == PairState(None, None)
        assert await stand.manager.attempts() == {other.key}


async def test_containers_stay_where_the_site_keeps_them(engine: Podman, tmp_path: Path) -> None:
    async with Stand(engine, tmp_path, keep=True).at_work() as stand:
        await stand.start("exit 0")
        await stand.manager.stop(ATTEMPT, 0)
        assert len(stand.containers()) == 2
        assert await stand.manager.attempts() == set()
        await stand.manager.clean(ATTEMPT.key)
        assert len(stand.containers()) == 2
        await stand.killed(keep=False)
        await stand.manager.clean(ATTEMPT.key)
        assert stand.containers() == []


async def test_a_script_that_cannot_be_started_says_why(stand: Stand) -> None:
    with pytest.raises(ManagerError, match="no-such-program") as refused:
        await stand.start("", entrypoint="no-such-program", command="")
    assert refused.value.reason == "no-start"


async def test_an_image_that_nobody_has_made_is_named(stand: Stand) -> None:
    with pytest.raises(ManagerError, match="there is no image localhost/nobody:1 here") as refused:
        await stand.manager.start(ATTEMPT, pair("")._replace(base="localhost/nobody:1"))
    assert refused.value.reason == "no-start"


async def test_gpus_are_refused_where_the_engine_would_ignore_them(stand: Stand) -> None:
    node = NodeDefinition(0, options=ContainerOptions(gpus="all"))
    with pytest.raises(ManagerError, match="the training would use the CPU") as refused:
        await stand.start("exit 0", node=node)
    assert refused.value.reason == "unsupported"
    assert not [name for name in stand.containers() if "-u-" in name]


async def test_an_engine_that_is_not_there_is_the_site_s_fault(engine: Podman, tmp_path: Path) -> None:
    stand = Stand(engine, tmp_path)
    await stand.killed(address=stand.settings.address._replace(socket=str(tmp_path / "nobody.sock")))
    with pytest.raises(ManagerError, match=r"nobody\.sock does not answer") as refused:
        await stand.manager.check()
    assert refused.value.reason == "site"
    await stand.manager.close()


async def test_a_network_or_an_sl_image_that_is_missing_is_named_with_the_command_that_brings_it(stand: Stand) -> None:
    assert await stand.manager.check() == []
    stand.profile = replace(stand.profile, network="nowhere")
    await stand.killed()
    with pytest.raises(ManagerError, match="docker network create nowhere"):
        await stand.manager.check()
    stand.profile = replace(stand.profile, network="host")
    await stand.killed(sl_image="localhost/none:1")
    with pytest.raises(ManagerError, match="docker pull localhost/none:1"):
        await stand.manager.check()


async def test_a_pair_has_addresses_of_its_own_in_the_network(stand: Stand) -> None:
    stand.engine.run("network", "create", "--subnet", "10.213.47.0/24", "swarm-net")
    stand.profile = replace(stand.profile, network="swarm-net", dns=("10.213.47.53",))
    await stand.killed()
    node = NodeDefinition(0, sl_ip="10.213.47.9", user_ip="10.213.47.10", sl_hostname="sl1", user_hostname="ml1")
    await stand.start("hostname; ip -4 addr; cat /etc/resolv.conf; exit 3", node=node)
    await stand.manager.changed(ATTEMPT, 0, PairState(None, None))
    await stand.manager.stop(ATTEMPT, 0)
    stand.engine.run("network", "rm", "swarm-net")
    output = stand.output("ml")
    assert output.startswith("ml1\n")
    assert "inet 10.213.47.10/24" in output
    assert "nameserver 10.213.47.53" in output
    assert "THIS_NODE_IP=10.213.47.9" in stand.output("sl")

"""Pairs as real processes: what they see, how they end, and how a SWOP that was killed finds them again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from support.pairs import OTHER_USER, Site, shell, site
from support.tools import needs
from swarmlearning.swop.managing import Limits, ManagerError, Pair, PairState
from swarmlearning.swop.process import composing, manager, places
from swarmlearning.swop.process.parts import KILLED, KeptPart
from swarmlearning.swop.profile import ContainerOptions, NodeDefinition, PrivateData
from swarmlearning.taskfiles.definition import RunSwarm, SharedContent

WaitUntilGone = Callable[[Iterable[int]], None]


SWOP = """
import asyncio, pathlib, sys
from support.pairs import Site, profile, shell

async def main():
    here = Site(pathlib.Path(sys.argv[1]), profile())
    await here.manager.check()
    await here.start(shell(sys.argv[2]))
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def _pair(here: Site, task: RunSwarm | None = None, index: int = 0) -> Pair:
    return Pair(here.profile.nodes[index], task or shell("echo again"), "", "uid", {}, {})


async def test_a_pair_runs_and_its_ends_are_told() -> None:
    async with site(sl="mkfifo $SHARED/end; read line <$SHARED/end; exit 4") as here:
        os.mkfifo(here.folder / "go")
        assert await here.manager.state(here.attempt, 0) is None
        await here.start(
            shell(f"read line <{here.folder}/go; echo $GREETING; [ -d /tmp/hpe-swarm ] && exit 3"), GREETING="hello"
        )
        assert await here.manager.state(here.attempt, 0) == PairState(None, None)
        (here.folder / "go").write_text("\n")
        assert await here.ml_ended() == PairState(None, 3)
        (here.folder / "process/attempts" / here.attempt.key / "0/shared/end").write_text("\n")
        assert await here.manager.changed(here.attempt, 0, PairState(None, 3)) == PairState(4, 3)
        assert here.output() == "hello\n"
        assert await here.manager.attempts() == [here.attempt.key]
        await here.manager.clean(here.attempt.key)
        assert await here.manager.attempts() == []
        assert here.output() == "hello\n"  # logs stay


async def test_a_pair_is_started_once() -> None:
    async with site() as here:
        await here.run(shell("echo once"))
        await here.start(shell("echo twice"))
        await here.anew().start(here.attempt, _pair(here))
        assert here.output() == "once\n"


async def test_stopping_ends_all_that_a_pair_has_started(wait_until_gone: WaitUntilGone) -> None:
    async with site() as here:
        ready = here.folder / "ready"
        os.mkfifo(ready)
        escape = f"setsid sh -c 'trap \"\" TERM; echo >{ready}; sleep 1000' & sleep 1000"
        await here.start(shell(escape))
        await asyncio.to_thread(ready.read_text)
        running = here.marked()
        assert len(running) >= 4  # SL, the command, its sleep, and what has left its session
        await here.manager.stop(here.attempt, 0)
        assert not here.marked()
        assert await here.manager.state(here.attempt, 0) == PairState(128 + signal.SIGTERM, 128 + signal.SIGTERM)
        wait_until_gone(running)


async def test_what_a_command_leaves_behind_ends_with_it() -> None:
    async with site() as here:
        await here.run(shell("setsid sleep 1000 & exit 0"))
        await here.manager.stop(here.attempt, 0)
        assert not here.marked()


async def test_a_swop_started_again_finds_its_pairs() -> None:
    async with site() as here:
        os.mkfifo(here.folder / "go")
        await here.start(shell(f"read line <{here.folder}/go; exit 7"))
        other = here.anew()
        await other.check()
        state = await other.state(here.attempt, 0)
        assert state == PairState(None, None)
        (here.folder / "go").write_text("\n")
        assert await other.changed(here.attempt, 0, state) == PairState(None, 7)
        await other.stop(here.attempt, 0)
        assert await here.anew().state(here.attempt, 0) == PairState(128 + signal.SIGTERM, 7)


async def test_pairs_outlive_a_swop_that_is_killed(wait_until_gone: WaitUntilGone) -> None:
    async with site() as here:
        os.mkfifo(here.folder / "go")
        script = f"read line <{here.folder}/go; exit 7"
        swop = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SWOP, here.folder, script),
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        assert swop.stdout is not None
        assert await swop.stdout.readline() == b"started\n"
        os.killpg(swop.pid, signal.SIGKILL)
        await swop.wait()
        await here.start(shell("echo another"))
        state = await here.manager.state(here.attempt, 0)
        assert state == PairState(None, None)
        (here.folder / "go").write_text("\n")
        assert await here.manager.changed(here.attempt, 0, state) == PairState(None, 7)


async def test_an_end_right_after_the_state_was_read_is_reported(
    monkeypatch: pytest.MonkeyPatch, wait_until_gone: WaitUntilGone
) -> None:
    async with site() as here:
        go = here.folder / "go"
        os.mkfifo(go)
        await here.start(shell(f"read line <{go}; exit 7"))
        known = await here.manager.state(here.attempt, 0)
        assert known == PairState(None, None)
        record = here.folder / "process/attempts" / here.attempt.key / "0/ml/warden.json"
        read = manager._state

        def ended_since(sl: KeptPart, ml: KeptPart) -> PairState:
            if (found := read(sl, ml)) == known:
                go.write_text("\n")
                wait_until_gone([json.loads(record.read_bytes())["pid"]])
            return found

        monkeypatch.setattr(manager, "_state", ended_since)
        async with asyncio.timeout(120):
            assert await here.manager.changed(here.attempt, 0, known) == PairState(None, 7)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_swop_that_is_killed_while_it_starts_a_pair_starts_the_rest_later(
    after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = KeptPart._start, 0

    async def killed(part: KeptPart, lock: int, held: Sequence[int]) -> None:
        nonlocal begun
        if begun == after:
            raise asyncio.CancelledError
        begun += 1
        await start(part, lock, held)

    async with site(sl="echo once >>$SHARED/starts; exec sleep 1000") as here:
        monkeypatch.setattr(KeptPart, "_start", killed)
        with pytest.raises(asyncio.CancelledError):
            await here.start(shell("echo once"))
        assert await here.manager.state(here.attempt, 0) is None
        monkeypatch.undo()
        await here.run(shell("echo once"))
        assert here.output() == "once\n"
        assert (here.folder / "process/attempts" / here.attempt.key / "0/shared/starts").read_text() == "once\n"


async def test_a_pair_whose_warden_was_killed_has_ended_and_leaves_nothing(wait_until_gone: WaitUntilGone) -> None:
    async with site() as here:
        await here.start(shell("sleep 1000 & wait"))
        state = await here.manager.state(here.attempt, 0)
        assert state is not None
        record = here.folder / "process/attempts" / here.attempt.key / "0/ml/warden.json"
        running = here.marked()
        os.kill(json.loads(record.read_bytes())["pid"], signal.SIGKILL)
        assert await here.manager.changed(here.attempt, 0, state) == PairState(None, KILLED)
        await here.manager.stop(here.attempt, 0)
        wait_until_gone(running)
        assert not here.marked()


async def test_a_swop_that_was_killed_while_it_removed_a_pair_removes_the_rest() -> None:
    async with site() as here:
        await here.run(shell("mkdir -p $HOME/one/two/three"))
        attempt = here.folder / "process/attempts" / here.attempt.key
        removing, done = Path.rename, []

        def killed(moved: Path, target: Path) -> None:
            done.append(removing(moved, target))
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                places.remove(attempt)
        assert len(done) == 1
        await here.manager.clean(here.attempt.key)
        assert await here.manager.attempts() == []


async def test_what_cannot_be_started_is_said_each_time() -> None:
    async with site() as here:
        for _ in range(2):
            with pytest.raises(ManagerError, match="command '/no/such/program': No such file") as caught:
                await here.start(shell("")._replace(entrypoint="/no/such/program"))
            assert caught.value.reason == "no-start"
        assert not here.marked()


async def test_the_logs_of_the_newest_attempts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOGS_KEPT", 1)
    async with site() as here:
        logs = here.folder / "process/logs"
        (logs / "older").mkdir()
        os.utime(logs / "older", (0, 0))
        await here.run(shell("echo newer"))
        await here.manager.clean(here.attempt.key)
        assert [log.name for log in logs.iterdir()] == [here.attempt.key]
        assert here.output() == "newer\n"


async def test_output_without_end_fills_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "LOG_BYTES", 200_000)
    async with site() as here:
        await here.run(shell(f"i=0; while [ $i -lt 20000 ]; do echo {'0' * 40}; i=$((i+1)); done; echo end"))
        logs = list(here.manager.logs(here.attempt, 0).ml.parent.glob("0-ml.log*"))
        assert 100_000 < sum(log.stat().st_size for log in logs) <= 200_000
        assert here.output().endswith("end\n")


# --- what the ML process sees


@needs("views")
async def test_two_pairs_see_their_own_folder_at_the_place_that_clients_look_at() -> None:
    async with site(NodeDefinition(0), NodeDefinition(1), sl="echo $SHARED >$SHARED/whose; exec sleep 1000") as here:
        wait = "while ! [ -s /tmp/hpe-swarm/whose ]; do sleep 0.02; done"
        look = f"{wait}; cat /tmp/hpe-swarm/whose; touch /tmp/mine-of-test; ls /tmp/*mine-of-test"
        shared = [here.folder / "process/attempts" / here.attempt.key / index / "shared" for index in ("0", "1")]
        for index in (0, 1):
            await here.start(shell(f"{look}; echo $SWARM_CHANNEL; echo $SL_REQUEST_CHANNEL"), index)
        for index in (0, 1):
            await here.ml_ended(index)
            assert here.output(index).splitlines() == [
                str(shared[index]),
                "/tmp/mine-of-test",
                "/tmp/hpe-swarm/ml.sock",
                f"/tmp/hpe-swarm/group.{index}.{here.attempt.key}.request.pipe",
            ]
        assert not Path("/tmp/mine-of-test").exists()


@needs("views")
async def test_contents_appear_at_the_paths_of_the_task_and_nothing_is_made_on_the_host(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/a.csv").write_text("private")
    (tmp_path / "model").mkdir()
    node = NodeDefinition(0, private_data=PrivateData(str(tmp_path / "private"), "BIND"))
    async with site(node) as here:
        contents = (
            SharedContent(str(tmp_path / "model"), "/platform-of-test/usr/model", "BIND"),
            SharedContent("scratch", "/opt/scratch-of-test", "VOLUME"),
        )
        task = shell(
            "pwd; cat /platform-of-test/data/a.csv; echo 1 >model/out; echo 2 >/opt/scratch-of-test/x",
            working_dir="/platform-of-test/usr",
            private_content="/platform-of-test/data",
            shared_content=contents,
        )
        assert (await here.run(task)).ml_code == 0
        assert here.output() == "/platform-of-test/usr\nprivate"
        assert (tmp_path / "model/out").read_text() == "1\n"
        assert (here.folder / "process/volumes/scratch/x").read_text() == "2\n"
    assert not Path("/platform-of-test").exists()
    assert not Path("/opt/scratch-of-test").exists()


async def test_the_swops_environment_is_not_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("SWARM_ID_KEY", "/key.pem")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    async with site(NodeDefinition(0, options=ContainerOptions(gpus="device=3,5"))) as here:
        await here.run(shell("env"), EPOCHS="2")
        found = dict(line.split("=", 1) for line in here.output().splitlines())
    assert "secret" not in found.values()
    assert "SWARM_ID_KEY" not in found
    assert found["https_proxy"] == "http://proxy:3128"
    assert (found["EPOCHS"], found["CUDA_VISIBLE_DEVICES"], found["HIP_VISIBLE_DEVICES"]) == ("2", "3,5", "")


async def test_a_host_without_mount_namespaces_runs_one_pair_and_refuses_the_next() -> None:
    async with site(NodeDefinition(0), NodeDefinition(1)) as here:
        here.manager.has_views = False
        existed = Path(composing.SHARED).exists()
        try:
            await here.run(shell("echo $SWARM_CHANNEL", shared_content=(SharedContent("/etc", "/etc", "BIND"),)))
            assert here.output() == "/tmp/hpe-swarm/ml.sock\n"
            with pytest.raises(ManagerError, match="another pair uses /tmp/hpe-swarm") as caught:
                await here.start(shell(""), 1)
            assert caught.value.reason == "unsupported"
            await here.manager.stop(here.attempt, 0)
            await here.run(shell("echo now"), 1)
            elsewhere = shell("", shared_content=(SharedContent("/etc", "/data", "BIND"),))
            with pytest.raises(ManagerError, match="/etc cannot appear at /data"):
                await here.manager.start(here.attempt._replace(attempt=2), _pair(here, elsewhere))
        finally:
            if not existed:
                Path(composing.SHARED).rmdir()


# --- users and limits


@needs("root")
@pytest.mark.usefixtures("private")
async def test_the_script_runs_as_another_user_that_shares_a_group_with_its_sl(tmp_path: Path) -> None:
    node = NodeDefinition(0, user=OTHER_USER, options=ContainerOptions(groups=("77",)))
    async with site(node, sl="umask 7; echo from SL >$SHARED/file; exec sleep 1000") as here:
        key = here.folder / "key.pem"
        key.write_text("secret")
        key.chmod(0o600)
        script = (
            "while ! [ -s /tmp/hpe-swarm/file ]; do sleep 0.02; done; id -u; id -G; cat /tmp/hpe-swarm/file; cd; "
            f"echo mine >a; cat {key}; ls {here.folder}/process; "
            "echo from ML >/tmp/hpe-swarm/other; rm -f /tmp/hpe-swarm/file"
        )
        await here.run(shell(script))
        shared = here.folder / "process/attempts" / here.attempt.key / "0/shared"
        uid, groups, said, *errors = here.output().splitlines()
        assert (uid, said) == (OTHER_USER, "from SL")
        assert set(groups.split()) == {OTHER_USER, "77", str(shared.stat().st_gid)}
        assert len(errors) == 3, errors  # the key, the manager's folder, and removing a file of the SL's
        assert (shared / "other").read_text() == "from ML\n"
        assert (shared / "other").stat().st_gid == shared.stat().st_gid


@needs("root")
async def test_an_unknown_user_is_named() -> None:
    async with site(NodeDefinition(0, user="nobody-of-test")) as here:
        with pytest.raises(ManagerError, match="user 'nobody-of-test' of node 0: no such user"):
            await here.start(shell(""))


@needs("root")
async def test_the_processes_of_a_user_are_limited() -> None:
    async with site(NodeDefinition(0, user="54329")) as here:  # no other test's processes count
        script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo all"
        state = await here.run(shell(script), limits=Limits(processes=8))
        assert state.ml_code not in (0, None)
        assert "all" not in here.output()


async def test_limits_that_cannot_be_enforced_are_refused() -> None:
    async with site() as here:
        here.manager._groups.base = None
        with pytest.raises(ManagerError, match="limits cpus and memory_bytes of a pair") as caught:
            await here.start(shell(""), limits=Limits(cpus=1.0, memory_bytes=10**9, seconds=5.0))
        assert caught.value.reason == "unsupported"


async def test_a_script_that_came_up_against_a_limit_of_its_control_group_is_told_apart() -> None:
    async with site() as here:  # in folders that stand for a delegated subtree
        here.manager._groups.base = here.folder / "groups"
        group = here.folder / "groups" / f"{here.attempt.key}.0"
        group.mkdir(parents=True)
        (here.folder / "groups/cgroup.procs").touch()
        (group / "memory.events").write_text("low 0\nmax 3\noom_kill 1\n")
        (group / "pids.events").write_text("max 0\n")
        state = await here.run(shell("exit 9"), limits=Limits(memory_bytes=10**9))
        assert state == PairState(None, 9, limited=True)
        assert (group / "cgroup.procs").read_text().isdecimal()


@needs("cgroup")
async def test_memory_is_limited_by_a_control_group() -> None:
    async with site() as here:
        script = "x=0123456789012345; while :; do x=$x$x; done"
        state = await here.run(shell(script), limits=Limits(memory_bytes=64 * 2**20))
        assert state == PairState(None, KILLED, limited=True)

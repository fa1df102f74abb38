"""The processes of a run: the report of one that fails, and that all of them end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from swarmlearning.supervise import processes, readiness
from swarmlearning.supervise.processes import Child, Processes, ProcessFailed, RunError, describe
from swarmlearning.supervise.readiness import SlFacts

WaitUntilGone = Callable[[Iterable[int]], None]

WAIT = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Processes]:
    async with Processes(tmp_path, os.environ) as made:
        yield made


async def first_line(child: Child, pipe: Path) -> str:
    """Waits for the text that a process writes into a named pipe when it is ready."""
    return await asyncio.to_thread(pipe.read_text)


async def test_a_process_has_its_environment_and_its_output_in_a_log(running: Processes, tmp_path: Path) -> None:
    child = await running.start("site-1", ["sh", "-c", "echo out $GREETING; echo error >&2"], {"GREETING": "hello"})
    await running.until_ended([child])
    assert (tmp_path / "site-1.log").read_text() == "out hello\nerror\n"


async def test_a_failure_names_process_exit_code_and_the_last_lines_of_its_log(running: Processes) -> None:
    child = await running.start("site-2", ["sh", "-c", "seq 1 30; exit 3"])
    with pytest.raises(ProcessFailed) as caught:
        await running.until_ended([child])
    head, *lines = str(caught.value).splitlines()
    assert head == f"site-2 ended with exit code 3. The end of {child.log}:"
    assert [line.strip() for line in lines] == [str(number) for number in range(11, 31)]


async def test_a_failure_by_a_signal_names_it(running: Processes) -> None:
    child = await running.start("site-1", ["sh", "-c", "kill -SEGV $$"])
    with pytest.raises(ProcessFailed, match=r"site-1 was ended by signal 11 \(SIGSEGV\)"):
        await running.until_ended([child])


async def test_the_end_of_a_process_that_should_go_on_is_a_failure(running: Processes) -> None:
    await running.start("SN-1", ["true"], lasting=True)
    script = await running.start("site-1", WAIT)
    with pytest.raises(ProcessFailed, match="SN-1 ended with exit code 0"):
        await running.until_ended([script])


async def test_the_failure_that_came_first_is_raised(running: Processes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    second = await running.start("site-1", ["sh", "-c", f"cat {tmp_path}/pipe; exit 1"])
    first = await running.start("site-2", ["sh", "-c", "exit 2"])
    await first.end
    (tmp_path / "pipe").write_text("")
    await second.end
    with pytest.raises(ProcessFailed, match="site-2 ended with exit code 2"):
        await running.until_ended([second])


async def test_a_program_that_does_not_exist_fails_by_its_name(running: Processes) -> None:
    child = await running.start("site-1", ["no-such-program"])
    with pytest.raises(ProcessFailed, match=r"(?s)exit code 127.*no-such-program"):
        await running.until_ended([child])


async def test_a_process_whose_log_cannot_be_written_is_not_started(tmp_path: Path) -> None:
    async with Processes(tmp_path / "missing", os.environ) as running:
        with pytest.raises(RunError, match="cannot start site-1"):
            await running.start("site-1", ["true"])


async def test_processes_left_in_the_group_of_one_that_ends_are_ended_too(
    running: Processes, tmp_path: Path, wait_until_gone: WaitUntilGone
) -> None:
    child = await running.start("site-1", ["sh", "-c", "sleep 1000 & echo $!"])
    await running.until_ended([child])
    wait_until_gone([int(child.log.read_text())])


async def test_an_error_ends_all_processes(tmp_path: Path, wait_until_gone: WaitUntilGone) -> None:
    started: list[Child] = []

    async def run() -> None:
        async with Processes(tmp_path, os.environ) as running:
            started.append(await running.start("SN-1", WAIT, lasting=True))
            running.next_wave()
            started.append(await running.start("site-1", ["false"]))
            await running.until_ended(started[1:])

    with pytest.raises(ProcessFailed):
        await run()
    wait_until_gone(child.pid for child in started)
    assert started[0].end.result() == -signal.SIGTERM


async def test_cancelling_ends_all_processes_even_when_done_twice(tmp_path: Path) -> None:
    started: list[Child] = []
    begun = asyncio.Event()

    async def run() -> None:
        async with Processes(tmp_path, os.environ) as running:
            started.append(await running.start("site-1", WAIT))
            begun.set()
            await running.until_ended(started)

    task = asyncio.create_task(run())
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].end.done()


async def test_the_newest_wave_is_stopped_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ready")
    script = (
        f'trap "echo $0 >>{tmp_path}/ended; exit 0" TERM; echo >{tmp_path}/ready; while :; do sleep 1000 & wait; done'
    )
    async with Processes(tmp_path, os.environ) as running:
        for name in ("first", "second", "third"):
            running.next_wave()
            child = await running.start(name, ["sh", "-c", script, name])
            await first_line(child, tmp_path / "ready")
    assert (tmp_path / "ended").read_text().split() == ["third", "second", "first"]


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.05)
    os.mkfifo(tmp_path / "ready")
    async with Processes(tmp_path, os.environ) as running:
        child = await running.start("site-1", ["sh", "-c", f'trap "" TERM; echo >{tmp_path}/ready; sleep 1000'])
        await first_line(child, tmp_path / "ready")
    assert child.end.result() == -signal.SIGKILL


async def test_killing_processes_does_not_wait(running: Processes, tmp_path: Path) -> None:
    child = await running.start("site-1", WAIT)
    running.kill()
    assert await child.end == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "ended with exit code 0"),
        (130, "ended with exit code 130"),
        (-9, "was ended by signal 9 (SIGKILL)"),
        (-40, "was ended by signal 40"),
    ],
)
def test_the_end_of_a_process_is_described_by_exit_code_or_signal(code: int, text: str) -> None:
    assert describe(code) == text


async def test_the_end_of_a_sacrificed_process_is_no_failure(running: Processes) -> None:
    victim = await running.start("site-1", WAIT)
    await running.sacrifice(victim)
    assert victim.end.result() == -signal.SIGKILL
    other = await running.start("site-2", ["true"])
    await running.until_ended([other])


async def test_a_sacrificed_process_is_ended_although_nobody_waits_for_it(
    tmp_path: Path,
) -> None:
    async with Processes(tmp_path, os.environ) as running:
        victim = await running.start("site-1", WAIT)
        sacrificing = asyncio.create_task(running.sacrifice(victim))
        await asyncio.sleep(0)
        sacrificing.cancel()
        await asyncio.wait((sacrificing,))
    assert victim.end.result() == -signal.SIGKILL


async def test_a_failing_process_is_noticed_although_it_was_started_after_the_watch_began(running: Processes) -> None:
    await running.start("site-1", WAIT)
    watching = asyncio.create_task(running.watch())
    await asyncio.sleep(0)
    await running.start("site-2", ["sh", "-c", "exit 3"])
    with pytest.raises(ProcessFailed, match="site-2 ended with exit code 3"):
        await watching


# --- a node says that it is ready


def node(code: str) -> list[str]:
    """A command that gets `--ready-fd N` as its last words."""
    return [sys.executable, "-c", f"import os, signal, sys; fd = int(sys.argv[-1]); {code}"]


async def test_a_node_that_is_ready_reports_its_facts(running: Processes) -> None:
    facts = b'{"channel": "/run/ml.sock", "fs": "h:1", "more": "is ignored"}\n'
    started = await readiness.start_node(
        running, "SL-1", node(f"os.write(fd, {facts!r}); os.close(fd); signal.pause()")
    )
    assert await started.ready(SlFacts) == SlFacts(channel="/run/ml.sock", fs="h:1")


async def test_a_node_that_ends_before_it_is_ready_is_a_failure_with_its_log(running: Processes) -> None:
    started = await readiness.start_node(running, "SL-1", node("sys.exit('swarm sl: no such SN')"))
    with pytest.raises(ProcessFailed, match=r"(?s)SL-1 ended with exit code 1 before it was ready.*no such SN"):
        await started.ready(SlFacts)


async def test_a_node_that_is_never_ready_is_a_failure(running: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "READY_SECONDS", 0.05)
    started = await readiness.start_node(running, "SL-1", node("signal.pause()"))
    with pytest.raises(ProcessFailed, match="SL-1 was not ready after"):
        await started.ready(SlFacts)


async def test_a_node_that_ends_too_slowly_to_be_waited_for_is_still_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "READY_SECONDS", 1.0)
    async with Processes(tmp_path, os.environ) as running:
        started = await readiness.start_node(running, "SL-1", node("os.close(fd); signal.pause()"))
        with pytest.raises(ProcessFailed, match="SL-1 was not ready after"):
            await started.ready(SlFacts)
    assert started.child.end.result() == -signal.SIGTERM

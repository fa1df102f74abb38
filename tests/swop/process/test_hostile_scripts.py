"""Scripts that mean harm: what they leave behind, and what they do to those that end them."""

import asyncio
import sys
import time

import pytest

from support.pairs import shell, site
from swarmlearning.swop.managing import ManagerError
from swarmlearning.swop.process import composing
from swarmlearning.swop.process.places import remove
from swarmlearning.taskfiles.definition import MakeUserContainer

CHAIN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.environ.clear()
while time.monotonic() < {until}:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
"""Each process forks the next one in a session of its own, and ends: none is there for longer than an instant."""

CHAIN_SECONDS = 180


def chain() -> str:
    """A command that leaves a chain of processes behind, which lasts for `CHAIN_SECONDS`."""
    return f"env -i {sys.executable} -ISc '{CHAIN.format(until=time.monotonic() + CHAIN_SECONDS)}' &"


async def test_a_chain_of_processes_is_ended_with_the_script_that_has_left_it() -> None:
    async with site() as here:
        begun = time.monotonic()
        await here.start(shell(f"{chain()} exit 3"))
        state = await asyncio.wait_for(here.ml_ended(), CHAIN_SECONDS - 10)
        assert state.ml_code == 3
        assert time.monotonic() < begun + CHAIN_SECONDS - 10


async def test_a_script_that_makes_processes_without_end_is_ended_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "ML_GRACE", 0.5)
    async with site() as here:
        await here.start(shell(f"trap '' TERM; {chain()} while :; do sleep 1; done"))
        await asyncio.wait_for(here.manager.stop(here.attempt, 0), CHAIN_SECONDS - 10)
        state = await here.manager.state(here.attempt, 0)
        assert state is not None
        assert state.ml_code == 128 + 9


async def test_folders_deeper_than_any_path_and_closed_ones_are_removed() -> None:
    script = "mkdir closed; touch closed/file; chmod 0 closed; ln -s / link; mkfifo pipe; " + (
        f'{sys.executable} -ISc \'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(1500)]\''
    )
    async with site() as here:
        assert (await here.run(shell(f"cd $HOME; {script}"))).ml_code == 0
        await here.manager.clean(here.attempt.key)
        assert not await here.manager.attempts()


async def test_a_build_context_of_folders_within_folders_without_end_is_refused() -> None:
    async with site() as here:
        context = here.folder / "process/volumes/context"
        context.mkdir()
        script = f'{sys.executable} -ISc \'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(1500)]\''
        await here.run(shell(f"cd {context}; {script}"))
        build = MakeUserContainer(("FROM python", "COPY . /", "RUN pip install -r /r.txt"), "context")
        try:
            with pytest.raises(ManagerError, match="128 folders within each other"):
                await here.manager.make(here.attempt, "user-env", build)
        finally:
            remove(context)

"""Scripts that mean harm: what they leave behind, and what they do to those that end them."""

import asyncio
import sys
import time

import pytest

from support.pairs import shell, site
from swarmlearning.swop.process import composing

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


def chain() -> str:
    """A command that leaves a chain of processes behind, which lasts for a minute."""
    return f"env -i {sys.executable} -ISc '{CHAIN.format(until=time.monotonic() + 60)}' &"


async def test_a_chain_of_processes_is_ended_with_the_script_that_has_left_it() -> None:
    async with site() as here:
        begun = time.monotonic()
        await here.start(shell(f"{chain()} exit 3"))
        state = await asyncio.wait_for(here.ml_ended(), 50)
        assert state.ml_code == 3
        assert time.monotonic() < begun + 50


async def test_a_script_that_makes_processes_without_end_is_ended_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "ML_GRACE", 0.5)
    async with site() as here:
        await here.start(shell(f"trap '' TERM; {chain()} while :; do sleep 1; done"))
        await asyncio.wait_for(here.manager.stop(here.attempt, 0), 30)
        state = await here.manager.state(here.attempt, 0)
        assert state is not None
        assert state.ml_code == 128 + 9

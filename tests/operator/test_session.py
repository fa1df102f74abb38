"""An operator's command that acts waits for the chain as long as blocks come."""

import asyncio
from typing import cast

from support.virtual_time import run_in_virtual_time
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.commanding import SECONDS, catch_up
from swarmlearning.node.follower import Follower


class SlowSn:
    """A follower, and its SN, which has five blocks and sends one of them in 50 s."""

    def __init__(self) -> None:
        self.chain, self.client = Chain(), self

    async def status(self) -> dict[str, int]:
        return {"height": 4}

    async def reached(self, height: int) -> Chain:
        await asyncio.sleep(50.0)
        self.chain = Chain(height=height)
        return self.chain

    def judge_sns(self) -> None:
        """It is the only one."""


def test_a_chain_that_takes_long_to_verify_is_waited_for_as_long_as_blocks_come() -> None:
    async def scenario() -> int:
        follower = SlowSn()
        async with asyncio.timeout(SECONDS) as limit:
            await catch_up(cast(Follower, follower), limit)
        return follower.chain.height

    assert run_in_virtual_time(scenario()) == 4

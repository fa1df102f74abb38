"""`stucksl.py FILE …`: `swarm …` as an SL whose merges do not end while FILE exists; its heartbeats go on."""

import asyncio
import os
import sys
from typing import Any

from swarmlearning.cli.main import main
from swarmlearning.sl import effects
from swarmlearning.sl.merging import merge_round

STUCK = sys.argv.pop(1)


async def merge_unless_stuck(*task: Any) -> Any:
    """The merge; never, while the file exists."""
    if os.access(STUCK, os.F_OK):
        await asyncio.get_running_loop().create_future()
    return await merge_round(*task)


vars(effects)["merge_round"] = merge_unless_stuck
main()

"""Follows the address of this machine: a laptop, or a host whose address is assigned anew, may get another one."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import closing, suppress
from typing import Final

from swarmlearning.node.listening import host_towards
from swarmlearning.transport.waiting import readable

logger = logging.getLogger("swarm.node")

_GROUPS: Final = 0x10 | 0x40 | 0x100 | 0x400
"""Linux' RTMGRP_*: addresses and routes, of IPv4 and IPv6."""
_SETTLE_SECONDS: Final = 1.0
"""Addresses and routes come one after another."""


async def new_hosts(towards: str, host: str) -> AsyncGenerator[str, None]:
    """Each address from which this machine reaches `towards` (`host:port`), once that is another one than before.

    `host`: the present one. Ends at once where the system does not report changes.
    """
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except (AttributeError, OSError) as error:  # not Linux, or not permitted
        logger.info("A change of this machine's address will not be noticed: %s", error)
        return
    with closing(events):
        events.setblocking(False)
        events.bind((0, _GROUPS))
        while True:
            await readable(events)
            await asyncio.sleep(_SETTLE_SECONDS)
            with suppress(BlockingIOError):
                while events.recv(65536):
                    pass
            found = await asyncio.to_thread(host_towards, towards)
            if found and found != host:
                host = found
                yield host

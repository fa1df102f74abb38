"""Commands about nodes, and those that wait for an SN."""

import asyncio
import time
from typing import Final

from swarmlearning.address import with_port
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.nodes import TWO_SNS, ActiveNode, active_nodes, survives_nothing
from swarmlearning.operator.session import Operator
from swarmlearning.swci.commands.contexts import SERVICE_PORT, UP, ip_address
from swarmlearning.swci.output import Line, Lines, line, table
from swarmlearning.swci.session import Session
from swarmlearning.views.render import clock

RETRIES: Final = 360
HEADS: Final = ("NODE TYPE", "HOST", "PORT", "CONTAINER NAME", "UUID", "PARENT UUID", "LAST I-AM-ALIVE")


async def list_all(session: Session) -> list[Line]:
    """LIST NODES."""

    async def look(operator: Operator) -> tuple[list[ActiveNode], bool]:
        world = (await operator.refresh()).world
        status = await operator.client.status()
        return active_nodes(world, status, time.time_ns() // 1_000_000), survives_nothing(status)

    found, fragile = await session.use(look)
    rows = [
        (each.type, each.host, str(each.port or ""), each.name, each.uid, each.parent, clock(each.last_alive_ms))
        for each in found
    ]
    if session.settings.web:
        return [line(",".join(each.replace(",", r"\x2c") for each in row)) for row in (HEADS, *rows)]
    return [*table(HEADS, rows), *([line(TWO_SNS, "note")] if fragile else [])]


async def wait_for_ip(session: Session, ip: str, port: int | None, retries: int | None) -> Lines:
    """WAIT FOR IP."""
    async for each in _wait(session, ip_address(ip, port), retries):
        yield each


async def wait_for_service(session: Session, service: str, retries: int | None) -> Lines:
    """WAIT FOR SERVICE."""
    async for each in _wait(session, with_port(service, SERVICE_PORT), retries):
        yield each


async def _wait(session: Session, address: str, retries: int | None) -> Lines:
    """Tries until the SN answers; a sign of progress stands for each attempt in vain."""
    most = RETRIES if retries is None else retries
    for attempt in range(most + 1):
        try:
            await session.probe(address)
        except (Unavailable, Refusal) as error:
            if attempt == most:
                raise NodeError(f"API Server is not up after {most + 1} attempts: {error}") from error
            yield line("#", "mark")
            await asyncio.sleep(session.settings.retry_seconds)
        else:
            yield line(UP)
            return

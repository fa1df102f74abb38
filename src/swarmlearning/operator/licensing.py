"""The license of a session of SWCI, or of a UI: each that runs at the same time has a token of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import CurrentContext, client_context, follow_source
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.datadir import DataDirectory, InUseError
from swarmlearning.node.errors import NodeError
from swarmlearning.node.license import Kind, Licensed, licensed
from swarmlearning.operator.link import MOST_SESSIONS


@asynccontextmanager
async def licensed_session(
    servers: LicenseServers, source: IdentitySource, home: Path, kind: Kind = "SWCI"
) -> AsyncIterator[Licensed | None]:
    """Inside the block a session has its token; without servers it needs none.

    Its UID is kept in the first folder below `home` that no other session uses, so one that was killed finds its token
    again. Raises `NodeError`.
    """
    if not servers.addresses:
        yield None
        return
    with ExitStack() as stack:
        for number in range(1, MOST_SESSIONS + 1):
            with suppress(InUseError):
                place = stack.enter_context(DataDirectory(home / "license" / f"session-{number}"))
                break
        else:
            raise NodeError(f"{home}: {MOST_SESSIONS} sessions are open already; end one of them")
        tls = CurrentContext(client_context(known := source.current))
        async with licensed(kind, servers, tls, place.uid) as held, asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow_source(tls, client_context, source, known))
            yield held
            following.cancel()

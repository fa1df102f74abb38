"""The license of a session of SWCI: each that runs at the same time has a token of its own."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.datadir import DataDirectory, InUseError
from swarmlearning.node.errors import NodeError
from swarmlearning.node.license import licensed
from swarmlearning.swci.link import MOST_SESSIONS


@asynccontextmanager
async def licensed_session(servers: LicenseServers, identity: Identity, home: Path) -> AsyncIterator[None]:
    """Inside the block a session has its token; without servers it needs none.

    Its UID is kept in the first folder below `home` that no other session uses, so one that was killed finds its token
    again. Raises `NodeError`.
    """
    if not servers.addresses:
        yield
        return
    with ExitStack() as stack:
        for number in range(1, MOST_SESSIONS + 1):
            with suppress(InUseError):
                place = stack.enter_context(DataDirectory(home / "license" / f"session-{number}"))
                break
        else:
            raise NodeError(f"{home}: {MOST_SESSIONS} sessions are open already; end one of them")
        async with licensed("SWCI", servers, client_context(identity), place.uid):
            yield

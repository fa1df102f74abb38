"""An SN with a port for newcomers, an operator who invites, and newcomers, in a test's own event loop."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from support.local_sn import Member, member, running_sn
from support.ports import fixed_port
from swarmlearning.address import split
from swarmlearning.backoff import Backoff
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.onetime import new_key, public_half
from swarmlearning.identity.requests import make_request
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import newcomer_context
from swarmlearning.invitations.code import JoinCode, read_code
from swarmlearning.invitations.standing import authorization
from swarmlearning.ledger.bodies import Invite, NodeType, RequestCertificate
from swarmlearning.operator.invitations import code_of
from swarmlearning.sn.welcoming import JoinSettings

HOUR_MS = 3_600_000


@dataclass
class Host:
    """The SN and its operator; `join` is the address of its port for newcomers."""

    api: str
    join: str
    operator: Member

    async def invite(self, name: str = "SL-new", organisation: str = "ca-1") -> JoinCode:
        """A code for a node of this name, or for an organisation; the port opens some time after."""
        key = new_key()
        role: NodeType | None = "SL" if name else None
        body = Invite(public_half(key), organisation, time.time_ns() // 1_000_000 + HOUR_MS, role, name)
        await self.operator.send(body)
        return read_code(code_of(await self.operator.catch_up(), body, key, self.api))

    async def until(self, *, is_open: bool) -> None:
        """Waits until the port accepts connections, or none."""
        async for _ in Backoff(0.02, 0.1):
            if await self.accepts() is is_open:
                return

    async def accepts(self) -> bool:
        """Whether somebody listens."""
        host, port = split(self.join)
        try:
            _, writer = await asyncio.open_connection(host, port)
        except (ConnectionRefusedError, ConnectionResetError):  # reset: it stopped listening meanwhile
            return False
        writer.transport.abort()
        return True


@asynccontextmanager
async def hosting(
    folder: Path,
    sn: Identity,
    operator: Identity,
    *,
    host: str = "127.0.0.1",
    service: str = "",
    source: IdentitySource | None = None,
) -> AsyncIterator[Host]:
    """An SN that takes in newcomers, with its registered operator."""
    settings = JoinSettings(fixed_port(), service)
    async with (
        running_sn(folder, sn, host=host, join=settings, source=source) as facts,
        member(facts["api"], operator, "op-1", "SWCI") as made,
    ):
        await made.register()
        yield Host(facts["api"], facts["join"], made)


def request_for(code: JoinCode, name: str = "") -> tuple[ec.EllipticCurvePrivateKey, RequestCertificate]:
    """A new key, and the request for its certificate, which is not signed yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, RequestCertificate(public_half(code.key), make_request(key, name or code.name, [], ["127.0.0.1"]), "")


async def ask(
    address: str, path: str = "", method: str = "GET", data: bytes | None = None, code: JoinCode | None = None
) -> tuple[int, str]:
    """Status and body of an answer of the port `/join`, without any client of ours; with a code as its holder."""
    headers = {"authorization": authorization(code.key, code.network_id)} if code else {}
    connector = aiohttp.TCPConnector(ssl=newcomer_context())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"https://{address}/join{path}", data=data, headers=headers) as response,
    ):
        return response.status, await response.text()

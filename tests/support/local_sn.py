"""A whole SN inside the test's event loop, and nodes that talk to it over mutual TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from swarmlearning.api.client import SnClient
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import IdentitySource, Latest
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Body, NodeType, Register
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.node.sender import Author
from swarmlearning.ordering.protocols import EngineChoice
from swarmlearning.sn.node import SnSettings, run_sn
from swarmlearning.sn.welcoming import JoinSettings


@asynccontextmanager
async def running_sn(
    data_dir: Path,
    identity: Identity,
    *,
    port: int = 0,
    name: str = "test",
    sentinel: bool = True,
    ordering: EngineChoice = "local",
    host: str = "127.0.0.1",
    bind: str = "",
    join: JoinSettings | None = None,
    source: IdentitySource | None = None,
) -> AsyncIterator[dict[str, str]]:
    """Yields the facts of an SN at work, as it reported them (`api` is its address). Raises what ended it.

    `source`: of its identity, where that changes.
    """
    reported: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    settings = SnSettings(
        name="SN-1",
        host=host,
        api_port=port,
        p2p_port=0,
        data_dir=data_dir,
        network_name=name,
        sentinel=sentinel,
        sentinel_address="",
        ordering=ordering,
        api_service="",
        p2p_service="",
        witness=False,
        bind=bind,
        join=join,
    )
    sn = asyncio.create_task(run_sn(settings, source or Latest(identity), reported.set_result))
    await asyncio.wait((sn, reported), return_when=asyncio.FIRST_COMPLETED)
    if sn.done():
        sn.result()
    try:
        yield reported.result()
    finally:
        sn.cancel()
        with suppress(asyncio.CancelledError):
            await sn


@dataclass
class Member:
    """A node that signs and sends by itself: no follower, no retries."""

    uid: str
    kind: NodeType
    identity: Identity
    client: SnClient
    chain: Chain
    author: Author

    def write(self, body: Body, contract: str = network.CONTRACT) -> SignedTransaction:
        return self.author.write(self.chain, contract, body)

    async def send(self, body: Body, contract: str = network.CONTRACT) -> int:
        """One transaction, signed at the newest height this member has seen."""
        await self.catch_up()
        return await self.client.submit(self.write(body, contract).raw)

    async def register(self) -> int:
        return await self.send(Register(self.kind, self.uid, to_pem(self.identity.certificate), "0"))

    async def catch_up(self) -> Chain:
        """The chain as the SN shows it now."""
        height = int((await self.client.status())["height"])
        while self.chain.height < height:
            self.chain = self.chain.append(await self.client.block(self.chain.height + 1)).chain
        return self.chain


@asynccontextmanager
async def member(
    address: str,
    identity: Identity,
    uid: str = "sl-1",
    kind: NodeType = "SL",
    incarnation: int = 1,
    signs_as: Identity | None = None,
) -> AsyncIterator[Member]:
    """A node not registered yet; it may sign with another identity than its connections have."""
    author = Author((signs_as or identity).signer(), uid, incarnation)
    async with SnClient(address, client_context(identity)) as client:
        yield Member(uid, kind, signs_as or identity, client, Chain(), author)


async def fetch(address: str, identity: Identity, path: str, **request: Any) -> tuple[int, str, str]:
    """Status, content type and body, without any client of ours."""
    method = request.pop("method", "GET")
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context(identity))) as client,
        client.request(method, f"https://{address}{path}", **request) as response,
    ):
        return response.status, response.content_type, await response.text()

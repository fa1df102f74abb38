"""A client that sends HTTP byte by byte over mTLS, and an application that describes the request."""

import asyncio
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import Receive, Scope, Send

from swarmlearning.api.peer import peer_certificate, peer_thumbprint
from swarmlearning.api.server import Server

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the client's certificate and the length of the body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    certificate = peer_certificate(scope).public_bytes(Encoding.DER)
    answer = {
        "thumbprint": peer_thumbprint(scope),
        "certificate": hashlib.sha256(certificate).hexdigest(),
        "received": len(body),
    }
    data = json.dumps(answer).encode()
    headers = [(b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


class Client:
    """One TLS connection over which a test sends what bytes it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, server: Server, context: ssl.SSLContext | None) -> AsyncIterator["Client"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        client = cls(reader, writer)
        try:
            yield client
        finally:
            writer.transport.abort()

    async def request(self, request: bytes = GET) -> tuple[int, dict[str, object]]:
        """Sends these bytes and returns the status and the JSON of the answer."""
        self.writer.write(request)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, object]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        return int(head.split()[1]), json.loads(await self.reader.readexactly(int(length[1])))

    async def rest(self) -> bytes:
        """Returns all that arrives until the server ends the connection."""
        try:
            return await self.reader.read()
        except OSError:
            return b""

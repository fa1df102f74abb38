"""uvicorn's HTTP/1.1 protocol with the limits that it lacks and with the peer's identity.

What is bounded, and how: connections in all (the busiest party gives one up), with one certificate and of one
organisation (503), the head and the trailer of a request (431), the time a request takes to arrive (408; an application
may allow more), the answer that waits for a slow reader, and the time a connection lies idle. A request that arrives
before the one before it is answered closes the connection: pipelined requests would have to be kept in memory, as many
as the client cares to send.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from swarmlearning.api.middleware import QUOTA, error_body
from swarmlearning.api.peer import MORE_TIME_KEY, SCOPE_KEY, Connection
from swarmlearning.rates import Rate
from swarmlearning.transport.complaints import Complaints
from swarmlearning.transport.listener import describe
from swarmlearning.transport.parties import Credential, Roster, credential_of, network_of, party_of
from swarmlearning.transport.shares import Share, Shares

MAX_HEAD_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Limits:
    """The bounds that one server sets its clients. Nodes may share a certificate: keep `connections_per_peer` roomy.

    `unsent_bytes`: of an answer, that wait in memory for a slow reader; None leaves it to the event loop.
    `handshake_rate`: of all clients together; None is no bound beside the one that each network has.
    """

    connections: int = 512
    connections_per_peer: int = 64
    handshakes: int = 256
    handshake_seconds: float = 10.0
    request_seconds: float = 20.0
    unread_seconds: float = 60.0
    keep_alive_seconds: int = 75
    unsent_bytes: int | None = None
    handshake_rate: Rate | None = None


class _PipelinedError(Exception):
    """A request began before the one before it was answered."""


class PeerProtocol(HttpToolsProtocol):
    """One connection; `scope["swarm.peer"]` of each of its requests is the peer's `Connection`."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        roster: "Roster[PeerProtocol]",
        shares: Shares,
        complaints: Complaints,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._limits = limits
        self._roster = roster
        self._shares = shares
        self._share: Share | None = None
        self._complaints = complaints
        self.lost: asyncio.Future[None] = loop.create_future()
        self._connection: Connection | None = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._bytes_beside_body = 0

    @property
    def busy(self) -> bool:
        """True while a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        credential = credential_of(transport.get_extra_info("ssl_object"))
        self._connection = Connection(credential, transport.get_extra_info("socket"))
        if self._limits.unsent_bytes is not None:
            transport.set_write_buffer_limits(high=self._limits.unsent_bytes)
        dropped = self._roster.enter(self, party_of(credential, self.client))
        self._share = self._shares.enter(credential)
        if dropped is not None:
            dropped.drop()
        if dropped is not self:
            self._admit(credential.thumbprint)

    def _admit(self, thumbprint: str) -> None:
        allowed, share = self._limits.connections_per_peer, self._share
        bounds = [(self._roster.with_certificate(thumbprint), allowed, "with one certificate", "")]
        if share is not None:
            whose = f"of organisation {share.organisation}, its quota of connections"
            bounds.append((self._shares.held(share), share.connections, whose, QUOTA))
        for held, most, which, code in bounds:
            # A refused connection lives on until its answer is read: twice the number is therefore the end.
            if held > 2 * most:
                return self.drop()
            if held > most:
                return self._refuse(503, f"more than {most} connections {which}; close some first", code)
        return self._start_request_timer()

    @property
    def credential(self) -> Credential | None:
        """The peer's credential; None before the connection is made."""
        return self._connection.credential if self._connection else None

    def drop(self, reason: str = "too many connections") -> None:
        """Ends the connection at once, whatever is under way on it."""
        self._complain(f"dropped: {reason}")
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_request_timer()
        self._roster.leave(self)
        self._shares.leave(self._share)
        super().connection_lost(exc)
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self.busy:
            self._start_request_timer()
        self._bytes_beside_body += len(data)
        super().data_received(data)
        if self._bytes_beside_body > MAX_HEAD_BYTES:
            self._refuse(431, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        if self.busy:
            raise _PipelinedError  # the parser stops; uvicorn calls `send_400_response`
        super().on_message_begin()
        self.scope[SCOPE_KEY] = self._connection  # type: ignore[literal-required]
        self.scope[MORE_TIME_KEY] = self._allow_more_time  # type: ignore[literal-required]
        self._start_request_timer()

    def on_body(self, body: bytes) -> None:
        self._bytes_beside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_request_timer()
        self._bytes_beside_body = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, or comes too early."""
        self._refuse(400, "send a request after the answer to the one before it" if self.busy else msg)

    def _start_request_timer(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(self._limits.request_seconds, self._request_is_slow)

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _allow_more_time(self) -> None:
        """The request has its whole time once more, if it has not arrived yet."""
        if self._request_timer is not None:
            self._stop_request_timer()
            self._start_request_timer()

    def _request_is_slow(self) -> None:
        self._refuse(408, f"the request did not arrive within {self._limits.request_seconds:g} seconds")

    def _refuse(self, status: int, detail: str, code: str = "") -> None:
        """Answers outside of any application, where HTTP still allows it, and closes the connection."""
        self._stop_request_timer()
        if self.transport.is_closing():
            return
        self._complain(f"closed: {detail}")
        if not (self.busy and self.cycle.response_started):
            body = error_body(detail, code)
            head = (
                f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _complain(self, text: str) -> None:
        self._complaints.warn(network_of(self.client), "connection from %s %s", describe(self.client), text)

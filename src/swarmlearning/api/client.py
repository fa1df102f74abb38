"""An SN's API as its clients use it: send a transaction, read and follow blocks, request the state.

`docs/protocol.md` describes the API; every SN describes it at `/openapi.json`.
"""

import asyncio
import io
import re
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from swarmlearning.api.allowance import LINES_PER_BLOCK, Allowance
from swarmlearning.api.answers import (
    Acceptance,
    Attestation,
    BlockState,
    ClusterMember,
    Health,
    Ordered,
    Stance,
    Status,
)
from swarmlearning.api.asking import CLOSED, FAILURES, TooLongError, body_of, causes, printable, reason_of, session_to
from swarmlearning.api.peertls import Fault, PeerTls, WrongPeerError, role_fault
from swarmlearning.api.releases import CODE, HEADER, OWN, Spoken, mismatch
from swarmlearning.errors import UserError
from swarmlearning.transport.parties import Credential
from swarmlearning.views.training import TrainingProgress
from swarmlearning.views.vitals import Vitals

ANSWER_SECONDS = 40.0
"""A transaction is ordered or refused within this time, else the SN reports that it cannot."""
SILENCE_SECONDS = 6.0
"""An SN sends at least a comment every 2 seconds on a block stream; a longer silence is a dead or frozen SN."""
CONNECTIONS = 4
"""To one SN: the stream of blocks, and requests meanwhile. An SN has room for 1024 in all."""
MAX_ANSWER = 2 * 1024 * 1024
"""Bytes of an answer: a block, or something shorter."""
MAX_STATUS = 16 * 1024 * 1024
MAX_ERROR = 64 * 1024
TOO_MANY_REQUESTS = 429
"""The status of an answer to a node whose organisation has used up a quota of the SN's: trying again later helps."""
TIME_HEADER = "swarm-time-ms"
"""Of the answer to a heartbeat: the SN's time, as Unix time in milliseconds."""
DISTRUST = (
    " without an answer, as an SN does that does not trust the CA of this certificate; an operator of a member admits "
    "an organisation with `swarm organisation admit`"
)

T = TypeVar("T")


class Unavailable(UserError):
    """The SN cannot be reached or cannot answer now; trying again, or another SN, may help unless it is `final`."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Refusal(UserError):
    """The SN refuses: `code` is for programs, `detail` for people, `height` is the block it judged on."""

    def __init__(self, code: str, detail: str, height: int) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.detail = detail
        self.height = height


class _RefusalBody(msgspec.Struct, frozen=True):
    code: str
    detail: str
    height: int = -1


def _no_fault(credential: Credential) -> str:
    return ""


class SnClient:
    """One SN, by `host:port`. Keeps its connections; use as an async context manager or call `close`.

    Whoever answers there must show a certificate for the role SN in which `fault` finds none either, and speak one of
    the protocols that this program `speaks`. All that it sends is bounded, and taken as it is: without content coding,
    redirects or cookies. It is reached through the HTTP proxy that the environment names, if any.
    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext,
        answer_seconds: float = ANSWER_SECONDS,
        fault: Fault = _no_fault,
        speaks: Spoken = OWN,
    ) -> None:
        self.address = address
        self._base = f"https://{address}"
        self._seconds = answer_seconds
        self._fault = fault
        self._speaks = speaks
        self._answered = False
        self._context = tls
        self._tls = PeerTls(tls, lambda credential: role_fault(credential) or fault(credential))
        timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=min(5.0, answer_seconds))
        self._session = session_to(address, self._tls, timeout, CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    def fault(self) -> str:
        """The fault that is found now in the SN to which a connection is open; empty where there is none."""
        return self._tls.fault()

    def anew(self) -> "SnClient":
        """Another client of this SN, with connections of its own. On one from before an outage TCP tries ever less
        often: what is sent there comes seconds after the outage has ended."""
        other = SnClient(self.address, self._context, self._seconds, self._fault, self._speaks)
        other._answered = self._answered
        return other

    async def submit(self, raw: str) -> int:
        """Height of the block that holds the transaction. Raises `Refusal`, or `Unavailable`: then it may or may not
        be on the chain, and sending the same bytes again is safe."""
        return self._read(
            Acceptance, await self._request("POST", "/transactions", raw.encode(), "application/jose")
        ).height

    async def announce(
        self,
        uid: str,
        incarnation: int,
        steps: int,
        moved: int,
        training: TrainingProgress | None = None,
        ahead_ms: int = 0,
        same_user: bool = False,
        vitals: Vitals | None = None,
    ) -> int | None:
        """Sends one heartbeat, of a node whose clock is so far ahead of this one's; `same_user`: of a SWOP that runs
        ML processes as its own user. Returns the SN's time in Unix milliseconds, None of an SN that does not state it.
        Raises as `submit` does."""
        time_ms = time.time_ns() // 1_000_000 + ahead_ms
        body: dict[str, Any] = {
            "incarnation": incarnation,
            "steps": steps,
            "moved": moved,
            "training": training,
            "time_ms": time_ms,
        }
        if same_user:
            body["same_user"] = True
        if vitals is not None:
            body["vitals"] = vitals
        headers, _ = await self._exchange("PUT", f"/presence/{uid}", msgspec.json.encode(body))
        stated = headers.get(TIME_HEADER, "")
        return int(stated) if re.fullmatch("[0-9]{1,15}", stated) else None

    async def append(self, height: int, block_hash: str, entry: bytes) -> tuple[int, str]:
        """Orders a block after this head, for an SN that has no vote; returns height and hash of the new head.

        Raises `Refusal` (`conflict`: another block was faster), or `Unavailable`: it may or may not be ordered.
        """
        path = f"/log/{height + 1}?previous={block_hash}"
        head = self._read(Ordered, await self._request("POST", path, entry, "application/octet-stream"))
        return head.height, head.hash

    async def cluster(self) -> list[ClusterMember]:
        """The members of the etcd cluster; empty where the SN has no vote."""
        return self._read(list[ClusterMember], await self._request("GET", "/cluster"))

    async def end_vote(self, uid: str) -> None:
        """Ends the vote of the SN that requests this. Raises as `submit` does."""
        await self._request("DELETE", f"/cluster/{uid}")

    async def block(self, height: int) -> bytes:
        """The raw block of this height. Raises `Refusal` when there is none."""
        return await self._request("GET", f"/blocks/{height}")

    async def state(self, height: int) -> BlockState:
        """The hashes of the block at this height and of the state after it. Raises `Refusal` when the SN does not
        know."""
        return self._read(BlockState, await self._request("GET", f"/blocks/{height}/state"))

    async def attestation(self, height: int) -> str:
        """The SN's signature under its block at a recent height and the state after it. Raises as `state` does."""
        return self._read(Attestation, await self._request("GET", f"/blocks/{height}/attestation")).jws

    async def stance(self, height: int) -> Stance:
        """The SN's opinion of its block at a height. Raises `Refusal` for one that it does not know."""
        return self._read(Stance, await self._request("GET", f"/blocks/{height}/stance"))

    async def clock(self) -> int:
        """The time that the SN's own clock shows, as Unix time in milliseconds."""
        return self._read(Health, await self._request("GET", "/health")).time_ms

    async def ask_logs(self, uid: str, jws: str) -> str:
        """The answer of a node to a request for its logs, as it has signed it. Raises as `submit` does."""
        answer = await self._request("POST", f"/v1/logs/{uid}", jws.encode(), "application/jose")
        return answer.decode("ascii", errors="replace")

    async def next_ask(self, uid: str) -> str:
        """The next request for logs of this node; empty if none has come for a while. Raises as `submit` does."""
        return (await self._request("GET", f"/v1/logs/{uid}")).decode("ascii", errors="replace")

    async def answer_logs(self, uid: str, digest: str, answer: str) -> None:
        """Delivers this node's answer to the request of a digest. Raises as `submit` does."""
        await self._request("PUT", f"/v1/logs/{uid}/{digest}", answer.encode(), "application/jose")

    async def status(self) -> dict[str, Any]:
        """The SN's view of the network, with the fields of `answers.Status`."""
        answer = self._read(Status, await self._request("GET", "/status", limit=MAX_STATUS))
        found: dict[str, Any] = msgspec.to_builtins(answer)
        return found

    async def blocks(self, start: int) -> AsyncGenerator[bytes, None]:
        """Every block from height `start` on, raw, each as soon as it is committed. Ends with `Unavailable`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=SILENCE_SECONDS)
        try:
            async with asyncio.timeout(self._seconds):  # interim responses without end are no silence
                response = await self._open("GET", f"/blocks?from={start}", timeout=timeout)
            async with response:
                if response.status != 200:
                    raise self._failure(response.status, await self._body(response, MAX_ERROR))
                self._refuse_coding(response)
                beside = Allowance()
                while line := await self._line(response):
                    if line.startswith(b"data: "):
                        beside.earn(LINES_PER_BLOCK)
                        yield line[6:].rstrip(b"\n")
                    elif not beside.spend(len(line)):
                        raise Unavailable(f"SN {self.address} sends much that is no block on its block stream")
        except FAILURES as error:
            raise self._unavailable(error) from error
        raise Unavailable(f"SN {self.address} has ended the block stream")

    async def _request(
        self, method: str, path: str, data: bytes | None = None, kind: str = "application/json", limit: int = MAX_ANSWER
    ) -> bytes:
        return (await self._exchange(method, path, data, kind, limit))[1]

    async def _exchange(
        self, method: str, path: str, data: bytes | None = None, kind: str = "application/json", limit: int = MAX_ANSWER
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of the answer."""
        headers = {"content-type": kind} if data is not None else None
        body = io.BytesIO(data) if data is not None else None
        try:
            async with await self._open(method, path, data=body, headers=headers) as response:
                if 200 <= response.status < 300:
                    return response.headers, await self._body(response, limit)
                raise self._failure(response.status, await self._body(response, MAX_ERROR))
        except FAILURES as error:
            raise self._unavailable(error) from error

    async def _open(self, method: str, path: str, **options: Any) -> aiohttp.ClientResponse:
        if self._session.closed:
            raise Unavailable(f"the connections to SN {self.address} are closed: it is no longer one of the network's")
        options["headers"] = {HEADER: str(self._speaks), **(options.get("headers") or {})}
        response = await self._session.request(method, self._base + path, allow_redirects=False, **options)
        self._answered = True
        if reason := mismatch(self._speaks, Spoken.read(response.headers.get(HEADER)), f"SN {self.address}"):
            response.close()
            raise Unavailable(reason, final=True)
        return response

    async def _body(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """The body, at most `limit` bytes and not encoded. Raises `Unavailable`."""
        self._refuse_coding(response)
        try:
            return await body_of(response, limit)
        except TooLongError as error:
            text = str(error).removeprefix("it ")
            raise Unavailable(f"SN {self.address} {text}") from error

    async def _line(self, response: aiohttp.ClientResponse) -> bytes:
        """The next line of a block stream, whatever it consists of; empty at the end."""
        async with asyncio.timeout(self._seconds):
            return await response.content.readline()

    def _refuse_coding(self, response: aiohttp.ClientResponse) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unavailable(f"SN {self.address} sends encoded content, which was not requested")

    def _read(self, kind: type[T], answer: bytes) -> T:
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = printable(str(error))  # it may quote the answer
            raise Unavailable(f"SN {self.address} sends an answer that cannot be understood: {text}") from error

    def _failure(self, status: int, body: bytes) -> Refusal | Unavailable:
        """The error of an answer that is not the one requested."""
        refusal = _refusal(status, body)
        if refusal.code == CODE:
            return Unavailable(f"SN {self.address}: {refusal.detail}", final=True)
        if 400 <= status < 500 and status != TOO_MANY_REQUESTS:
            return refusal
        return Unavailable(f"SN {self.address}: {refusal.detail}")

    def _unavailable(self, error: Exception) -> Unavailable:
        """A failed TLS handshake is final: the address, a certificate or the CAs of a side are wrong."""
        found = list(causes(error))
        for cause in found:
            if isinstance(cause, WrongPeerError):
                text = f"what answers at {self.address} is not an SN: {cause.detail}. Check address and port"
                return Unavailable(text, final=True)
        ends = (ssl.SSLEOFError, ssl.SSLZeroReturnError)  # the connection has ended, which says nothing about trust
        distrust = next(
            (cause for cause in found if isinstance(cause, ssl.SSLError) and not isinstance(cause, ends)), None
        )
        if distrust is not None:
            return Unavailable(
                f"SN {self.address} and this node do not trust each other: {distrust}. Check on both sides that "
                "certificates are valid and that the CA of the other is in --cacert or --capath",
                final=True,
            )
        reason = reason_of(error)
        if reason == CLOSED and not self._answered:  # in TLS 1.3 a server refuses a certificate in this way
            reason += DISTRUST
        return Unavailable(f"SN {self.address} cannot be reached: {reason}")


def _refusal(status: int, body: bytes) -> Refusal:
    try:
        found = msgspec.json.decode(body, type=_RefusalBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body[:300].decode(errors="replace")
        return Refusal(f"http-{status}", printable(text) or f"it answers with HTTP status {status}", -1)
    return Refusal(printable(found.code), printable(found.detail), found.height)

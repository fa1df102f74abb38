"""An SN's API as its clients use it: send a transaction, read and follow blocks, ask for the state.

`docs/protocol.md` describes the API; every SN serves its OpenAPI page at `/docs`.
"""

import io
import ssl
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from swarmlearning.errors import UserError

ANSWER_SECONDS = 40.0
"""A transaction is ordered or refused within this time, else the SN says that it cannot."""
SILENCE_SECONDS = 6.0
"""An SN sends at least a comment every 2 seconds on a block stream; a longer silence is a dead or frozen SN."""
CONNECTIONS = 4
"""To one SN: the stream of blocks, and what is said or asked meanwhile. An SN bears 512 of all nodes together."""
MAX_LINE = 2 * 1024 * 1024


class Unavailable(UserError):
    """The SN cannot be reached or cannot answer now; asking again, or another one, may help unless it is `final`."""

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


class RefusalBody(msgspec.Struct, frozen=True):
    """JSON of a refusal, as SNs send it with status 4xx."""

    code: str
    detail: str
    height: int = -1


class SnClient:
    """One SN, by `host:port`. Keeps its connections; use as an async context manager or call `close`."""

    def __init__(self, address: str, tls: ssl.SSLContext, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.address = address
        self._base = f"https://{address}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=answer_seconds, sock_connect=min(5.0, answer_seconds)),
            read_bufsize=MAX_LINE,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def submit(self, raw: str) -> int:
        """Height of the block that holds the transaction. Raises `Refusal`, or `Unavailable`: then it may or may not
        be on the chain, and sending the same bytes again is safe."""
        answer = await self._request("POST", "/transactions", raw.encode(), "application/jose")
        height: int = msgspec.json.decode(answer)["height"]
        return height

    async def announce(
        self, uid: str, incarnation: int, steps: int, moved: int, training: Mapping[str, Any] | None = None
    ) -> None:
        """One heartbeat; `training` is how far that is, as the API has it. Raises as `submit` does."""
        body = {"incarnation": incarnation, "steps": steps, "moved": moved, "training": training}
        await self._request("PUT", f"/presence/{uid}", msgspec.json.encode(body))

    async def append(self, height: int, block_hash: str, entry: bytes) -> tuple[int, str]:
        """Orders a block after this head, for an SN that has no vote; height and hash of the new head.

        Raises `Refusal` (`conflict`: another block was faster), or `Unavailable`: it may or may not be ordered.
        """
        path = f"/log/{height + 1}?previous={block_hash}"
        answer = msgspec.json.decode(await self._request("POST", path, entry, "application/octet-stream"))
        return answer["height"], answer["hash"]

    async def cluster(self) -> list[dict[str, Any]]:
        """The members of the etcd cluster: `id`, `name`, `peer_url`, `learner`; empty where the SN has no vote."""
        members: list[dict[str, Any]] = msgspec.json.decode(await self._request("GET", "/cluster"))
        return members

    async def end_vote(self, uid: str) -> None:
        """Ends the vote of the asking SN. Raises as `submit` does."""
        await self._request("DELETE", f"/cluster/{uid}")

    async def block(self, height: int) -> bytes:
        """The raw block of this height. Raises `Refusal` when there is none."""
        return await self._request("GET", f"/blocks/{height}")

    async def state(self, height: int) -> dict[str, Any]:
        """`height`, `hash` of the block, `state_hash` after it. Raises `Refusal` when the SN does not know."""
        answer: dict[str, Any] = msgspec.json.decode(await self._request("GET", f"/blocks/{height}/state"))
        return answer

    async def status(self) -> dict[str, Any]:
        """The SN's view of the network: nodes, trainings, what they wait for."""
        answer: dict[str, Any] = msgspec.json.decode(await self._request("GET", "/status"))
        return answer

    async def blocks(self, start: int) -> AsyncGenerator[bytes, None]:
        """Every block from height `start` on, raw, each as soon as it is committed. Ends with `Unavailable`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=SILENCE_SECONDS)
        try:
            async with self._session.get(f"{self._base}/blocks", params={"from": start}, timeout=timeout) as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.read())
                async for line in response.content:
                    if line.startswith(b"data: "):
                        yield line[6:].rstrip(b"\n")
        except (aiohttp.ClientError, TimeoutError, ValueError, ssl.SSLError) as error:
            raise self._unavailable(error) from error
        raise Unavailable(f"SN {self.address} has ended the block stream")

    async def _request(
        self, method: str, path: str, data: bytes | None = None, kind: str = "application/json"
    ) -> bytes:
        headers = {"content-type": kind} if data is not None else None
        body = io.BytesIO(data) if data is not None else None
        try:
            async with self._session.request(method, self._base + path, data=body, headers=headers) as response:
                answer = await response.read()
                if response.status >= 500:
                    raise Unavailable(f"SN {self.address}: {_refusal(response.status, answer).detail}")
                if response.status >= 400:
                    raise _refusal(response.status, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        """A failed TLS handshake is final: one side's certificate or CAs are wrong, and trying again will not help."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            return Unavailable(
                f"SN {self.address} and this node do not trust each other: {cause}. Check on both sides that "
                "certificates are valid and that the CA of the other is in --cacert or --capath",
                final=True,
            )
        return Unavailable(f"SN {self.address} cannot be reached: {str(error) or type(error).__name__}")


def _refusal(status: int, body: bytes) -> Refusal:
    try:
        found = msgspec.json.decode(body, type=RefusalBody)
    except msgspec.DecodeError:
        return Refusal(f"http-{status}", body[:300].decode(errors="replace"), -1)
    return Refusal(found.code, found.detail, found.height)

"""A license server as its clients use it. It may belong to another organisation: all that it sends is bounded."""

import ssl
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from swarmlearning.api.asking import FAILURES, body_of, reason_of, session_to
from swarmlearning.api.peertls import PeerTls, WrongPeerError
from swarmlearning.license.features import Feature
from swarmlearning.license.messages import Code, Granted, Leases, Refused
from swarmlearning.license.servers import server_fault
from swarmlearning.views.names import displayed

ANSWER_SECONDS = 5.0
CONNECTIONS = 2
MOST_BYTES = 64 * 1024
MOST_BYTES_OF_LEASES = 8 * 1024 * 1024
LONGEST = 300

T = TypeVar("T")


class NoTokenError(Exception):
    """The server has no token to lend; the text is its reason."""


class NoAnswerError(Exception):
    """The server gives no answer that helps; the text says why. `final`: trying again is of no use."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class LicenseClient:
    """One server, at `host:port`. Use as an async context manager or call `close`."""

    def __init__(self, address: str, tls: ssl.SSLContext, seconds: float = ANSWER_SECONDS) -> None:
        self.address = address
        self._base = f"https://{address}/v1"
        self._session = session_to(
            address, PeerTls(tls, server_fault), aiohttp.ClientTimeout(total=seconds), CONNECTIONS
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def acquire(self, feature: Feature, uid: str) -> float:
        """Takes a token for the node of this UID, or renews it; returns how many seconds it lasts from now on.

        Raises `NoTokenError` or `NoAnswerError`.
        """
        return (await self._request("PUT", f"/leases/{feature.value}/{uid}", Granted)).seconds

    async def release(self, feature: Feature, uid: str) -> None:
        """Gives the token back. Raises as `acquire` does."""
        await self._request("DELETE", f"/leases/{feature.value}/{uid}", dict)

    async def changes(self, start: str, after: int) -> Leases:
        """For another license server: what has changed since. Raises as `acquire` does."""
        return await self._request("GET", f"/changes?start={start}&after={after}", Leases, MOST_BYTES_OF_LEASES)

    async def _request(self, method: str, path: str, kind: type[T], most: int = MOST_BYTES) -> T:
        try:
            async with self._session.request(method, self._base + path, allow_redirects=False) as response:
                body = await body_of(response, most)
        except FAILURES as error:
            raise _no_answer(error) from error
        if response.status == 200:
            return _read(body, kind)
        refused = _read(body, Refused)
        detail = displayed(refused.detail, LONGEST)
        if refused.code == Code.NO_TOKEN:
            raise NoTokenError(detail)
        raise NoAnswerError(f"{detail} ({displayed(refused.code)})", final=refused.code == Code.NOT_ALLOWED)


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswerError(f"its answer is not that of a license server: {displayed(str(error), LONGEST)}") from error


def _no_answer(error: Exception) -> NoAnswerError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, WrongPeerError):
            return NoAnswerError(f"{displayed(cause.detail, LONGEST)}", final=True)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAnswerError(
                f"its certificate is not trusted here ({displayed(str(cause), LONGEST)}): add the CA that has issued "
                "it to --cacert or --capath",
                final=True,
            )
        cause = cause.__cause__ or cause.__context__
    return NoAnswerError(reason_of(error))

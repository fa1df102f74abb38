"""A join port as a newcomer uses it: who answers has to be an SN of the code's network, and what it sends is bounded.

The code names an SN's authority only by its fingerprint, so the connection is made twice. The first one only shows the
SN's certificates, among them that authority's; nothing is sent. The second one trusts that authority alone.
"""

import errno
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import aiohttp
import msgspec
from cryptography import x509

from swarmlearning.address import split
from swarmlearning.api.asking import FAILURES, TooLongError, body_of, causes, reason_of, session_to
from swarmlearning.api.peertls import PeerTls, WrongPeerError, role_fault
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import CertificateError, load_der, thumbprint
from swarmlearning.identity.onetime import public_half, sign
from swarmlearning.identity.tls import newcomer_context, shown_chain
from swarmlearning.invitations.code import JoinCode
from swarmlearning.invitations.standing import Standing, authorization, read_standing
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.ledger.bodies import RequestAdmission, RequestCertificate
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.network.inviting import statement
from swarmlearning.transport.connecting import open_tls
from swarmlearning.views.names import displayed

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
MOST_BYTES: Final = 1024 * 1024
LONGEST: Final = 300

T = TypeVar("T")
R = TypeVar("R", RequestCertificate, RequestAdmission)


class UnreachableError(UserError):
    """No SN of the code answers now; the text says why not. Trying again may help."""


class NotTheNetworkError(UserError):
    """What answers at an address is not an SN of the code's network, or does not behave like one."""


class RefusedError(UserError):
    """The network refuses the request, or the invitation; `code` is for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class _Refusal(msgspec.Struct, frozen=True):
    code: str = ""
    detail: str = ""


class JoinClient:
    """An SN's join port, at `host:port`. `close` it at the end."""

    def __init__(self, address: str, code: JoinCode, authority: x509.Certificate) -> None:
        """`authority`: that of the SN, which the code names."""
        self.address = address
        self.key = public_half(code.key)
        self._code = code
        self._base = f"https://{address}/join"
        tls = PeerTls(newcomer_context([authority]), role_fault)
        self._session = session_to(address, tls, aiohttp.ClientTimeout(total=ANSWER_SECONDS), 1)
        self._headers = {"authorization": authorization(code.key, code.network_id)}

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def check_network(self) -> None:
        """Raises `NotTheNetworkError` unless the SN's block 0 is that of the code's network."""
        block = await self._request("GET", "/block", most=MAX_BLOCK)
        if sha256(block) != self._code.network_id:
            raise NotTheNetworkError(
                f"the SN at {self.address} has another block 0 than the network of this code "
                f"({self._code.network_id[:16]}): it belongs to another network"
            )

    async def standing(self, wait: int = 0) -> Standing:
        """How the invitation stands, or after `wait` seconds (at most 20) if nothing changes before.

        Raises `UnreachableError`, `NotTheNetworkError` or `RefusedError`.
        """
        return self._read(await self._request("GET", f"?wait={wait}"))

    async def request(self, wanted: R) -> Standing:
        """Makes the request of the invitation, signed here. Raises as `standing` does."""
        signature = sign(self._code.key, statement(self._code.network_id, wanted))
        body = canonical(msgspec.structs.replace(wanted, signature=signature))
        return self._read(await self._request("POST", "", body))

    async def _request(self, method: str, path: str, data: bytes | None = None, most: int = MOST_BYTES) -> bytes:
        try:
            async with self._session.request(
                method, self._base + path, data=data, headers=self._headers, allow_redirects=False
            ) as response:
                body = await body_of(response, most)
        except FAILURES as error:
            raise _failure(self.address, error) from error
        if response.status == 200:
            return body
        refusal = _refusal(body)
        detail = displayed(refusal.detail, LONGEST) or f"it answers with HTTP status {response.status}"
        if response.status in (429, 503) or refusal.code == Code.QUOTA:  # that passes by itself
            raise UnreachableError(f"the SN at {self.address} cannot answer now: {detail}")
        raise RefusedError(refusal.code, f"the SN at {self.address} refuses: {detail}")

    def _read(self, body: bytes) -> Standing:
        try:
            return read_standing(body)
        except ValueError as error:
            raise NotTheNetworkError(
                f"the SN at {self.address} sends an answer that cannot be understood: {displayed(str(error), LONGEST)}"
            ) from error


@asynccontextmanager
async def contact(code: JoinCode) -> AsyncIterator[JoinClient]:
    """The first SN of the code that answers, and is one of its network.

    Raises `UnreachableError` with the reason for each address, `NotTheNetworkError` where one of them is another's.
    """
    reasons: list[UserError] = []
    for address in code.addresses:
        try:
            client = JoinClient(address, code, await authority_at(address, code))
        except (UnreachableError, NotTheNetworkError) as error:
            reasons.append(error)
            continue
        try:
            try:
                await client.check_network()
            except (UnreachableError, NotTheNetworkError) as error:
                reasons.append(error)
                continue
            yield client
            return
        finally:
            await client.close()
    kind = NotTheNetworkError if any(isinstance(each, NotTheNetworkError) for each in reasons) else UnreachableError
    raise kind("; ".join(map(str, reasons)))


async def authority_at(address: str, code: JoinCode) -> x509.Certificate:
    """The authority, one that the code names, in what the server at an address shows; nothing is sent to it.

    Raises `UnreachableError` or `NotTheNetworkError`.
    """
    host, port = split(address)
    try:
        _, writer = await open_tls(host, port, newcomer_context(), CONNECT_SECONDS)
        try:
            shown = shown_chain(writer.get_extra_info("ssl_object"))
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise _failure(address, error) from error
    for der in shown:
        try:
            certificate = load_der(der)
        except CertificateError:
            continue  # it is nobody's authority
        if bytes.fromhex(thumbprint(certificate)) in code.authorities:
            return certificate
    raise NotTheNetworkError(
        f"what answers at {address} is no SN of this code: no authority that the code names is behind its certificate. "
        "Somebody may be in between; or that SN's authority has been replaced since, then ask for another code"
    )


def _failure(address: str, error: Exception) -> UserError:
    """The error of a request that was not answered: the text names the address and why."""
    found = list(causes(error))
    for cause in found:
        if isinstance(cause, TooLongError):
            return NotTheNetworkError(f"the SN at {address} does not answer like one: {cause}")
        if isinstance(cause, WrongPeerError):
            return NotTheNetworkError(f"what answers at {address} is no SN: {displayed(cause.detail, LONGEST)}")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in found):
        return NotTheNetworkError(
            f"what answers at {address} is no SN of this code: its certificate is not by the authority that the code "
            f"names, or not valid now ({displayed(str(found[-1]), LONGEST)})"
        )
    return UnreachableError(f"no SN can be reached at {address}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError | TimeoutError):
        known = error.errno in errno.errorcode  # asyncio's own text repeats the address, in Python's notation
        return displayed(os.strerror(error.errno or 0) if known else str(error), LONGEST)
    return reason_of(error)


def _refusal(body: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Refusal(detail=body[:LONGEST].decode(errors="replace"))

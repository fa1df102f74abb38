"""The API of a license server, as an ASGI application over mutual TLS.

    PUT    /v1/leases/{feature}/{uid}    take or renew a token   200 {"seconds"}, 409 {"code": "304" | …, "detail"}
    DELETE /v1/leases/{feature}/{uid}    give it back            200 {}
    GET    /v1/changes?start=&after=     for the other server    200 {"start", "number", "leases", "more"}

Who holds a token is told by the certificate, and by the UID in the path. A node takes tokens of features for its role
only; the leases are shown to a license server of the same authority alone.
"""

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec
from cryptography import x509
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from swarmlearning.api.middleware import BodyLimit
from swarmlearning.api.peer import peer_credential
from swarmlearning.identity.certificates import (
    CertificateError,
    load_der,
    role_of,
    subject_of,
    thumbprint,
    trust_domain_of,
)
from swarmlearning.identity.identity import Bundle
from swarmlearning.license.features import Feature, LicenseError, features_for, read_feature
from swarmlearning.license.leases import Holder
from swarmlearning.license.messages import Code, Refused
from swarmlearning.license.office import Office, RefusalError
from swarmlearning.license.servers import server_fault
from swarmlearning.rates import Rate
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential

logger = logging.getLogger("swarm.license")

REQUESTS = Rate(20, 30)
"""Of one authority: all nodes of a large site may start at once."""
FOLLOW_SECONDS = 2.0
"""How long a request of the other server waits for a change: what it hears at least so often."""
MOST_BYTES = 4096
STATUSES = {Code.NOT_ALLOWED: 403, Code.BUSY: 429, Code.STANDBY: 503, Code.UNAVAILABLE: 503}

OwnAuthority = Callable[[str], bool]
"""Whether an authority, as `authority_in` names it, is that of the server's own certificate."""
Bundles = Callable[[], Sequence[Bundle]]
"""The trust domains that the server's SPIFFE agent knows by now."""


def license_app(office: Office, is_own: OwnAuthority, bundles: Bundles = tuple) -> ASGIApp:
    """The application; see above."""
    handlers = _Handlers(office, is_own, bundles)
    path = "/v1/leases/{feature}/{uid}"
    app = Starlette(
        routes=[
            Route(path, handlers.acquire, methods=["PUT"]),
            Route(path, handlers.release, methods=["DELETE"]),
            Route("/v1/changes", handlers.changes, methods=["GET"]),
        ],
        exception_handlers={RefusalError: _refused, LicenseError: _unavailable, HTTPException: _unknown},
    )
    return BodyLimit(app, MOST_BYTES)


def authority_in(bundles: Sequence[Bundle], authority: str, certificate: x509.Certificate) -> str:
    """Whose a certificate is: the trust domain, where a root of it has issued the certificate for an ID in it, since
    roots change by the day; else `authority`, the thumbprint of the root. Raises `CertificateError`."""
    domain = trust_domain_of(certificate)
    roots = {thumbprint(root) for bundle in bundles if bundle.trust_domain == domain for root in bundle.roots}
    return f"spiffe://{domain}" if authority in roots else authority


class _Handlers:
    def __init__(self, office: Office, is_own: OwnAuthority, bundles: Bundles) -> None:
        self._office = office
        self._is_own = is_own
        self._bundles = bundles
        self._meter = Meter()

    async def acquire(self, request: Request) -> Response:
        feature, holder = self._asked(request)
        return _answer(await self._office.acquire(feature, holder))

    async def release(self, request: Request) -> Response:
        await self._office.release(*self._asked(request))
        return _answer({})

    async def changes(self, request: Request) -> Response:
        credential = peer_credential(request.scope)
        if (fault := server_fault(credential)) or not self._is_own(self._authority(credential)):
            detail = fault or "only license servers of this server's own authority follow its leases"
            raise RefusalError(Code.NOT_ALLOWED, detail)
        start, after = request.query_params.get("start", ""), request.query_params.get("after", "0")
        number = int(after) if after.isdecimal() and len(after) < 16 else 0
        self._office.hear()
        return _answer(await self._office.changes(start, number, FOLLOW_SECONDS))

    def _authority(self, credential: Credential) -> str:
        return authority_in(self._bundles(), credential.authority, load_der(credential.certificate))

    def _asked(self, request: Request) -> tuple[Feature, Holder]:
        """Feature and holder of a request. Raises `RefusalError`."""
        credential = peer_credential(request.scope)
        if self._meter.turn(credential.authority, REQUESTS, patience=0) is None:
            raise RefusalError(Code.BUSY, "the nodes of this authority send too many requests; try again in a while")
        try:
            certificate = load_der(credential.certificate)
            feature = read_feature(request.path_params["feature"])
            if feature not in features_for(role := role_of(certificate)):
                raise RefusalError(Code.NOT_ALLOWED, f"a certificate for the role {role} takes no {feature.versioned}")
            uid = str(UUID(request.path_params["uid"]))
            return feature, Holder(self._authority(credential), _short(subject_of(certificate)), uid)
        except (CertificateError, LicenseError, ValueError) as error:
            raise RefusalError(Code.NOT_ALLOWED, str(error)) from error


def _short(subject: str) -> str:
    return subject[:400]


def _answer(found: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(found), status, media_type="application/json")


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return _answer(Refused(error.code, error.detail[:2000]), STATUSES.get(error.code, 409))


async def _unavailable(_request: Request, error: Exception) -> Response:
    logger.error("%s", error)
    return _answer(Refused(Code.UNAVAILABLE, "the license server cannot write to its disk"), 503)


async def _unknown(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(Refused(Code.NOT_ALLOWED, error.detail), error.status_code)

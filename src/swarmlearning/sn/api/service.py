"""The SN behind the API, as its resources use it, and how failures are answered."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, TypeAlias, cast

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from swarmlearning.ledger.bodies import Quotas
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.network.quotas import BURST_SECONDS, limited, quotas_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.license.features import Feature
from swarmlearning.node.credentials import organisation_of
from swarmlearning.ordering.protocols import ArchivedError, OrderingError, UnavailableError
from swarmlearning.rates import Rate
from swarmlearning.sn.api.shared import Shared
from swarmlearning.sn.carrying import Carrier
from swarmlearning.sn.engine import Engine
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.observing import Observer
from swarmlearning.sn.recent import State
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential

FAILURES = (Rejection, MalformedError, OrderingError)
"""The errors that a request may end with; each has its answer."""


Require: TypeAlias = Callable[[Feature], Awaitable[None]]


Attest: TypeAlias = Callable[[State], str]
"""Signs what this SN has at a height."""


def nobody_attests(state: State) -> str:
    """Of an SN without a key to sign with."""
    raise UnavailableError("this SN signs no checkpoints")


async def unlicensed(feature: Feature) -> None:
    """Lets everything be done."""


@dataclass(frozen=True)
class Sn:
    """One SN. `streams`: open block streams, by certificate and by organisation."""

    miner: Miner
    engine: Engine
    uid: str
    observer: Observer
    carrier: Carrier
    require: Require = unlicensed
    attest: Attest = nobody_attests
    streams: Counter[str] = field(default_factory=Counter)
    history: Meter = field(default_factory=Meter)
    certificates: Meter = field(default_factory=Meter)

    def quotas_of(self, credential: Credential) -> tuple[str, Quotas | None]:
        """The organisation of a peer, and its quotas; None where one organisation is alone."""
        chain = self.miner.chain
        own = organisation_of(chain, credential)
        return own, quotas_of(chain.world, own) if limited(chain.world) else None

    def history_turn(self, credential: Credential, size: int) -> float:
        """Returns the seconds until the peer's organisation has earned so many bytes of blocks that are not new."""
        own, quotas = self.quotas_of(credential)
        return self.history.turn(own, Rate(quotas.history_bytes, BURST_SECONDS), size) or 0.0 if quotas else 0.0

    @cached_property
    def status(self) -> Shared[bytes]:
        """The status as JSON."""

        async def compute() -> bytes:
            return (await self.observer.status()).model_dump_json().encode()

        return Shared(compute)


class Refused(BaseModel):
    """The reason of a refusal: `code` for programs, `detail` for people, judged on the block of `height`."""

    code: str
    detail: str
    height: int


def service(request: Request) -> Sn:
    """The SN that this application belongs to."""
    return cast(Sn, request.app.state.sn)


Service = Annotated[Sn, Depends(service)]


def refused(sn: Sn, code: str, detail: str, status: int = 409) -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse(Refused(code=code, detail=detail, height=sn.miner.chain.height).model_dump(), status)


def answer_to(sn: Sn, error: Exception) -> JSONResponse:
    """The answer to a request that has failed with one of `FAILURES`, or has another form than its operation's."""
    match error:
        case RequestValidationError():
            return refused(sn, Code.MALFORMED, _faults(error), 422)
        case Rejection(code=code, detail=detail):
            return refused(sn, code, detail)
        case MalformedError():
            return refused(sn, Code.MALFORMED, str(error), 400)
        case ArchivedError():
            return refused(sn, Code.ARCHIVED, str(error), 410)
    return refused(sn, Code.UNAVAILABLE, str(error), 503)


def _faults(error: RequestValidationError) -> str:
    """The faults, and their places; without the values sent, which may be long, or NaN, which JSON cannot carry."""
    found = error.errors()
    texts = [f"{'.'.join(map(str, each['loc'][:8]))}: {each['msg']}" for each in found[:5]]
    return "; ".join(texts)[:1000] + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The part of an operation's description for these statuses."""
    return {status: {"model": Refused} for status in statuses}

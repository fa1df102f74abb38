"""The network of a context, as operations of `/v1` use it, and what its failures are answered with."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast

import msgspec
from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field

from swarmlearning.api.client import Refusal
from swarmlearning.documents.faults import DocumentError
from swarmlearning.errors import UserError, first_cause
from swarmlearning.ledger import fields
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act, ActError
from swarmlearning.operator.logs import WithheldError
from swarmlearning.operator.session import Operator, sent
from swarmlearning.swci.contexts import ContextError
from swarmlearning.swci.session import Session
from swarmlearning.swci.web.answers import failure
from swarmlearning.swci.web.v1.models import model_of
from swarmlearning.views.proposals import ProposalView

T = TypeVar("T")
LARGEST_PAGE: Final = 500
FURTHEST: Final = 10**9

Offset: TypeAlias = Annotated[int, Query(ge=0, le=FURTHEST, description="How many to leave out.")]


def _name(text: str) -> str:
    try:
        return msgspec.convert(text, fields.Name)
    except msgspec.ValidationError:
        raise ValueError("a name has printable characters only") from None


Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=160), AfterValidator(_name)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many to answer with at most.")]


class NotFoundError(UserError):
    """There is nothing of this name."""


class Done(BaseModel):
    """What has become of an act: it is `done`, or `proposed` where more organisations have to sign."""

    state: Literal["done", "proposed"]
    detail: str
    proposal: model_of(ProposalView) | None = None  # type: ignore[valid-type]


class Ledger:
    """The network of one context of the session."""

    def __init__(self, session: Session, context: str | None) -> None:
        self._session = session
        self._context = context

    async def use(self, work: Callable[[Operator], Awaitable[T]]) -> T:
        """What `work` returns. Raises `UserError`."""
        try:
            return await self._session.use(work, context=self._context)
        except ExceptionGroup as group:
            if isinstance(cause := first_cause(group), UserError):
                raise cause from group
            raise

    async def chain(self) -> Chain:
        """The verified ledger as it stands now. Raises `UserError`."""
        return await self.use(lambda operator: operator.refresh())

    async def world(self) -> World:
        """What the ledger shows now. Raises `UserError`."""
        return (await self.chain()).world

    async def act(self, compose: Callable[[World], Act]) -> dict[str, Any]:
        """Sends an act; the content of `Done`. Raises `UserError`."""
        composed: list[Act] = []

        def noted(world: World) -> Act:
            composed.append(compose(world))
            return composed[0]

        proposal = await self.use(lambda operator: sent(operator, noted))
        return {
            "state": "done" if proposal is None or proposal.state != "open" else "proposed",
            "detail": composed[0].done,
            "proposal": msgspec.to_builtins(proposal),
        }


def ledger(
    request: Request,
    context: Annotated[str | None, Query(max_length=160, description="The context; by default the one in use.")] = None,
) -> Ledger:
    """The ledger that an operation is for."""
    return Ledger(cast(Session, request.app.state.session), context)


Network: TypeAlias = Annotated[Ledger, Depends(ledger)]


async def failed(_request: Request, error: Exception) -> JSONResponse:
    """The answer to an operation that has ended with a `UserError`."""
    match error:
        case NotFoundError():
            status = 404
        case DocumentError():
            status = 422
        case ContextError() | ActError() | Refusal() | WithheldError():
            status = 409
        case _:
            status = 409 if isinstance(error.__cause__, Refusal) else 503
    return failure(status, str(error))

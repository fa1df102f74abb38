"""`/v1/proposals`: acts that wait for the signatures of more organisations."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path

from swarmlearning.ledger.chain import Chain
from swarmlearning.operator.organisations import reject as rejecting
from swarmlearning.operator.organisations import sign as signing
from swarmlearning.swci.web.answers import failures
from swarmlearning.swci.web.v1.ledger import Done, Limit, Network, NotFoundError, Offset
from swarmlearning.swci.web.v1.models import Page, model_of, page_of
from swarmlearning.views.proposals import ProposalView, State, proposals

router = APIRouter(prefix="/proposals", tags=["proposals"], responses=failures(404, 409, 503))
PROPOSAL = model_of(ProposalView)
Number = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("", response_model=Page[PROPOSAL])  # type: ignore[valid-type]
async def list_all(
    ledger: Network, state: State | Literal["any"] = "open", offset: Offset = 0, limit: Limit = 100
) -> Any:
    """The proposals in this state, oldest first."""
    chain = await ledger.chain()
    found = proposals(chain.world, chain.time_ms)
    return page_of([each for each in found if state in ("any", each.state)], offset, limit)


@router.get("/{number}", response_model=PROPOSAL)
async def show(ledger: Network, number: Number) -> Any:
    """A proposal, with all that it states."""
    return _known(await ledger.chain(), number)


@router.post("/{number}/sign", response_model=Done)
async def sign(ledger: Network, number: Number) -> Any:
    """Agrees for this organisation; the last signature needed puts the proposal into effect."""
    _known(await ledger.chain(), number)
    return await ledger.act(lambda world: signing(number))


@router.post("/{number}/reject", response_model=Done)
async def reject(ledger: Network, number: Number) -> Any:
    """Does not agree, for this organisation."""
    _known(await ledger.chain(), number)
    return await ledger.act(lambda world: rejecting(number))


def _known(chain: Chain, number: int) -> ProposalView:
    found = next((each for each in proposals(chain.world, chain.time_ms) if each.number == number), None)
    if found is None:
        raise NotFoundError(f"there is no proposal {number}")
    return found

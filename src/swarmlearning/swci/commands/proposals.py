"""Commands about proposals: acts that wait for the signatures of more organisations."""

from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.operator.organisations import reject as rejecting
from swarmlearning.operator.organisations import sign as signing
from swarmlearning.operator.session import Operator
from swarmlearning.swci.output import Line, Lines, table
from swarmlearning.swci.session import Session, proposed
from swarmlearning.swci.waiting import marked
from swarmlearning.views.proposals import ProposalView, proposals

HEADS = ("NUMBER", "ACT", "CONTENT", "SIGNED", "REJECTED", "WAITS FOR")


async def list_open(session: Session) -> list[Line]:
    """LIST PROPOSALS."""
    chain = await session.chain()
    rows = [
        (str(each.number), each.act, each.what, *map(", ".join, (each.signed, each.rejected, each.missing)))
        for each in proposals(chain.world, chain.time_ms)
        if each.state == "open"
    ]
    return table(HEADS, rows)


async def sign(session: Session, number: int) -> list[Line]:
    """SIGN PROPOSAL."""
    return await session.act(lambda world: signing(number), f"PROPOSAL SIGNED : {number}")


async def reject(session: Session, number: int) -> list[Line]:
    """REJECT PROPOSAL."""
    return await session.act(lambda world: rejecting(number), f"PROPOSAL REJECTED : {number}")


async def wait(session: Session, number: int) -> Lines:
    """WAIT FOR PROPOSAL. Fails where it does not take effect."""
    first = _proposal(await session.chain(), number)
    if first.state == "open":
        yield proposed(first)

    async def decided(operator: Operator) -> Chain:
        return await operator.until(lambda chain: _proposal(chain, number).state != "open")

    found, limit = first, session.contexts.named(None).seconds(run_task=False)
    async for each in marked(session.use(decided, seconds=None), session.settings.mark_seconds, limit):
        if isinstance(each, Line):
            yield each
        else:
            found = _proposal(each, number)
    if found.state != "done":
        raise UserError(f"proposal {number} is {found.state}; rejected by {', '.join(found.rejected) or 'nobody'}")
    yield proposed(found)


def _proposal(chain: Chain, number: int) -> ProposalView:
    found = next((each for each in proposals(chain.world, chain.time_ms) if each.number == number), None)
    if found is None:
        raise UserError(f"there is no proposal {number}; LIST PROPOSALS shows those that are open")
    return found

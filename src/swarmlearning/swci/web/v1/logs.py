"""`/v1/…/log`: logs of nodes, and the output of pairs, an excerpt a request.

Nothing is kept between requests: whoever reads on, or follows a log, hands back the cursor of the last excerpt.
"""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from swarmlearning.ledger.contracts.network import Node
from swarmlearning.node.sealing import MAX_LINES, Wanted
from swarmlearning.operator.acts import ActError
from swarmlearning.operator.logs import CURSOR, excerpt
from swarmlearning.operator.session import Operator
from swarmlearning.operator.taskrunners import known_pair, known_peer
from swarmlearning.swci.web.answers import failures
from swarmlearning.swci.web.v1.ledger import Ledger, Network, NotFoundError
from swarmlearning.swci.web.v1.nodes import known_node
from swarmlearning.swci.web.v1.taskrunners import known_taskrunner

router = APIRouter(tags=["logs"], responses=failures(404, 409, 503))
LATEST = 2**53 - 1


class Excerpt(BaseModel):
    """A part of a log, whose control characters are escaped but for tabs and ends of lines.

    It need not begin or end with a line. `cursor` is where it ends: the next request reads on from there. `more`: there
    is more to read at once. `lost`: some of the log is missing before it, overwritten before it was read.
    """

    text: str
    cursor: str
    more: bool
    lost: bool


class Range(NamedTuple):
    """Where to begin, and whether to wait."""

    lines: int
    since_ms: int | None
    cursor: str
    wait: bool


def asked(
    lines: Annotated[int, Query(ge=0, le=MAX_LINES, description="So many of the last lines.")] = 100,
    since_ms: Annotated[
        int | None, Query(ge=0, le=LATEST, description="From this Unix time in milliseconds on, in place of `lines`.")
    ] = None,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="From where an earlier excerpt has ended, in place of both.")
    ] = None,
    wait: Annotated[bool, Query(description="Where there is nothing to read, wait up to 15 seconds for it.")] = False,
) -> Range:
    """The range that a request asks for."""
    return Range(lines, since_ms, cursor or "", wait)


Asked: TypeAlias = Annotated[Range, Depends(asked)]


@router.get("/nodes/{uid}/log", response_model=Excerpt)
async def node_log(ledger: Network, uid: str, range_: Asked) -> Any:
    """The next excerpt of the log of a node. 409: its site does not share it, which the node says."""
    node = known_node(await ledger.world(), uid)
    return await _read(ledger, node, Wanted(**range_._asdict()))


@router.get("/taskrunners/{name}/peers/{peer}/log", response_model=Excerpt)
async def peer_log(
    ledger: Network,
    name: str,
    peer: str,
    range_: Asked,
    part: Annotated[Literal["SWOP", "SL", "ML"], Query(description="The SWOP's own log, or the output of a pair.")] = (
        "SWOP"
    ),
    pair: Annotated[
        int | None, Query(ge=0, lt=2**16, description="The number of the pair, unless there is one only.")
    ] = None,
) -> Any:
    """The next excerpt of the log of a peer (its index, UID or name), or of the output of a pair that it has started
    for the task. 409: its site does not share it, which the SWOP says."""
    world = await ledger.world()
    try:
        found = known_peer(world, known_taskrunner(world, name), peer)
    except ActError as error:
        raise NotFoundError(str(error)) from error
    wanted = Wanted(**range_._asdict())
    if part != "SWOP":
        wanted = Wanted(part, name, known_pair(found, pair), **range_._asdict())
    return await _read(ledger, known_node(world, found.uid), wanted)


async def _read(ledger: Ledger, node: Node, wanted: Wanted) -> Any:
    async def read(operator: Operator) -> Any:
        return await excerpt(operator, node, wanted)

    return (await ledger.use(read))._asdict()

"""Commands about logs."""

from contextlib import aclosing
from typing import Final

from swarmlearning.errors import UserError
from swarmlearning.node.sealing import Wanted
from swarmlearning.operator.acts import node
from swarmlearning.operator.logs import log_lines
from swarmlearning.operator.session import Operator
from swarmlearning.operator.taskrunners import known_pair, known_peer, known_taskrunner
from swarmlearning.swci.output import Line, Lines
from swarmlearning.swci.session import Session
from swarmlearning.views.taskrunners import PeerView

LINES: Final = 100


async def taskrunner_peer(
    session: Session, name: str, named: str, part: str | None, pair: int | None, follow: str | None
) -> Lines:
    """LOGS TASKRUNNER … PEER: the log of its SWOP, or the output of a pair that it has started."""
    if follow and session.settings.web:
        raise UserError("FOLLOW does not end, so it is for SWCI on a terminal only")
    world = (await session.chain()).world
    peer = known_peer(world, known_taskrunner(world, name), named)
    wanted = _wanted(peer, name, part, pair)

    async def used(operator: Operator) -> Operator:
        return operator

    lines = log_lines(await session.use(used), node(world, peer.uid), wanted, follow=follow is not None)
    async with aclosing(lines):
        while (text := await session.use(lambda _: anext(lines, None), seconds=None)) is not None:
            yield Line(text)  # it is safe to show


def _wanted(peer: PeerView, name: str, part: str | None, pair: int | None) -> Wanted:
    """What is to be read; without a pair's number the only pair's. Raises `UserError`."""
    if part not in ("SL", "ML"):
        if pair is not None:
            raise UserError(f"a number names a pair: SL {pair} or ML {pair}")
        return Wanted(lines=LINES)
    return Wanted("SL" if part == "SL" else "ML", name, known_pair(peer, pair), lines=LINES)

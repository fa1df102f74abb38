"""An operator asks a node how it is and whom it reaches."""

from swarmlearning.ledger.contracts.network import Node
from swarmlearning.node.checkup import Answer, read_answer
from swarmlearning.node.sealing import Wanted
from swarmlearning.operator.logs import LogsError, Reader
from swarmlearning.operator.session import Operator
from swarmlearning.views.names import displayed


async def checkup(operator: Operator, node: Node) -> Answer:
    """How a node is and whom it reaches, as it says itself; see `node/checkup.py`. Raises `LogsError`.

    The ledger has to know the operator. Nodes of a release that knows no such question do not answer.
    """
    found = read_answer((await Reader(operator, node).piece(Wanted("CHECKUP"))).data)
    if found is None:
        raise LogsError(f"node {displayed(node.name)} answers what cannot be understood")
    return found

"""The contract of a run on this machine, where its user lays down how values travel: an operator creates it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from swarmlearning.choices import DEFAULT_CONTRACT, Transfer, TransferBack
from swarmlearning.cli.runfolder import OBSERVER, RunFolder
from swarmlearning.identity.source import Latest
from swarmlearning.ledger.bodies import CreateContract
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.world import World
from swarmlearning.operator import acts
from swarmlearning.operator.session import acting
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.agreed import travel_text
from swarmlearning.views.names import displayed


class Travel(NamedTuple):
    """How values travel by the `contract` of the scripts; whole models, unless something else is laid down."""

    transfer: Transfer = "float32"
    back: TransferBack = "float32"
    contract: str = DEFAULT_CONTRACT

    @property
    def text(self) -> str:
        """In words; empty where nothing is laid down."""
        return travel_text(self.transfer, self.back)


async def lay_down(travel: Travel, folder: RunFolder, sn: str, network_id: str) -> None:
    """Creates the contract, before any script begins, at the SN with this API. Raises `NodeError` and `UserError`."""
    source = Latest(folder.identity.identity(OBSERVER))
    async with acting(sn, source, folder.root / "operator", network_id) as operator:
        body = CreateContract(shared=True, transfer=travel.transfer, transfer_back=travel.back)
        await operator.perform(acts.create_contract(operator.chain.world, travel.contract, body))


async def require_used(travel: Travel, chains: AsyncGenerator[Chain, None]) -> None:
    """Runs without end. Raises `RunError` once scripts train by another contract alone."""
    async with aclosing(chains):
        async for chain in chains:
            check_used(travel, chain.world)


def check_used(travel: Travel, world: World) -> None:
    """Raises `RunError` where scripts train by another contract than that which was laid down."""
    used = [state.name for state in acts.trainings(world) if state.members]
    if used and travel.contract not in used:
        raise RunError(
            f"{travel.text} by contract {displayed(travel.contract)}, but the scripts train by "
            f"{', '.join(map(displayed, used))}; state their trainingContract with --contract"
        )

"""Commands about training contracts."""

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.operator.acts import create_contract
from swarmlearning.operator.contractfile import read_contract_file
from swarmlearning.operator.contracts import create_shared, known_contract, reset_completed
from swarmlearning.swci.output import Line, fields, line, table
from swarmlearning.swci.session import Session
from swarmlearning.views.names import displayed
from swarmlearning.views.trainings import contract_info, contract_names, contract_status, performances

HEADS = ("SL NODE UID", "SL NAME", "SL ADMIN", "MODEL LOSS", "MODEL METRIC", "TOTAL EPOCHS", "COMPLETED EPOCHS")


async def create(session: Session, name: str) -> list[Line]:
    """CREATE CONTRACT: one of all organisations."""
    return await session.act(lambda world: create_shared(world, name), f"CONTRACT CREATED : {displayed(name)}")


async def create_from(session: Session, name: str, path: str) -> list[Line]:
    """CREATE CONTRACT … FROM."""
    body = read_contract_file(session.folders.read(path), path)
    return await session.act(lambda world: create_contract(world, name, body), f"CONTRACT CREATED : {displayed(name)}")


async def list_all(session: Session) -> list[Line]:
    """LIST CONTRACTS."""
    return [line(displayed(name)) for name in contract_names((await session.chain()).world)]


async def info(session: Session, name: str) -> list[Line]:
    """GET CONTRACT INFO."""
    found = contract_info(await _known(session, name))
    weight = found.max_organisation_weight
    return fields(
        {
            "CONTRACT NAME": found.name,
            "OWNER": found.owner or "ALL ORGANISATIONS",
            "MEMBERS": ", ".join(found.members) or "ALL ORGANISATIONS",
            "OBSERVERS": ", ".join(found.observers) or "-",
            "MIN ORGANISATIONS": found.min_organisations,
            "WEIGHTS": found.weights,
            "MAX ORGANISATION WEIGHT": f"{weight / 1000:g}" if weight else "-",
            "MERGE METHOD": found.merge_method or "-",
            "OUTER OPTIMIZER": found.outer_optimizer or "-",
            "MIN PEERS": found.min_peers or "-",
            "MODEL STRUCTURE": found.structure or "-",
            "TRANSFER": found.transfer,
            "TRANSFER BACK": found.transfer_back,
        }
    )


async def status(session: Session, name: str) -> list[Line]:
    """GET CONTRACT STATUS."""
    world = (await session.chain()).world
    known_contract(world, name)
    found = contract_status(world, name)
    return fields(
        {
            "CONTRACT NAME": found.name,
            "CONTRACT STATE": found.state,
            "RUN": found.run,
            "COMPLETED ROUNDS": found.rounds,
            "MIN PEERS": found.min_peers or "-",
            "REGISTERED PEERS": found.peers,
            "ACTIVE PEERS": found.active_peers,
            "COMPLETED PEERS": found.finished_peers,
            "SL ADMIN": found.leader or "-",
            "DESCRIPTION": found.text,
        }
    )


async def reset(session: Session, name: str) -> list[Line]:
    """RESET CONTRACT."""
    return await session.act(lambda world: reset_completed(world, name), f"CONTRACT RESET : {displayed(name)}")


async def performance(session: Session, name: str) -> list[Line]:
    """PERFDATA."""
    world = (await session.chain()).world
    known_contract(world, name)
    rows = [
        (
            each.uid,
            each.name,
            str(each.leads),
            _measure(each.loss),
            _measure(each.metric),
            str(each.total_epochs),
            str(each.epochs),
        )
        for each in performances(world, name)
    ]
    return table(HEADS, rows)


async def _known(session: Session, name: str) -> Training:
    return known_contract((await session.chain()).world, name)


def _measure(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"

"""`/v1/contracts`: training contracts, and how their pairs perform."""

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel

from swarmlearning.ledger.bodies import CreateContract
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import ActError, create_contract
from swarmlearning.operator.contracts import reset_completed
from swarmlearning.swci.web.answers import failures
from swarmlearning.swci.web.v1.ledger import Done, Limit, Name, Network, NotFoundError, Offset
from swarmlearning.swci.web.v1.models import Page, model_of, page_of
from swarmlearning.views.names import displayed
from swarmlearning.views.trainings import (
    ContractInfo,
    ContractStatus,
    PairPerformance,
    contract_info,
    contract_names,
    contract_status,
    performances,
)

router = APIRouter(prefix="/contracts", tags=["contracts"], responses=failures(404, 409, 503))
PAIR = model_of(PairPerformance)
TERMS = model_of(CreateContract)


class NewContract(BaseModel):
    """A contract to create. Without members it is for every organisation; see `swarm contract create --help`."""

    name: Name
    terms: TERMS = TERMS()  # type: ignore[valid-type]


class Contract(BaseModel):
    """What a contract lays down, and how it is now."""

    info: model_of(ContractInfo)  # type: ignore[valid-type]
    status: model_of(ContractStatus)  # type: ignore[valid-type]


@router.get("", response_model=Page[str])
async def list_all(ledger: Network, offset: Offset = 0, limit: Limit = 100) -> Any:
    """The names of the training contracts, sorted."""
    return page_of(contract_names(await ledger.world()), offset, limit)


@router.post("", response_model=Done)
async def create(ledger: Network, new: NewContract) -> Any:
    """Creates a training contract with these members and terms."""
    try:
        body = msgspec.convert(new.model_dump()["terms"], CreateContract)
    except msgspec.ValidationError as error:
        raise ActError(f"terms: {error}") from error
    return await ledger.act(lambda world: create_contract(world, new.name, body))


@router.get("/{name}", response_model=Contract)
async def show(ledger: Network, name: str) -> Any:
    """What a contract lays down, and how it is now."""
    world = await ledger.world()
    info = contract_info(_known(world, name))
    return msgspec.to_builtins({"info": info, "status": contract_status(world, name)})


@router.get("/{name}/performance", response_model=Page[PAIR])  # type: ignore[valid-type]
async def performance(ledger: Network, name: str, offset: Offset = 0, limit: Limit = 100) -> Any:
    """Loss, metric and epochs of each SL-ML pair of the present run."""
    world = await ledger.world()
    _known(world, name)
    return page_of(performances(world, name), offset, limit)


@router.post("/{name}/reset", response_model=Done)
async def reset(ledger: Network, name: str) -> Any:
    """Empties a contract whose training is over, for its next run."""
    _known(await ledger.world(), name)
    return await ledger.act(lambda world: reset_completed(world, name))


def _known(world: World, name: str) -> Training:
    if name not in contract_names(world):
        raise NotFoundError(f"there is no training contract {displayed(name)!r}")
    return state_of(world, name)

"""`/v1/taskrunners`: taskrunners, their peers, and what is assigned to them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from swarmlearning.ledger.contracts.taskrunner import Taskrunner, taskrunner, taskrunners
from swarmlearning.ledger.world import World
from swarmlearning.operator import taskrunners as acts
from swarmlearning.operator.acts import Act
from swarmlearning.swci.web.answers import failures
from swarmlearning.swci.web.v1.ledger import Done, Limit, Name, Network, NotFoundError, Offset
from swarmlearning.swci.web.v1.models import Page, model_of, page_of
from swarmlearning.views.names import displayed
from swarmlearning.views.taskrunners import PeerView, RunnerStatus, peer_views, runner_status
from swarmlearning.views.tasks import RunnerView, runner_view

router = APIRouter(prefix="/taskrunners", tags=["taskrunners"], responses=failures(404, 409, 503))
STATUS, PEER, RUNNER = model_of(RunnerStatus), model_of(PeerView), model_of(RunnerView)


class NewTaskrunner(BaseModel):
    """A taskrunner to create."""

    name: Name


class ToPeers(BaseModel):
    """A task for so many peers: SL-ML pairs for a RUN_SWARM, else SWOPs; or for all that listen."""

    task: Name
    peers: Annotated[int, Field(ge=1, lt=2**31)] | Literal["all"]


class ToTarget(BaseModel):
    """A task for one SWOP, named by its name or the beginning of its UID: it joins in, or tries again."""

    task: Name
    target: Annotated[str, Field(min_length=1, max_length=160)]


@router.get("", response_model=Page[STATUS])  # type: ignore[valid-type]
async def list_all(ledger: Network, offset: Offset = 0, limit: Limit = 100) -> Any:
    """The taskrunners, and how they are now."""
    world = await ledger.world()
    return page_of([runner_status(world, each) for each in taskrunners(world)], offset, limit)


@router.post("", response_model=Done)
async def create(ledger: Network, new: NewTaskrunner) -> Any:
    """Creates a taskrunner, to which SWOPs listen."""
    return await ledger.act(lambda world: acts.create_taskrunner(world, new.name))


@router.get("/{name}", response_model=RUNNER)
async def show(ledger: Network, name: str) -> Any:
    """A taskrunner with its peers, and the trainings of the pairs that they have started."""
    world = await ledger.world()
    return runner_view(world, known_taskrunner(world, name))


@router.get("/{name}/peers", response_model=Page[PEER])  # type: ignore[valid-type]
async def peers(ledger: Network, name: str, offset: Offset = 0, limit: Limit = 100) -> Any:
    """The SWOPs that listen, first those that take part in the task."""
    world = await ledger.world()
    return page_of(peer_views(world, known_taskrunner(world, name)), offset, limit)


@router.post("/{name}/assign", response_model=Done)
async def assign(ledger: Network, name: str, what: ToPeers | ToTarget) -> Any:
    """Assigns a final task."""

    def compose(world: World) -> Act:
        if isinstance(what, ToTarget):
            return acts.assign_target(world, what.task, name, what.target)
        return acts.assign_task(world, what.task, name, 0 if what.peers == "all" else what.peers)

    known_taskrunner(await ledger.world(), name)
    return await ledger.act(compose)


@router.post("/{name}/reset", response_model=Done)
async def reset(ledger: Network, name: str) -> Any:
    """Makes a taskrunner idle; its SWOPs end and remove what they have started."""
    known_taskrunner(await ledger.world(), name)
    return await ledger.act(lambda world: acts.reset_taskrunner(world, name))


@router.post("/{name}/abort", response_model=Done)
async def abort(ledger: Network, name: str) -> Any:
    """Ends a task; its SWOPs end what they have started, and keep its logs until the reset."""
    known_taskrunner(await ledger.world(), name)
    return await ledger.act(lambda world: acts.abort_taskrunner(world, name))


def known_taskrunner(world: World, name: str) -> Taskrunner:
    """The taskrunner of this name. Raises `NotFoundError`."""
    found = taskrunner(world, name)
    if found is None:
        raise NotFoundError(f"there is no taskrunner {displayed(name)!r}")
    return found

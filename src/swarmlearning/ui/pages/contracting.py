"""The page of training contracts, and their acts: create, change, reset, stop."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Form

from swarmlearning.choices import MergeMethod, Transfer, TransferBack
from swarmlearning.ledger.bodies import CreateContract, Weights
from swarmlearning.operator import acts
from swarmlearning.ui.pages.acting import Done, act, action
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.pages.tasks import WorkView, work_view
from swarmlearning.ui.site import Here

PATH: Final = "/projects/contracts"
Name = Annotated[str, Form(max_length=200)]
Ids = Annotated[list[str], Form(max_length=256)]
Tick = Annotated[bool, Form()]
Count = Annotated[int, Form(ge=0, le=2**31 - 1)]


def add_contracts(app: FastAPI) -> None:
    """The page, and its acts."""

    @page(app, PATH, "contracts.html")
    async def contracts(visit: Here) -> WorkView:
        return work_view(visit.feed.chain.world)

    _add_create(app)
    _add_changes(app)


def _add_create(app: FastAPI) -> None:
    @action(app, f"{PATH}/create", PATH)
    async def create(
        visit: Here,
        name: Name,
        member: Ids = [],  # noqa: B006 - FastAPI copies it
        observer: Ids = [],  # noqa: B006
        observers_read_results: Tick = False,
        min_organisations: Count = 0,
        weights: Annotated[Weights, Form()] = "own",
        max_organisation_weight: Annotated[str, Form(max_length=20)] = "",
        merge_method: Annotated[MergeMethod | Literal[""], Form()] = "",
        min_peers: Count = 0,
        structure: Annotated[str, Form(max_length=64)] = "",
        shared: Tick = False,
        transfer: Annotated[Transfer, Form()] = "float32",
        transfer_back: Annotated[TransferBack, Form()] = "float32",
        outer_optimizer: Annotated[str, Form(max_length=60)] = "",
    ) -> Done:
        created = CreateContract(
            members=tuple(member),
            observers=tuple(observer),
            observers_read_results=observers_read_results,
            min_organisations=min_organisations,
            weights=weights,
            max_organisation_weight=acts.thousandths(max_organisation_weight),
            merge_method=merge_method or None,
            min_peers=min_peers,
            structure=structure,
            shared=shared,
            transfer=transfer,
            transfer_back=transfer_back,
            outer=acts.outer_optimizer(outer_optimizer),
        )
        words = create_command(name, created, max_organisation_weight)
        return await act(visit, lambda world: acts.create_contract(world, name, created), words, PATH)


def _add_changes(app: FastAPI) -> None:
    @action(app, f"{PATH}/change", PATH)
    async def change(
        visit: Here,
        name: Name,
        member: Ids = [],  # noqa: B006
        observer: Ids = [],  # noqa: B006
        without: Ids = [],  # noqa: B006
        results: Annotated[Literal["", "yes", "no"], Form()] = "",
    ) -> Done:
        read = None if not results else results == "yes"
        changes = acts.Changes(tuple(member), tuple(observer), tuple(without), read)
        words = change_command(name, changes)
        return await act(visit, lambda world: acts.change_contract(world, name, changes), words, PATH)

    @action(app, f"{PATH}/reset", PATH)
    async def reset(visit: Here, name: Name, forced: Tick = False) -> Done:
        words = ("swarm", "contract", "reset", name, *(("--force",) if forced else ()))
        return await act(visit, lambda world: acts.reset_contract(world, name, forced=forced), words, PATH)

    @action(app, f"{PATH}/stop", PATH)
    async def stop(visit: Here, name: Name) -> Done:
        words = ("swarm", "contract", "stop", name)
        return await act(visit, lambda world: acts.stop_contract(world, name), words, PATH)


def create_command(name: str, created: CreateContract, share: str = "") -> list[str]:
    """The command that creates this contract; `share`: the largest one of an organisation, as it was written."""
    words = ["swarm", "contract", "create", name, *_repeated("--member", created.members)]
    words += _repeated("--observer", created.observers)
    words += ["--observers-read-results"] if created.observers_read_results else []
    words += ["--min-organisations", str(created.min_organisations)] if created.min_organisations else []
    words += ["--weights", created.weights] if created.weights != "own" else []
    words += ["--max-organisation-weight", share] if share else []
    words += ["--merge-method", created.merge_method] if created.merge_method else []
    words += ["--min-peers", str(created.min_peers)] if created.min_peers else []
    words += ["--structure", created.structure] if created.structure else []
    words += ["--transfer", created.transfer] if created.transfer != "float32" else []
    words += ["--transfer-back", created.transfer_back] if created.transfer_back != "float32" else []
    if outer := created.outer:
        words += ["--outer-optimizer", f"{outer.method} {outer.rate} {outer.momentum}"]
    return [*words, "--shared"] if created.shared else words


def change_command(name: str, changes: acts.Changes) -> list[str]:
    """The command that makes these changes."""
    words = ["swarm", "contract", "change", name, *_repeated("--member", changes.members)]
    words += [*_repeated("--observer", changes.observers), *_repeated("--without", changes.without)]
    if changes.observers_read_results is None:
        return words
    return [*words, f"--{'' if changes.observers_read_results else 'no-'}observers-read-results"]


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]

"""`swarm contract` and `swarm node`: what an operator does about trainings and nodes, and what there are."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from swarmlearning.choices import MergeMethod
from swarmlearning.cli.acting import perform, verified
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json, print_table, short_uid
from swarmlearning.cli.options import TransferBackOption, TransferOption
from swarmlearning.ledger.bodies import CreateContract, Weights
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.operator import acts
from swarmlearning.operator.session import acting
from swarmlearning.views.agreed import outer_of, transfer_back_of, transfer_of
from swarmlearning.views.names import displayed, escaped, fetch_addresses, node_names
from swarmlearning.views.nodes import node_view
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting_in

contract_app = typer.Typer(
    help="Training contracts: create, change, look at, stop or reset one, or fetch its result.", no_args_is_help=True
)
node_app = typer.Typer(help="The nodes of the network.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the training contract.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


# --- contracts ------------------------------------------------------------------------------------------------------


@contract_app.command("list")
@command("swarm contract list")
def list_contracts(*, json: Json = False, connection: Connection) -> None:
    """Show every training contract: its run, its rounds, and what it waits for."""
    world = verified(connection).world
    if json:
        print_json([_facts(world, state) for state in acts.trainings(world)], indent=2)
        return
    names, addresses = node_names(world), fetch_addresses(world)
    rows = (
        (
            displayed(state.name),
            state.charter.sole_owner if state.charter else "",
            "\n".join(state.charter.members) if state.charter and state.charter.members else "all",
            str(state.run),
            str(state.rounds),
            waiting_text(waiting_in(world, state), names, addresses),
        )
        for state in acts.trainings(world)
    )
    print_table(("contract", "owner", "for", "run", "rounds", "state"), rows)


@contract_app.command("show")
@command("swarm contract show")
def show_contract(name: Name, connection: Connection) -> None:
    """Show the whole state of one training contract, as JSON."""
    world = verified(connection).world
    state = acts.training(world, name)
    print_json({**_facts(world, state), "state": msgspec.to_builtins(state)}, indent=2)


@contract_app.command("create")
@command("swarm contract create")
def create_contract(
    *,
    name: Name,
    member: Annotated[
        list[str] | None, typer.Option("--member", help="An organisation that may train; by default all. Repeatable.")
    ] = None,
    observer: Annotated[
        list[str] | None, typer.Option("--observer", help="An organisation that may look on. Repeatable.")
    ] = None,
    observers_read_results: Annotated[
        bool, typer.Option("--observers-read-results", help="Observers may fetch results, not only look on.")
    ] = False,
    min_organisations: Annotated[
        int, typer.Option(min=0, help="Organisations that each round needs; 0: a majority of three or more members.")
    ] = 0,
    weights: Annotated[
        Weights, typer.Option(help="Each site's own nodeWeightage, equal, or its number of training samples.")
    ] = "own",
    max_organisation_weight: Annotated[
        str, typer.Option(help="The largest share of a merge that one organisation's sites have together, such as 0.5.")
    ] = "",
    merge_method: Annotated[MergeMethod | None, typer.Option(help="That all scripts have to use.")] = None,
    outer_optimizer: Annotated[str, typer.Option(help="That all use, such as 'nesterov 0.7 0.9'.")] = "",
    min_peers: Annotated[int, typer.Option(min=0, help="That all scripts have to use; 0: the first one's.")] = 0,
    structure: Annotated[str, typer.Option(help="Digest of the model's structure, as an SL logs it; else any.")] = "",
    shared: Annotated[
        bool, typer.Option("--shared", help="Of all organisations: any operator resets it once its training is over.")
    ] = False,
    transfer: TransferOption = "float32",
    transfer_back: TransferBackOption = "float32",
    connection: Connection,
) -> None:
    """Create a training contract, which your organisation then owns, or with --shared nobody alone."""
    created = CreateContract(
        members=tuple(member or ()),
        observers=tuple(observer or ()),
        observers_read_results=observers_read_results,
        min_organisations=min_organisations,
        weights=weights,
        max_organisation_weight=acts.thousandths(max_organisation_weight),
        merge_method=merge_method,
        min_peers=min_peers,
        structure=structure,
        shared=shared,
        transfer=transfer,
        transfer_back=transfer_back,
        outer=acts.outer_optimizer(outer_optimizer),
    )
    perform(connection, lambda world: acts.create_contract(world, name, created))


@contract_app.command("change")
@command("swarm contract change")
def change_contract(
    *,
    name: Name,
    member: Annotated[list[str] | None, typer.Option("--member", help="A further member. Repeatable.")] = None,
    observer: Annotated[list[str] | None, typer.Option("--observer", help="A further observer. Repeatable.")] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="An organisation that takes no part any more. Repeatable.")
    ] = None,
    observers_read_results: Annotated[
        bool | None,
        typer.Option("--observers-read-results/--no-observers-read-results", help="If observers may fetch results."),
    ] = None,
    connection: Connection,
) -> None:
    """Change who takes part in a contract, also while it is trained.

    Its owner does so alone while nobody gets to read what others have trained.
    """
    changes = acts.Changes(tuple(member or ()), tuple(observer or ()), tuple(without or ()), observers_read_results)
    perform(connection, lambda world: acts.change_contract(world, name, changes))


@contract_app.command("stop")
@command("swarm contract stop")
def stop_contract(name: Name, connection: Connection) -> None:
    """End a training with the round in progress: every site gets its merged model."""
    perform(connection, lambda world: acts.stop_contract(world, name))


@contract_app.command("reset")
@command("swarm contract reset")
def reset_contract(
    *,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="End a training that is not over.")] = False,
    connection: Connection,
) -> None:
    """Empty a training contract, so that its next run may begin."""
    perform(connection, lambda world: acts.reset_contract(world, name, forced=force))


@contract_app.command("result")
@command("swarm contract result")
def fetch_result(
    name: Name,
    to: Annotated[Path, typer.Argument(help="The file to write, as: result.safetensors", dir_okay=False)],
    connection: Connection,
) -> None:
    """Fetch the newest merged model of a training from a site that holds it, checked against the ledger."""
    from swarmlearning.operator.results import READERS, fetch_result  # every `swarm` command would load numpy

    async def fetch() -> str:
        address, source = connection.address, connection.credentials.source()
        async with acting(address, source, connection.home, connection.network_id, READERS) as operator:
            found = await fetch_result(operator, source.current, connection.sn_ip, name, to)
        return f"contract {displayed(name)}  run {found.run}  round {found.round}  {found.digest}\nwritten to {to}"

    print(escaped(asyncio.run(fetch()), keep="\n"))


# --- nodes ----------------------------------------------------------------------------------------------------------


@node_app.command("list")
@command("swarm node list")
def list_nodes(*, json: Json = False, connection: Connection) -> None:
    """Show every registered node as the ledger has it."""
    world = verified(connection).world
    found = [node_view(world, known) for known in network.nodes(world)]
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    names = node_names(world)
    print_table(
        ("type", "name", "organisation", "state", "uid", "addresses"),
        (
            (
                each.type,
                names[each.uid],
                each.organisation,
                each.state,
                short_uid(each.uid),
                _lines(each.addresses.values()),
            )
            for each in found
        ),
    )


@node_app.command("revoke")
@command("swarm node revoke")
def revoke_node(
    node: Annotated[str, typer.Argument(help="The node's name, or the beginning of its UID.")], connection: Connection
) -> None:
    """Revoke a node's certificate: every node that uses it is shut out for good."""
    perform(connection, lambda world: acts.revoke_node(world, node))


@node_app.command("lift-quarantine")
@command("swarm node lift-quarantine")
def lift_quarantine(
    node: Annotated[str, typer.Argument(help="The SN's name, or the beginning of its UID.")], connection: Connection
) -> None:
    """Let an SN in quarantine seal and vote again."""
    perform(connection, lambda world: acts.lift_quarantine(world, node))


def _lines(texts: Iterable[str]) -> str:
    """Texts of other organisations, sorted, each in a line of its own."""
    return "\n".join(displayed(text) for text in sorted(texts))


def _facts(world: World, state: Training) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(waiting_in(world, state))
    what = {
        "transfer": transfer_of(state),
        "transfer_back": transfer_back_of(state),
        "outer_optimizer": outer_of(state),
    }
    return {"run": state.run, "rounds": state.rounds, **what, **facts}

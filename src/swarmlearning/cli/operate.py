"""`swarm contract`, `swarm trust`, `swarm node`: an operator's acts on the ledger, and what there is to act on."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.connection import VERIFIED, Connection
from swarmlearning.cli.console import make_console, make_table, print_json, short_uid
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_bundle, subject_of
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.node.errors import NodeError
from swarmlearning.operator import acts
from swarmlearning.operator.acts import Act
from swarmlearning.operator.reading import read_remote
from swarmlearning.operator.session import acting
from swarmlearning.views.names import displayed, fetch_addresses, node_names
from swarmlearning.views.nodes import node_view
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting

logger = logging.getLogger("swarm.operator")

contract_app = typer.Typer(help="Training contracts: look at them, stop or reset one.", no_args_is_help=True)
trust_app = typer.Typer(help="The certificate authorities that the network trusts.", no_args_is_help=True)
node_app = typer.Typer(help="The nodes of the network.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the training contract.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


# --- contracts ------------------------------------------------------------------------------------------------------


@contract_app.command("list")
@command("swarm contract list")
def list_contracts(*, json: Json = False, connection: Connection) -> None:
    """Show every training contract: its run, its rounds, and what it waits for."""
    world = _world(connection)
    if json:
        print_json([_facts(state) for state in acts.trainings(world)], indent=2)
        return
    names, addresses = node_names(world), fetch_addresses(world)
    rows = (
        (displayed(state.name), str(state.run), str(state.rounds), waiting_text(waiting(state), names, addresses))
        for state in acts.trainings(world)
    )
    _print_table(("contract", "run", "rounds", "state"), rows)


@contract_app.command("show")
@command("swarm contract show")
def show_contract(name: Name, connection: Connection) -> None:
    """Show the whole state of one training contract, as JSON."""
    state = acts.training(_world(connection), name)
    print_json({**_facts(state), "state": msgspec.to_builtins(state)}, indent=2)


@contract_app.command("stop")
@command("swarm contract stop")
def stop_contract(name: Name, connection: Connection) -> None:
    """End a training with the round in progress: every site gets its merged model."""
    _perform(connection, lambda world: acts.stop_contract(world, name))


@contract_app.command("reset")
@command("swarm contract reset")
def reset_contract(
    *,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="End a training that is not over.")] = False,
    connection: Connection,
) -> None:
    """Empty a training contract, so that its next run may begin."""
    _perform(connection, lambda world: acts.reset_contract(world, name, forced=force))


# --- trust ----------------------------------------------------------------------------------------------------------


@trust_app.command("list")
@command("swarm trust list")
def list_authorities(*, json: Json = False, connection: Connection) -> None:
    """Show the certificate authorities, trusted and retired."""
    found = [
        {"thumbprint": root.thumbprint, "subject": subject_of(load_bundle(root.pem)[0]), "trusted": root.active}
        for root in acts.authorities(_world(connection))
    ]
    if json:
        print_json(found, indent=2)
        return
    rows = ((str(each["thumbprint"])[:16], displayed(str(each["subject"])), _trust(each["trusted"])) for each in found)
    _print_table(("thumbprint", "authority", "state"), rows)


@trust_app.command("add")
@command("swarm trust add")
def add_authority(
    certificate: Annotated[Path, typer.Argument(help="The authority's certificate (PEM), from its organisation.")],
    connection: Connection,
) -> None:
    """Trust one more certificate authority: nodes with its certificates may join."""
    try:
        pem = certificate.read_text(encoding="ascii")
    except OSError as error:
        raise UserError(f"{certificate}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{certificate}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from error
    _perform(connection, lambda world: acts.add_authority(world, pem))


@trust_app.command("retire")
@command("swarm trust retire")
def retire_authority(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of the authority's thumbprint.")],
    connection: Connection,
) -> None:
    """Stop trusting a certificate authority; what its nodes have signed before stays valid."""
    _perform(connection, lambda world: acts.retire_authority(world, thumbprint))


# --- nodes ----------------------------------------------------------------------------------------------------------


@node_app.command("list")
@command("swarm node list")
def list_nodes(*, json: Json = False, connection: Connection) -> None:
    """Show every registered node as the ledger has it."""
    world = _world(connection)
    found = [node_view(world, known) for known in network.nodes(world)]
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    names = node_names(world)
    _print_table(
        ("type", "name", "state", "uid", "addresses"),
        (
            (each.type, names[each.uid], each.state, short_uid(each.uid), _lines(each.addresses.values()))
            for each in found
        ),
    )


@node_app.command("revoke")
@command("swarm node revoke")
def revoke_node(
    node: Annotated[str, typer.Argument(help="The node's name, or the beginning of its UID.")], connection: Connection
) -> None:
    """Revoke a node's certificate: every node that uses it is shut out for good."""
    _perform(connection, lambda world: acts.revoke_node(world, node))


# --- inside ---------------------------------------------------------------------------------------------------------


def _world(connection: Connection) -> World:
    kept = connection.directory / VERIFIED
    recorder, problem = asyncio.run(read_remote(connection.address, connection.credentials.identity(), kept))
    if problem:
        raise NodeError(f"the ledger of the SN at {connection.address} cannot be used: {problem}; name another SN")
    if recorder.void:
        logger.error("%s", recorder.void)
    return recorder.chain.world


def _perform(connection: Connection, compose: Callable[[World], Act]) -> None:
    async def perform() -> tuple[Act, int]:
        async with acting(connection.address, connection.credentials.identity(), connection.directory) as operator:
            act = compose(operator.world)
            return act, await operator.perform(act)

    act, height = asyncio.run(perform())
    print(f"{act.done} (block {height})")


def _lines(texts: Iterable[str]) -> str:
    """Texts of other organisations, sorted, each in a line of its own."""
    return "\n".join(displayed(text) for text in sorted(texts))


def _facts(state: Training) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(waiting(state))
    return {"run": state.run, "rounds": state.rounds, **facts}


def _trust(trusted: object) -> str:
    return "trusted" if trusted else "retired"


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = make_table(*columns)
    for row in rows:
        table.add_row(*row)
    make_console().print(table)

"""`swarm ledger`: read, verify and copy a chain file, offline."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from swarmlearning.cli.chainfiles import Chains
from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, print_json
from swarmlearning.cli.ledgercopies import archive, backup, restore
from swarmlearning.ledger.block import header_in
from swarmlearning.ledger.bodies import Body, Equivocation
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.history import BrokenChainError
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.views.growth import Growth
from swarmlearning.views.names import Names, displayed, for_person, name_of, node_names
from swarmlearning.views.render import clock

app = typer.Typer(help="Read, verify, back up, restore and archive a chain.", no_args_is_help=True)
app.command()(backup)
app.command()(restore)
app.command()(archive)

LONGEST_VALUE = 300

ChainPaths = Annotated[
    list[Path],
    typer.Argument(
        help="A run folder (runs/latest), an SN's data directory, or the chain file itself; and files of archived "
        "blocks and signed checkpoints."
    ),
]


@app.command()
@command("swarm ledger verify")
def verify(paths: ChainPaths) -> None:
    """Verify every block: links, signatures, certificates, contracts, states. Exit status 1 names the first fault.

    An SN that has given up old blocks is verified from its signed checkpoint
    on; with the files to which they were archived, from block 0.
    """
    chains, growth, void, chain = Chains(paths), Growth(), list[tuple[int, str]](), Chain()
    for step in chains.steps():
        chain, growth = step.chain, growth.after(step)
        if step.void is not None:
            void.append((chain.height, step.void))
            print(f"block {chain.height} is void: {displayed(step.void, LONGEST_VALUE)}")
    if chain.height < 0:
        raise BrokenChainError(0, "the chain file is empty: there is no genesis")
    name = displayed(network.network(chain.world).name)
    print(f"network {name} {chain.network_id}")
    print(f"height {chain.height}, head {chain.hash}, state {chain.world.state_hash()}")
    print(growth)
    if void:
        print(f"ledger NOT verified: {len(void)} void blocks, first {void[0][0]}")
        raise typer.Exit(1)
    source = f", {chains.source}" if chains.source else ""
    print(f"ledger verified: {growth.blocks} blocks, {growth.rounds} rounds{source}")


@app.command()
@command("swarm ledger show")
def show(
    paths: ChainPaths,
    start: Annotated[int, typer.Option("--from", help="First block to show.")] = 0,
    limit: Annotated[int, typer.Option(help="How many blocks to show.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per block.")] = False,
) -> None:
    """Show the blocks of a chain file: who sent what, at which height and when; then how fast the chain grows."""
    walked, growth = list[Step](), Growth()
    for step in Chains(paths).steps():
        growth = growth.after(step)
        if start <= step.chain.height < start + limit:
            walked.append(step)
    if json:
        for step in walked:
            print_json(_plain(step))
        return
    make_console().print(_table(walked))
    make_console(stderr=True).print(str(growth))


def _plain(step: Step) -> dict[str, object]:
    block = step.block
    return {
        "height": step.chain.height,
        "hash": step.chain.hash,
        "void": step.void,
        "header": block.header,
        "transactions": [signed.content for signed in block.transactions],
    }


def _table(walked: list[Step]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("height", "time", "hash", "transaction", "by", "content"):
        table.add_column(name, no_wrap=name != "content", overflow="fold")
    names = node_names(walked[-1].chain.world) if walked else {}
    for step in walked:
        head = [str(step.chain.height), clock(step.block.header.time_ms), step.chain.hash[:12]]
        if step.void is not None:
            table.add_row(*head, "void", "", displayed(step.void, LONGEST_VALUE))
        for signed in step.block.transactions if step.void is None else ():
            by = name_of(names, signed.content.sender) + for_person(signed.content.on_behalf_of)
            table.add_row(*head, signed.kind, by, _content(signed.content.body, names))
            head = ["", "", ""]
    return table


def _content(body: Body, names: Names) -> str:
    """The fields of a body that fit a line: digests cut, no certificates, and of a receipt who was left out and why."""
    if isinstance(body, Equivocation):
        return _two_seals(body, names)
    plain: dict[str, object] = msgspec.to_builtins(body)
    parts = []
    for name, value in plain.items():
        if name in ("kind", "certificate", "receipt"):
            continue
        parts.append(f"{name}={_short(value)}")
    for entry in body.receipt.exclusions if isinstance(body, Publish) else ():
        parts.append(f"left-out={name_of(names, entry.uid)} ({displayed(entry.why, LONGEST_VALUE)})")
    return " ".join(parts)


def _two_seals(body: Equivocation, names: Names) -> str:
    """The SN that has sealed two blocks of one height, and in what these differ; --json has both signed headers."""
    try:
        one, other = header_in(body.first), header_in(body.second)
    except MalformedError:  # the ledger requires network, height and sealer only
        return "two signed headers, at least one of which is not that of a block"
    differ = [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    blocks = ("; ".join(f"{name}={_short(getattr(each, name))}" for name in differ) for each in (one, other))
    sealer = name_of(names, one.sealer)
    return f"sealer={sealer} height={one.height}, sealed twice: {' and '.join(f'({each})' for each in blocks)}"


def _short(value: object) -> str:
    """A value as text, a digest by its first digits."""
    text = _brief(value)
    return text[:12] if len(text) == 64 else displayed(text, LONGEST_VALUE)


def _brief(value: object) -> str:
    """A field's value in a line: of an organisation its ID, and no certificate."""
    if isinstance(value, dict):
        parts = (f"{name}:{_brief(each)}" for name, each in value.items() if name != "certificate")
        return str(value["id"]) if "id" in value else " ".join(parts)
    if isinstance(value, list | tuple):
        return ", ".join(map(_brief, value)) or "none"
    return str(value)

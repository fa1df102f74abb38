"""`swarm ledger`: read, verify and copy a chain file, offline."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, print_json
from swarmlearning.cli.ledgercopies import backup, restore
from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.ledger.block import header_in
from swarmlearning.ledger.bodies import Body, Equivocation
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.history import BrokenChainError, rounds, steps
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.views.names import Names, displayed, name_of, node_names
from swarmlearning.views.render import clock

app = typer.Typer(help="Read, verify, back up and restore a chain, offline.", no_args_is_help=True)
app.command()(backup)
app.command()(restore)

CHAIN_FILE = "chain.sqlite"
LONGEST_VALUE = 300

ChainPath = Annotated[
    Path, typer.Argument(help="A run folder (runs/latest), an SN's data directory, or the chain file itself.")
]


@app.command()
@command("swarm ledger verify")
def verify(path: ChainPath) -> None:
    """Verify every block: links, signatures, certificates, contracts, states. Exit status 1 names the first fault."""
    walked = list(steps(read_chain_file(chain_file(path))))
    if not walked:
        raise BrokenChainError(0, "the chain file is empty: there is no genesis")
    void = [(step.chain.height, step.void) for step in walked if step.void is not None]
    chain = walked[-1].chain
    for height, reason in void:
        print(f"block {height} is void: {displayed(reason, LONGEST_VALUE)}")
    name = displayed(network.network(chain.world).name)
    print(f"network {name} {chain.network_id}")
    print(f"height {chain.height}, head {chain.hash}, state {chain.world.state_hash()}")
    if void:
        print(f"ledger NOT verified: {len(void)} void blocks, first {void[0][0]}")
        raise typer.Exit(1)
    print(f"ledger verified: {chain.height + 1} blocks, {len(list(rounds(walked)))} rounds")


@app.command()
@command("swarm ledger show")
def show(
    path: ChainPath,
    start: Annotated[int, typer.Option("--from", help="First block to show.")] = 0,
    limit: Annotated[int, typer.Option(help="How many blocks to show.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per block.")] = False,
) -> None:
    """Show the blocks of a chain file: who sent what, at which height and when."""
    walked = [step for step in steps(read_chain_file(chain_file(path))) if start <= step.chain.height < start + limit]
    if json:
        for step in walked:
            print_json(_plain(step))
    else:
        make_console().print(_table(walked))


def chain_file(path: Path) -> Path:
    """The chain file that `path` leads to."""
    if not path.is_dir():
        return path
    inside = RunFolder(path).chain
    return inside if inside.exists() and not (path / CHAIN_FILE).exists() else path / CHAIN_FILE


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
            by = name_of(names, signed.content.sender)
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

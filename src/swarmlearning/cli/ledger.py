"""`swarm ledger`: read and verify a chain file, offline."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, print_json
from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.ledger.bodies import Body
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.history import BrokenChainError, rounds, steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.views.names import Names, displayed, name_of, node_names
from swarmlearning.views.render import clock

app = typer.Typer(help="Read and verify a chain file, offline.", no_args_is_help=True)

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
    plain: dict[str, object] = msgspec.to_builtins(body)
    parts = []
    for name, value in plain.items():
        if name in ("kind", "certificate", "receipt"):
            continue
        text = _brief(value)
        parts.append(f"{name}={text[:12] if len(text) == 64 else displayed(text, LONGEST_VALUE)}")
    for entry in body.receipt.exclusions if isinstance(body, Publish) else ():
        parts.append(f"left-out={name_of(names, entry.uid)} ({displayed(entry.why, LONGEST_VALUE)})")
    return " ".join(parts)


def _brief(value: object) -> str:
    """A field's value in a line: of an organisation its ID, and no certificate."""
    if isinstance(value, dict):
        parts = (f"{name}:{_brief(each)}" for name, each in value.items() if name != "certificate")
        return str(value["id"]) if "id" in value else " ".join(parts)
    if isinstance(value, list | tuple):
        return ", ".join(map(_brief, value)) or "none"
    return str(value)

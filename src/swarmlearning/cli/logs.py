"""`swarm logs`: what a node has logged, or what a pair that a SWOP has started has put out; and all of it at once."""

import asyncio
import time
from contextlib import aclosing
from typing import Annotated

import typer
from typer.core import TyperGroup

from swarmlearning.cli.collect.command import collect
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.since import since_of
from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World
from swarmlearning.node.expiry import while_working
from swarmlearning.node.sealing import MAX_LINES, Wanted
from swarmlearning.operator.acts import node
from swarmlearning.operator.link import operating
from swarmlearning.operator.logs import log_lines
from swarmlearning.operator.taskrunners import known_peer, known_taskrunner

Named = Annotated[
    str, typer.Argument(metavar="NODE", help="Name, UID or beginning of the UID; with --taskrunner also its index.")
]
Runner = Annotated[str, typer.Option(metavar="NAME", help="The taskrunner in whose task the node has a part.")]
Sl = Annotated[int | None, typer.Option(min=0, help="The SL of this pair (`idx` in the SWOP's profile).")]
Ml = Annotated[int | None, typer.Option(min=0, help="The ML process of this pair.")]
Count = Annotated[int, typer.Option(min=0, max=MAX_LINES, help="So many of the last lines.")]
Since = Annotated[
    str, typer.Option(metavar="TIME", help="From this time on: 2026-11-29T12:30, with a zone or of here; or 10m ago.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with the lines to come.")]


class _ShowByDefault(TyperGroup):
    """`swarm logs NODE` is `swarm logs show NODE`, as it was before there were others."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Adds the command where the first word is none."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowByDefault,
    no_args_is_help=True,
    help="Show the log of a node (swarm logs NODE), or collect those of all into one archive.",
)
app.command("collect")(collect)


@app.command("show")
@command("swarm logs")
def logs(
    named: Named,
    connection: Connection,
    taskrunner: Runner = "",
    sl: Sl = None,
    ml: Ml = None,
    lines: Count = 100,
    since: Since = "",
    follow: Follow = False,
) -> None:
    """Show the log of an SN, SL or SWOP, or (--taskrunner) the output of a pair that a SWOP has started.

    Sites decide who reads their logs. They come encrypted from the node to this command.
    """
    wanted = wanted_by(taskrunner, sl, ml, lines, since)
    try:
        asyncio.run(_show(connection, named, wanted, taskrunner, follow))
    except KeyboardInterrupt:
        raise typer.Exit(0 if follow else 130) from None


def wanted_by(taskrunner: str, sl: int | None, ml: int | None, lines: int, since: str) -> Wanted:
    """What these options ask for. Raises `UserError`."""
    since_ms = since_of(since, time.time()) if since else None
    if sl is None and ml is None:
        return Wanted(since_ms=since_ms, lines=lines)
    if not taskrunner or (sl is not None and ml is not None):
        raise UserError("--sl or --ml, one of both, names a pair of the task of a --taskrunner")
    part, pair = ("SL", sl) if sl is not None else ("ML", ml or 0)
    return Wanted("SL" if part == "SL" else "ML", taskrunner, pair, since_ms=since_ms, lines=lines)


async def _show(connection: Connection, named: str, wanted: Wanted, taskrunner: str, follow: bool) -> None:
    source = connection.credentials.source()

    async def show() -> None:
        async with operating(connection.address, source, connection.home, connection.network_id) as operator:
            chain = await operator.refresh()
            asked = _node(chain.world, named, taskrunner)
            async with aclosing(log_lines(operator, asked, wanted, follow=follow)) as lines:
                async for text in lines:
                    print(text, flush=follow)

    await while_working(show(), source.watch())


def _node(world: World, named: str, taskrunner: str) -> Node:
    if not taskrunner:
        return node(world, named)
    return node(world, known_peer(world, known_taskrunner(world, taskrunner), named).uid)

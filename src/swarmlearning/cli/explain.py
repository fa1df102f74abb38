"""`swarm explain`: why a round took as long as it did, or for whom a training waits, since when, and doing what."""

import asyncio
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import VERIFIED, Connection
from swarmlearning.cli.console import make_console, make_table, print_json
from swarmlearning.errors import UserError, first_cause
from swarmlearning.identity.certificates import role_of
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.expiry import while_working
from swarmlearning.operator.explaining import accounts_of, explain, training_of, unavailable
from swarmlearning.operator.link import operating
from swarmlearning.operator.reading import read_remote
from swarmlearning.views.evidence import Account
from swarmlearning.views.explaintext import headline, notes, remedy, share_text, site_text, span_text, way_notes
from swarmlearning.views.explanation import Explanation
from swarmlearning.views.report import Recorder
from swarmlearning.views.sliced import RoundWay

NO_OPERATOR = "nodes state their times to operators only, and this certificate is for {role}"
ASK_AS_OPERATOR = "ask with an operator's certificate"

SHOWN: Final = 0.005
"""A smaller share of a round's time explains nothing."""

Round = Annotated[int | None, typer.Argument(metavar="[ROUND]", min=0, help="A round, by default the one in progress.")]
Contract = Annotated[str, typer.Option(help="The training contract; by default that with the most rounds.")]
Json = Annotated[bool, typer.Option("--json", help="The same facts for programs (docs/explain.md).")]


class Answer(msgspec.Struct, frozen=True):
    """What `--json` prints: the first line and the remedy as text, and the facts."""

    text: str
    remedy: str
    facts: Explanation


@command("swarm explain")
def explain_command(connection: Connection, number: Round = None, contract: Contract = "", json: Json = False) -> None:
    """Say why a round took as long as it did, or for whom a training waits, since when, and doing what.

    The ledger is read and verified. What each site did comes from its own
    node, sealed for the operator who asks, as far as the site lets its logs
    be read; with another node's certificate, from the ledger alone.
    """
    found = asyncio.run(_explained(connection, number, contract))
    if json:
        print_json(Answer(headline(found), remedy(found), found))
    else:
        show(make_console(), found)


async def _explained(connection: Connection, number: int | None, contract: str) -> Explanation:
    source, address = connection.credentials.source(), connection.address
    try:
        return await while_working(_explain(connection, number, contract), source.watch())
    except Exception as error:
        cause = first_cause(error)  # it may come in a group
        if isinstance(cause, Unavailable | Refusal):
            raise UserError(unavailable(cause, address)) from error
        raise


async def _explain(connection: Connection, number: int | None, contract: str) -> Explanation:
    identity = connection.credentials.identity()
    kept = connection.directory / VERIFIED
    recorder, problem = await read_remote(connection.address, identity, kept, connection.network_id)
    if problem:
        raise UserError(f"the ledger does not verify: {problem}")
    now_ms = clock_ms()
    async with SnClient(connection.address, client_context(identity)) as client:
        status = await client.status()
    accounts = await _accounts(connection, recorder, number, contract)
    return explain(recorder, contract, number, accounts, status, now_ms)


async def _accounts(
    connection: Connection, recorder: Recorder, number: int | None, contract: str
) -> dict[str, Account]:
    """What the members state of the round; of those that are not asked, why not."""
    state = training_of(recorder.chain, contract)
    members, role = sorted(state.members), role_of(connection.credentials.identity().certificate)
    if role not in OPERATORS:
        return {uid: Account(None, NO_OPERATOR.format(role=role), ASK_AS_OPERATOR) for uid in members}
    current = state.round.number if state.round else None
    wanted = None if number is None or number == current else number
    source = connection.credentials.source()
    async with operating(connection.address, source, connection.home, connection.network_id) as operator:
        await operator.refresh()
        await operator.register()
        return await accounts_of(operator, members, state.name, wanted)


def show(console: Console, found: Explanation) -> None:
    """Prints an explanation."""
    console.print(Text(headline(found), "bold"), soft_wrap=True)
    if text := remedy(found):
        console.print(f"What to do: {text}", soft_wrap=True)
    if found.shares:
        table = make_table("share", "time", "what")
        for share in found.shares:
            if share.share < SHOWN:
                continue
            table.add_row(f"{100 * share.share:.0f} %", span_text(share.seconds), share_text(share))
        console.print()
        console.print(table)
    if texts := way_notes(found):
        console.print()
        for text in texts:
            console.print(text, soft_wrap=True)
    if found.sites:
        table, way = make_table("site", ""), found.way or RoundWay(False, "small")
        mergers = {each.uid: each for each in way.mergers}
        for site in found.sites:
            table.add_row(site.site, site_text(site, mergers.get(site.site), way.survey))
        console.print()
        console.print(table)
    for note in notes(found):
        console.print(note, style="dim", soft_wrap=True)

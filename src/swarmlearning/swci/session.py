"""A session of SWCI: executes one line of the command language after the other, and yields what each prints.

It knows no terminal: the shell, scripts and the web mode show its lines, each in its own way.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from swarmlearning.api.client import SnClient
from swarmlearning.errors import UserError, first_cause
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.taskrunner import taskrunners
from swarmlearning.ledger.contracts.tasks import tasks
from swarmlearning.ledger.world import World
from swarmlearning.node.commanding import SECONDS
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.acts import Act
from swarmlearning.operator.link import Link, operating
from swarmlearning.operator.reading import require_network
from swarmlearning.operator.session import Operator, sent
from swarmlearning.swci.contexts import Contexts
from swarmlearning.swci.folders import Folders
from swarmlearning.swci.language import is_remark, parse
from swarmlearning.swci.output import Line, Lines, line
from swarmlearning.swci.table import Command
from swarmlearning.swci.wording import in_swci
from swarmlearning.views.names import escaped
from swarmlearning.views.proposals import ProposalView
from swarmlearning.views.trainings import contract_names

T = TypeVar("T")
Handler: TypeAlias = Callable[..., Awaitable[Sequence[Line]] | AsyncGenerator[Line, None]]
"""Carries out a form of a command: gets the session and the form's arguments, and returns the lines to print, or yields
each as soon as it is known where that takes time."""


@dataclass(frozen=True)
class SessionSettings:
    """What a session works with; `source` has the operator's identity.

    `home`: the operator's folder of UIDs; `user_directory`: where scripts and task files lie. `network_id`: of the only
    network that contexts may be for, empty: of any. `run_task_minutes`, `other_task_minutes`: how long WAIT FOR
    TASKRUNNER waits for a RUN_SWARM, and for other types (WAIT FOR PROPOSAL too). `retry_seconds`: between attempts of
    WAIT FOR IP; `mark_seconds`: between signs of progress. `web`: for clients of the web mode: `cd` and files stay in
    the user directory, and LIST NODES prints fields separated by commas.
    """

    source: IdentitySource
    home: Path
    user_directory: Path | None = None
    network_id: str = ""
    run_task_minutes: int = 120
    other_task_minutes: int = 120
    retry_seconds: float = 5.0
    mark_seconds: float = 10.0
    web: bool = False


class Session:
    """Its `number` counts executed commands, for the prompt. `ended`: no more are to come; `failed`: a command failed
    while EXIT ON FAILURE was on, which has ended it. `close` at the end."""

    def __init__(self, settings: SessionSettings) -> None:
        self.settings = settings
        self.contexts = Contexts()
        self.folders = Folders(settings.user_directory, confined=settings.web)
        self.number = 0
        self.exit_on_failure = False
        self.ended = False
        self.failed = False

    async def execute(self, text: str) -> Lines:
        """Carries out one line and yields what it prints; a failure is a line of the kind `error`."""
        if is_remark(text):
            return
        try:
            call = parse(text)
            answer = handler_of(call.command)(self, *call.values)
            if not isinstance(answer, AsyncGenerator):
                for each in await answer:
                    yield each
                return
            async with aclosing(answer) as lines:
                async for each in lines:
                    yield each
        except Exception as error:
            cause = first_cause(error)
            if not isinstance(cause, UserError):
                raise
            first, *others = [escaped(text) for text in in_swci(str(cause)).splitlines()] or [""]
            yield Line("\n        ".join((f"ERROR : {first}", *others)), "error")
            self.ended = self.failed = self.exit_on_failure or self.failed
        finally:
            self.number += 1

    async def close(self) -> None:
        """Leaves all networks."""
        await self.contexts.close()

    def names(self) -> dict[str, list[str]]:
        """By the name of an argument in the table, what it may be, as far as is known without asking anybody."""
        context = self.contexts.current
        world = context.link.chain.world if context else World()
        return {
            "ContextName": [each.name for each in self.contexts],
            "TrainingContractName": contract_names(world),
            "TaskName": [each.name for each in tasks(world)],
            "TaskRunnerName": [each.name for each in taskrunners(world)],
            "File": self.folders.names(),
            "Directory": self.folders.names(),
        }

    # --- what commands use ------------------------------------------------------------------------------------------

    async def probe(self, address: str) -> dict[str, Any]:
        """The status of the SN at this address, with the ID of its network by its first block, whatever it states.

        Raises `Unavailable`, `Refusal` or `NodeError`.
        """
        async with SnClient(address, client_context(self.settings.source.current)) as client:
            network_id = await require_network(client, self.settings.network_id)
            return {**await client.status(), "network_id": network_id}

    def link(self, address: str, network_id: str) -> Link:
        """A connection, not made yet, to the network of this SN."""
        return Link(partial(operating, address, self.settings.source, self.settings.home, network_id))

    async def use(
        self, work: Callable[[Operator], Awaitable[T]], *, seconds: float | None = SECONDS, context: str | None = None
    ) -> T:
        """What `work` returns, with the operator of a context, by default of the one in use. Raises `UserError`."""
        used = self.contexts.named(context)
        try:
            async with asyncio.timeout(seconds):
                return await used.link.use(work)
        except TimeoutError:
            raise NodeError(
                f"{used.address} and the other SNs known did not do this within {seconds:.0f} s; look at LIST NODES "
                "and at the SNs' logs, then try again"
            ) from None

    async def chain(self) -> Chain:
        """The verified ledger as it stands now. Raises `UserError`."""
        return await self.use(lambda operator: operator.refresh())

    async def perform(self, compose: Callable[[World], Act]) -> ProposalView | None:
        """Sends an act; returns the proposal that it becomes where more signatures are needed. Raises `UserError`."""

        return await self.use(lambda operator: sent(operator, compose))

    async def act(self, compose: Callable[[World], Act], done: str) -> list[Line]:
        """Sends an act; the line `done`, or who has to agree first. Raises `UserError`."""
        return [proposed(proposal) if (proposal := await self.perform(compose)) else line(done)]


def proposed(found: ProposalView) -> Line:
    """The line for an act that needs more signatures, or that the last one needed has put into effect."""
    if found.state == "open":
        return line(f"PROPOSED : {found.number}, waits for {', '.join(found.missing) or 'nobody'}")
    return line(f"PROPOSAL {found.number} : {found.state.upper()} ({found.act} {found.what})")


def handler_of(command: Command) -> Handler:
    """The function that carries a form of a command out."""
    module, _, function = command.handler.partition(".")
    found: Handler = getattr(import_module(f"swarmlearning.swci.commands.{module}"), function)
    return found

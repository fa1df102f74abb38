"""Contexts: named environments of a session, each for the API server of one SN. They end with the session."""

from collections.abc import Iterator
from dataclasses import dataclass

from swarmlearning.errors import UserError
from swarmlearning.operator.link import Link
from swarmlearning.views.names import displayed

MOST_CONTEXTS = 16
LONGEST_NAME = 160
RUN_TASK_MINUTES = "SWCI_RUN_TASK_MAX_WAIT_TIME"
OTHER_TASK_MINUTES = "SWCI_GENERIC_TASK_MAX_WAIT_TIME"
"""The variables of a context that have an effect: how long to wait for a RUN_SWARM, and for other types, in minutes."""


class ContextError(UserError):
    """There is no such context, or none can be made so; the message says what to do."""


@dataclass(frozen=True)
class Context:
    """One context. `address` is that of the API server, as `host:port`; `is_service`: of a proxy before it.

    `network`, `network_id` and `version` are what the API server said when the context was created; `variables` are the
    environment variables set for it.
    """

    name: str
    address: str
    is_service: bool
    network: str
    network_id: str
    version: str
    link: Link
    variables: dict[str, str]

    def seconds(self, *, run_task: bool) -> float:
        """How long to wait for a task of the type RUN_SWARM, or of another one."""
        return 60.0 * int(self.variables[RUN_TASK_MINUTES if run_task else OTHER_TASK_MINUTES])


class Contexts:
    """All contexts of a session, of which one is in use."""

    def __init__(self) -> None:
        self._known: dict[str, Context] = {}
        self._current = ""

    def __iter__(self) -> Iterator[Context]:
        return iter(self._known.values())

    @property
    def current(self) -> Context | None:
        """The one in use, if there is one."""
        return self._known.get(self._current)

    def check_name(self, name: str) -> None:
        """Raises `ContextError` if no context of this name can be created."""
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise ContextError(
                f"a context's name has 1 to {LONGEST_NAME} printable characters, not {displayed(name)!r}"
            )
        if name in self._known:
            raise ContextError(f"there is a context {name} already; switch to it, or choose another name")
        if len(self._known) >= MOST_CONTEXTS:
            raise ContextError(f"this session has {MOST_CONTEXTS} contexts already; more are not taken")

    def add(self, context: Context) -> None:
        """Adds one. Raises `ContextError` as `check_name` does."""
        self.check_name(context.name)
        self._known[context.name] = context

    def switch(self, name: str) -> None:
        """Makes it the one in use. Raises `ContextError`."""
        self._current = self.named(name).name

    def named(self, name: str | None) -> Context:
        """The context of this name, by default the one in use. Raises `ContextError`."""
        wanted = name if name is not None else self._current
        if not wanted:
            raise ContextError(
                "no context is in use: CREATE CONTEXT <name> WITH IP <ip of an SN>, then SWITCH CONTEXT <name>"
            )
        if wanted not in self._known:
            raise ContextError(
                f"there is no context {displayed(wanted)}; there is {', '.join(self._known) or 'none yet'}"
            )
        return self._known[wanted]

    async def close(self) -> None:
        """Ends all connections."""
        for context in self._known.values():
            await context.link.close()

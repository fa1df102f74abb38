"""Commands about contexts."""

from typing import Final

from swarmlearning.address import join, require_host, split, with_port
from swarmlearning.swci.contexts import OTHER_TASK_MINUTES, RUN_TASK_MINUTES, Context, ContextError
from swarmlearning.swci.output import Line, Lines, fields, line
from swarmlearning.swci.session import Session
from swarmlearning.views.names import displayed

API_PORT: Final = 30304
SERVICE_PORT: Final = 443
UP: Final = "API Server is UP!"
MOST_VARIABLES: Final = 64
LONGEST_VALUE: Final = 1024


async def create_with_ip(session: Session, name: str, ip: str, port: int | None) -> Lines:
    """CREATE CONTEXT … WITH IP."""
    async for each in _create(session, name, ip_address(ip, port), is_service=False):
        yield each


async def create_with_service(session: Session, name: str, service: str) -> Lines:
    """CREATE CONTEXT … WITH SERVICE."""
    async for each in _create(session, name, with_port(service, SERVICE_PORT), is_service=True):
        yield each


async def switch(session: Session, name: str) -> list[Line]:
    """SWITCH CONTEXT."""
    session.contexts.switch(name)
    return [line(f"DEFAULT CONTEXT SET TO : {name}")]


async def list_all(session: Session) -> list[Line]:
    """LIST CONTEXTS."""
    return [line(context.name) for context in session.contexts]


async def info(session: Session, name: str | None) -> list[Line]:
    """GET CONTEXT INFO."""
    context = session.contexts.named(name)
    host, port = split(context.address)
    return fields(
        {
            "CONTEXT NAME": context.name,
            "API SERVER SERVICE" if context.is_service else "API SERVER IP": host,
            "API SERVER PORT": port,
            "API SERVER VERSION": context.version,
            "NETWORK": context.network,
            "NETWORK ID": context.network_id,
        }
    )


async def version(session: Session) -> list[Line]:
    """GET CONTEXT VERSION."""
    return [line(f"API SERVER VERSION : {session.contexts.named(None).version}")]


async def list_variables(session: Session, name: str | None) -> list[Line]:
    """LIST CONTEXT ENV."""
    return [line(f"{key}={value}") for key, value in sorted(session.contexts.named(name).variables.items())]


async def get_variable(session: Session, name: str | None, key: str) -> list[Line]:
    """GET CONTEXT ENV."""
    variables = session.contexts.named(name).variables
    if key not in variables:
        raise ContextError(f"the context has no variable {displayed(key)}; LIST CONTEXT ENV shows those there are")
    return [line(f"{key}={variables[key]}")]


async def set_variable(session: Session, name: str | None, key: str, value: str) -> list[Line]:
    """SET CONTEXT ENV."""
    variables = session.contexts.named(name).variables
    if not key.isidentifier() or len(key) > LONGEST_VALUE or len(value) > LONGEST_VALUE:
        raise ContextError(f"{displayed(key)}: a name is letters, digits and _; both have {LONGEST_VALUE} at most")
    if len(variables) >= MOST_VARIABLES and key not in variables:
        raise ContextError(f"a context has at most {MOST_VARIABLES} variables")
    if key in (RUN_TASK_MINUTES, OTHER_TASK_MINUTES) and not (
        value.isascii() and value.isdigit() and 0 < int(value) < 10**6
    ):
        raise ContextError(f"{key} is a number of minutes, not {displayed(value)!r}")
    variables[key] = value
    return [line(f"{key}={value}")]


def ip_address(ip: str, port: int | None) -> str:
    """The address of an API server, by default at its usual port. Raises `AddressError`."""
    require_host(ip)
    address = join(ip, API_PORT if port is None else port)
    split(address)
    return address


async def _create(session: Session, name: str, address: str, *, is_service: bool) -> Lines:
    session.contexts.check_name(name)
    status = await session.probe(address)
    yield line(UP)
    limits = {
        RUN_TASK_MINUTES: str(session.settings.run_task_minutes),
        OTHER_TASK_MINUTES: str(session.settings.other_task_minutes),
    }
    session.contexts.add(
        Context(
            name=name,
            address=address,
            is_service=is_service,
            network=displayed(status["network"]),
            network_id=displayed(status["network_id"]),
            version=displayed(status["version"]),
            link=session.link(address, status["network_id"]),
            variables=limits,
        )
    )
    yield line(f"CONTEXT CREATED : {name}")

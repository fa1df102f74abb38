"""Commands about the session itself."""

import asyncio

from swarmlearning.swci.language import help_lines
from swarmlearning.swci.output import Line, line
from swarmlearning.swci.session import Session


async def sleep(session: Session, seconds: float) -> list[Line]:
    """SLEEP."""
    await asyncio.sleep(seconds)
    return []


async def leave(session: Session) -> list[Line]:
    """EXIT."""
    session.ended = True
    return []


async def exit_on_failure(session: Session, state: str | None) -> list[Line]:
    """EXIT ON FAILURE, which is ON where it says nothing."""
    session.exit_on_failure = state != "OFF"
    return [line(f"EXIT ON FAILURE IS TURNED {state or 'ON'}", "answer")]


async def help_for(session: Session, command: str) -> list[Line]:
    """HELP."""
    return [line(text) for text in help_lines(command)]

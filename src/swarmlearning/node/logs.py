"""Logging as users of the original know it: `2026-11-21 22:50:25,123 : swarm.SN : INFO : message`."""

import asyncio
import logging
import sys
from typing import Any, Literal

from swarmlearning.views.names import escaped

FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"
WIDTH = 58

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class LineFormatter(logging.Formatter):
    """One line a record, whatever its message contains; only a traceback of ours has more.

    Parts of many messages come from other organisations: they must not forge lines or steer a terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        return escaped(super().formatMessage(record))


def start_logging(level: Level) -> None:
    """Everything of ours goes to standard output, one line a record."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter(FORMAT))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty in ("asyncio", "aiohttp", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of every request that a stranger sends wrongly


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's exception handler: asyncio's own, without reports on which nobody can act.

    uvloop (0.23) closes the transport of a connection whose making is cancelled, and if the peer's part of the TLS
    handshake arrives in the same turn, it then reports as an error that the end of the handshake cannot be sent.
    """
    error = context.get("exception")
    if context.get("message") == "Fatal error on SSL protocol" and str(error).endswith("the handler is closed"):
        return
    loop.default_exception_handler(context)


def banner(kind: str) -> str:
    """The box at the head of a node's log."""
    edge = "#" * WIDTH
    lines = [edge, f"##{f'SWARM LEARNING {kind} NODE':^{WIDTH - 4}}##", edge]
    return "\n".join(lines)

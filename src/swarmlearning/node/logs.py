"""Logging as users of the original know it: `2026-11-21 22:50:25,123 : swarm.SN : INFO : message`.

On request each line is a JSON object instead, for programs that collect logs:

    {"time": "2026-11-21T22:50:25.123Z", "level": "INFO", "logger": "swarm.SL", "node": "site-1", "contract": "…",
     "round": 12, "message": "…", "trace": "…"}

`contract` and `round` are there where the node is in a training, or the line is about one; `trace` where there is a
traceback.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Collection
from typing import Any, Final, Literal

from swarmlearning.redaction import REMOVED
from swarmlearning.views.names import escaped

FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"
WIDTH = 58
ENDING = "This node ends: "
"""The last line of a node that ends by an error begins so."""

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Form = Literal["text", "json"]

_now: Final[dict[str, str | int]] = {}
"""What this process works on: `contract` and `round`. A node is a process, and is in one training at a time."""

_hidden: Final[set[str]] = set()
"""Secrets of this process that must not be in any line, see `node.secrets.known_secrets`."""


def now_in(contract: str, number: int | None) -> None:
    """States the training that this process is in, for the lines of its log in JSON."""
    _now.update({"contract": contract} if number is None else {"contract": contract, "round": number})
    if number is None:
        _now.pop("round", None)


class LineFormatter(logging.Formatter):
    """One line a record, whatever its message contains; only a traceback of ours has more.

    Parts of many messages come from other organisations: they must not forge lines or steer a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return _without_hidden(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        return escaped(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record, in ASCII, so that nothing in it forges lines or steers a terminal.

    `contract` and `round` of a record (`extra`) go before those of the process.
    """

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        about = _now | {name: record.__dict__[name] for name in ("contract", "round") if name in record.__dict__}
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{second}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "node": self._node,
            **about,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _without_hidden(json.dumps(line))


def in_text(line: str) -> str:
    """A line of a log as text, where it is one in JSON."""
    if not line.startswith('{"time": '):
        return line
    try:
        found = json.loads(line)
        when, message = f"{found['time'][:23]}Z".replace("T", " ").replace(".", ","), found["message"]
        return escaped(f"{when} : {found['logger']} : {found['level']} : {message}")
    except (ValueError, TypeError, KeyError, RecursionError):
        return line


def _without_hidden(line: str) -> str:
    for secret in _hidden:
        if secret in line:
            line = line.replace(secret, REMOVED)
    return line


def formatter_of(form: Form, node: str) -> logging.Formatter:
    """The formatter for lines of this form; `node` is the name of whoever logs."""
    return JsonFormatter(node) if form == "json" else LineFormatter(FORMAT)


def start_logging(level: Level, form: Form = "text", node: str = "", hidden: Collection[str] = ()) -> None:
    """Everything of ours goes to standard output, one line a record, and nothing that is `hidden`."""
    _hidden.clear()
    _hidden.update(hidden)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter_of(form, node))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty in ("asyncio", "aiohttp", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of every request that a stranger sends wrongly


def is_noise(context: dict[str, Any]) -> bool:
    """Whether an error that nobody awaits, as the event loop reports it, is one on which nobody can act.

    uvloop (0.23) closes the transport of a connection whose making is cancelled, and if the peer's part of the TLS
    handshake arrives in the same turn, it then reports as an error that the end of the handshake cannot be sent.
    """
    error = str(context.get("exception"))
    return context.get("message") == "Fatal error on SSL protocol" and error.endswith("the handler is closed")


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's exception handler: asyncio's own, without what is noise."""
    if not is_noise(context):
        loop.default_exception_handler(context)


def banner(kind: str) -> str:
    """The box at the head of a node's log."""
    edge = "#" * WIDTH
    lines = [edge, f"##{f'SWARM LEARNING {kind} NODE':^{WIDTH - 4}}##", edge]
    return "\n".join(lines)

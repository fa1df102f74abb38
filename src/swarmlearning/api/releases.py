"""Which releases understand each other at the SNs' API: both ends state a range of protocols, and one must be in both.

A protocol is a number that grows when nodes send each other what an older release does not understand. It is stated in
the header `swarm-protocol: OLDEST-NEWEST RELEASE` of every request and every answer; releases before this header speak
protocol 1. Blocks and transactions are not concerned: what they mean is versioned on the ledger (`ledger/rules.py`).

A network is upgraded node by node, SNs first, so `OLDEST` grows only in a release after the one that has brought what
it requires; then a node that was left behind is refused by name.
"""

import re
from typing import Final, NamedTuple, Self

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swarmlearning import __version__
from swarmlearning.api.middleware import error_body

HEADER: Final = "swarm-protocol"
OLDEST: Final = 1
NEWEST: Final = 2
"""2: optional fields in heartbeats and states, and this header."""
CODE: Final = "release"
"""The code of a refusal for this reason; it is final, until somebody has installed another release."""
UPGRADE_REQUIRED: Final = 426

_FORM: Final = re.compile(r"([0-9]{1,6})-([0-9]{1,6}) ([0-9A-Za-z.+!-]{1,40})")


class Spoken(NamedTuple):
    """The protocols that a program speaks, and its release for people."""

    oldest: int
    newest: int
    release: str

    @classmethod
    def read(cls, header: str | None) -> Self:
        """What a header states. One that cannot be read is that of a release to come, which speaks nothing of ours."""
        if header is None:
            return cls(1, 1, "from before protocol 2")
        match = _FORM.fullmatch(header)
        return cls(int(match[1]), int(match[2]), match[3]) if match else cls(NEWEST + 1, NEWEST + 1, "unknown")

    def __str__(self) -> str:
        return f"{self.oldest}-{self.newest} {self.release}"


OWN: Final = Spoken(OLDEST, NEWEST, __version__)


def mismatch(own: Spoken, other: Spoken, subject: str) -> str:
    """Why `subject`, the other end, cannot be spoken with, and what to do; empty if it can."""
    if other.newest < own.oldest:
        old, needed, remedy = other, own, f"upgrade {subject}"
    elif own.newest < other.oldest:
        old, needed, remedy = own, other, "upgrade this node; SNs are upgraded before the others"
    else:
        return ""
    older, newer = (subject, "this node") if old is other else ("this node", subject)
    return (
        f"{older} is too old for {newer}: its release ({old.release}) speaks protocols up to {old.newest}, {newer} "
        f"({needed.release}) needs {needed.oldest} or a newer one. Remedy: {remedy}"
    )


class Releases:
    """ASGI middleware: answers 426 to releases that `own` cannot speak with; each answer states what it speaks."""

    def __init__(self, app: ASGIApp, own: Spoken = OWN) -> None:
        self._app = app
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stating(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = str(self._own)
            await send(message)

        stated = next((value for name, value in scope["headers"] if name == HEADER.encode()), None)
        spoken = Spoken.read(stated.decode("latin-1") if stated is not None else None)
        if reason := mismatch(spoken, self._own, "the SN"):  # in the words of who reads it: the node that is refused
            return await _refuse(stating, reason)
        return await self._app(scope, receive, stating)


async def _refuse(send: Send, detail: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": UPGRADE_REQUIRED, "headers": headers})
    await send({"type": "http.response.body", "body": error_body(detail, CODE)})

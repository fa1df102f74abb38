"""What an action has done, told once on the next page of the same session."""

from collections import OrderedDict
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.ui.store.sessions import session_id

MOST: Final = 1000
MOST_A_SESSION: Final = 5

Kind: TypeAlias = Literal["done", "waits", "failed"]
_STATES: Final[dict[Kind, str]] = {"done": "good", "waits": "busy", "failed": "bad"}


class Flash(msgspec.Struct, frozen=True):
    """`text` says what has become of an action; `command` would do the same in a terminal, empty where none does.
    `secret`: what is shown this once and kept nowhere."""

    kind: Kind
    text: str
    command: str = ""
    secret: str = ""

    @property
    def state(self) -> str:
        """Its state as the look of the UI knows them (`templates/macros/parts.html`)."""
        return _STATES[self.kind]


class Flashes:
    """Those that have not been told yet, by session; in memory, bounded."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[Flash]] = OrderedDict()

    def add(self, session: str, flash: Flash) -> None:
        """Keeps it for the next page of the session with this token."""
        waiting = self._waiting.setdefault(session_id(session), [])
        waiting.append(flash)
        del waiting[:-MOST_A_SESSION]
        while len(self._waiting) > MOST:
            self._waiting.popitem(last=False)

    def take(self, session: str) -> list[Flash]:
        """All of a session, which are told now."""
        return self._waiting.pop(session_id(session), []) if session else []

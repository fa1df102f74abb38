"""Commands of the web's clients: all share one session, and a long one does not keep others waiting."""

import asyncio
from contextlib import aclosing
from typing import Final

from swarmlearning.swci.language import LanguageError, is_remark, parse
from swarmlearning.swci.session import Session

MOST_AT_ONCE: Final = 32
LONGEST_SECONDS: Final = 24 * 3600.0
MOST_LINES: Final = 20_000
MOST_CHARACTERS: Final = 8 * 2**20
"""Of all lines: other organisations' nodes write the logs that LOGS shows."""
NO_EXIT: Final = "ERROR : EXIT does not end the web mode; its operator stops the process"
SHOWN: Final = frozenset({"text", "answer", "error"})


class Commands:
    """Carries out command lines in a session."""

    def __init__(self, session: Session, *, most: int = MOST_AT_ONCE, seconds: float = LONGEST_SECONDS) -> None:
        """At most `most` at a time, each for at most so many `seconds`."""
        self._session = session
        self._most = most
        self._seconds = seconds
        self._running = 0

    async def run(self, text: str) -> list[str]:
        """What the command prints; the last string begins with `ERROR ` where it has failed."""
        if "\n" in text or "\r" in text:
            return ["ERROR : one command at a time: it is one line"]
        if _is_exit(text):
            return [NO_EXIT]
        if self._running >= self._most:
            return [f"ERROR : {self._most} commands are at work already; try again when one of them has ended"]
        self._running += 1
        printed: list[str] = []
        try:
            async with asyncio.timeout(self._seconds):
                await self._collect(text, printed)
        except TimeoutError:
            printed.append(f"ERROR : the command was ended after {self._seconds:g} seconds")
        finally:
            self._running -= 1
            self._session.ended = self._session.failed = False  # EXIT ON FAILURE is for scripts
        return printed

    async def _collect(self, text: str, printed: list[str]) -> None:
        characters = 0
        async with aclosing(self._session.execute(text)) as lines:
            async for each in lines:
                if each.kind not in SHOWN:
                    continue
                printed.append(each.text if each.kind == "error" else _no_failure(each.text))
                characters += len(each.text)
                if len(printed) >= MOST_LINES or characters >= MOST_CHARACTERS:
                    printed.append(f"ERROR : there are more than {MOST_LINES} lines, or {MOST_CHARACTERS} characters")
                    return


def _no_failure(text: str) -> str:
    """A line of output as no client takes it for a failure: what others have named may begin as one does."""
    return f" {text}" if text.startswith("ERROR ") else text


def _is_exit(text: str) -> bool:
    try:
        return not is_remark(text) and parse(text).command.name == "EXIT"
    except LanguageError:
        return False

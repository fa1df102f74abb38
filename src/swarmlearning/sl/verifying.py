"""An operator's requests to check a round, by a unix socket in the data directory that only the SL's user may open.

Whoever connects sends one line, `{"next": false}`, and reads lines: what is waited for, as `{"say": text}`, and in the
end `{"failed": text}` or what was found (`Outcome`). Closing the connection ends the waiting; a check that has begun
goes on.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.checks import Checks
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.usersocket import connected, listening
from swarmlearning.views.checks import RoundChecks, chunks_of, round_checks
from swarmlearning.views.names import Names, name_of, node_names

SOCKET: Final = "verify.sock"
MOST_ASKED: Final = 8
"""Requests at a time."""
LONGEST: Final = 4096
"""Bytes of a request."""
SECONDS: Final = 5.0
"""In which a request has to come, and an answer to be taken."""

logger = logging.getLogger("swarm.SL")


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request: to check the standing result, or the `next` one that several sites merge."""

    next: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What this site has found, and all have. `chunks`: first and last of each run that it has checked, counted from 1,
    of `count`; `wrong`: the slices in which it has found other bytes."""

    contract: str
    round: int
    chunks: tuple[tuple[int, int], ...]
    count: int
    share: float
    wrong: tuple[int, ...]
    all: RoundChecks
    names: dict[str, str]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an answer."""

    say: str = ""
    failed: str = ""
    outcome: Outcome | None = None


class Verifying:
    """Belongs to one event loop. `contract`: the training's; `want` makes the node check a result; `chunks`: of how
    many a model in the store is, its header aside; 0: it is not there."""

    def __init__(
        self,
        uid: str,
        follower: Follower,
        contract: Callable[[], str],
        want: Callable[[str], None],
        chunks: Callable[[str], int],
    ) -> None:
        self._uid = uid
        self._follower = follower
        self._contract = contract
        self._want = want
        self._chunks = chunks
        self._failures: dict[str, str] = {}
        self._waiting: set[asyncio.Event] = set()

    def failed(self, result: str, reason: str) -> None:
        """A check has failed; it is tried again while it can be."""
        self._failures = {result: reason}
        for news in self._waiting:
            news.set()

    async def answer(self, asked: Asked) -> AsyncGenerator[Answer, None]:
        """What the operator is told, until the check has ended."""
        state, said = self._state, ""
        before = state.checks.result if state.checks and asked.next else ""
        target = state.checks if state.checks and not asked.next else None
        if not asked.next and (target is None or not (is_open(state) or self._uid in target.found)):
            yield Answer(failed=_too_late(state))
            return
        wanted = False
        async with aclosing(self._news()) as news:
            async for chain in news:
                state = state_of(chain.world, self._contract())
                if target is None and state.checks and state.checks.result != before:
                    target = state.checks
                if target and not wanted:
                    wanted = True
                    self._failures.pop(target.result, None)
                    self._want(target.result)
                step = self._step(state, target, node_names(chain.world))
                if step.say != said or not step.say:
                    said = step.say
                    yield step
                if not step.say:
                    return

    def _step(self, state: Training, target: Checks | None, names: Names) -> Answer:
        """How far it is; without `say` once it has ended."""
        if target is None:
            return Answer(say="waiting for the result of a round that several sites merge in slices")
        checks = state.checks
        if checks is None or checks.result != target.result or checks.round != target.round:
            return Answer(failed=f"the result of round {target.round} does not stand any more")
        if not checks.parts_of(self._uid):
            return Answer(failed=f"no part of round {target.round} is for this site to check")
        if self._uid in checks.found:
            return Answer(outcome=self._outcome(state, checks, names))
        reason = _named(self._failures.get(target.result, ""), names)
        if not is_open(state) and (reason or self._uid not in checks.begun):
            return Answer(failed=_too_late(state) + (f". Before that: {reason}" if reason else ""))
        if reason:
            return Answer(say=f"round {target.round} cannot be checked yet: {reason}")
        return Answer(say=f"merging a part of round {target.round} again")

    def _outcome(self, state: Training, checks: Checks, names: Names) -> Outcome:
        count, found = self._chunks(checks.result), round_checks(state)
        assert found is not None
        runs = tuple((run.start + 1, run.stop) for run in chunks_of(checks, self._uid, count))
        share = next(part.share for part in found.parts if part.uid == self._uid)
        wrong = checks.found[self._uid]
        shown = {uid: name_of(names, uid) for uid in state.members}
        return Outcome(state.name, checks.round, runs, count, share, wrong, found, shown)

    async def _news(self) -> AsyncGenerator[Chain, None]:
        """The newest chain now, after every change, and after every failure."""
        news = asyncio.Event()
        self._waiting.add(news)

        async def follow() -> None:
            async for _ in self._follower.chains():
                news.set()

        following = asyncio.create_task(follow())
        try:
            while True:
                yield self._follower.chain
                await news.wait()
                news.clear()
        finally:
            following.cancel()
            self._waiting.discard(news)

    @property
    def _state(self) -> Training:
        return state_of(self._follower.chain.world, self._contract())


def _named(text: str, names: Names) -> str:
    """The text, with names in the place of members' UIDs."""
    for uid in names:
        if uid in text:
            text = text.replace(uid, name_of(names, uid))
    return text


def _too_late(state: Training) -> str:
    """Why the standing result cannot be checked."""
    result = state.result
    if result is None:
        return "there is no result yet that could be checked; --next waits for one"
    number = result.closed.number
    if state.checks is None or state.checks.result != result.digest:
        return (
            f"round {number} cannot be checked: one leader has merged it, and nobody else may read the sites' models; "
            "--next waits for a round that several sites merge in slices"
        )
    return (
        f"round {number} can no longer be checked: sites keep their models of a round until those of the next one are "
        "in; --next waits for the next result, SL_VERIFY=auto checks every one"
    )


# --- the socket -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(directory: Path, verifying: Verifying) -> AsyncIterator[None]:
    """Answers requests inside the block. Raises `NodeError` when the socket cannot be made."""
    busy = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy += 1
        try:
            if busy > MOST_ASKED:
                await _write(writer, Answer(failed=f"{MOST_ASKED} requests are being answered already"))
                return
            await _answer(verifying, reader, writer)
        except (OSError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            logger.debug("A request to check a round has ended: %s", error)
        finally:
            busy -= 1
            writer.close()

    async with listening(directory, SOCKET, answer, "requests to check a round", LONGEST):
        yield


async def _answer(verifying: Verifying, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(SECONDS):
        asked = msgspec.json.decode(await reader.readline(), type=Asked)

    async def tell() -> None:
        async with aclosing(verifying.answer(asked)) as lines:
            async for line in lines:
                await _write(writer, line)

    telling, gone = asyncio.create_task(tell()), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait((telling, gone), return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
    finally:
        for task in (telling, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await task


async def _write(writer: asyncio.StreamWriter, line: Answer) -> None:
    writer.write(msgspec.json.encode(line) + b"\n")
    async with asyncio.timeout(SECONDS):
        await writer.drain()


def ask(directory: Path, asked: Asked) -> Iterator[Answer]:
    """The answers of the SL that runs in this data directory, until the last one. Blocks.

    Raises `NodeError` when none runs, or its answers end before that.
    """
    with connected(directory / SOCKET, SECONDS, "SL") as connection:
        connection.sendall(msgspec.json.encode(asked) + b"\n")
        yield from _lines(connection)


def _lines(connection: socket.socket) -> Iterator[Answer]:
    """Raises `NodeError` where the last line is missing."""
    with connection.makefile("rb") as stream:
        for line in stream:
            answer = msgspec.json.decode(line, type=Answer)
            yield answer
            if not answer.say:
                return
    raise NodeError("the SL has ended before the round was checked")
